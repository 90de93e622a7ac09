"""One gateway with a backend of each spoken language, all of them one simulated provider, for the SDKs that call it."""

import json
from collections.abc import Iterator
from typing import Any

import attrs
from rig import Gateway, Simulator, get_json

MODELS = {
    "chat": "sim-chat",
    "responses": "gpt-5",
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-3-pro-preview",
    "bedrock": "us.anthropic.claude-sonnet-4-6-v1:0",
    "cohere": "command-a-reasoning-08-2025",
}
"""A model of each backend. All think when asked to (Gemini's and Cohere's always); the simulator looks at what was signed."""

UNNUMBERED = "gemini-2.5-flash"
"""A model whose calls have no ids."""

SEALS = {"responses": "encrypted_content", "anthropic": "signature", "gemini": "thoughtSignature", "bedrock": "signature"}
"""What holds a model's opaque reasoning when it comes back."""

_BACKENDS = """
[backends.chat]
provider = "custom"
dialect = "openai_chat"
base_url = "{url}/v1"
{breaker}
[backends.responses]
provider = "openai"
dialect = "openai_responses"
base_url = "{url}/v1"
{breaker}
api_key = "test-key-0123456789"
[backends.anthropic]
provider = "anthropic"
base_url = "{url}"
{breaker}
api_key = "test-key-0123456789"
[backends.gemini]
provider = "gemini"
base_url = "{url}"
{breaker}
api_key = "test-key-0123456789"
[backends.bedrock]
provider = "bedrock"
base_url = "{url}"
{breaker}
api_key = "test-key-0123456789"
[backends.cohere]
provider = "cohere"
base_url = "{url}"
{breaker}
api_key = "test-key-0123456789"
"""
_ROUTE = """
[[routes]]
name = "{model}"
models = ["{model}"]
retry = {{ attempts = 1 }}
targets = [ {{ backend = "{backend}", model = "{model}@tps=0" }} ]
[[routes]]
name = "{model}-faulty"
models = ["{model}+*"]
retry = {{ attempts = 1 }}
targets = [ {{ backend = "{backend}" }} ]
"""


def config(simulator: Simulator) -> str:
    """A model's name followed by a fault of the simulator's goes to it as it is; the bare name without pacing."""
    models = [*MODELS.items(), ("gemini", UNNUMBERED)]
    breaker = "breaker = { consecutive_failures = 0, failure_ratio = 0 }"  # for what fails on purpose
    routes = "".join(_ROUTE.format(backend=backend, model=model) for backend, model in models)
    return _BACKENDS.format(url=simulator.url, breaker=breaker) + routes


@attrs.frozen
class Place:
    simulator: Simulator
    gateway: Gateway

    def seen(self) -> dict[str, Any]:
        """The last request that the provider got, as it counted it, with its body as `sent`."""
        last: dict[str, Any] = self.simulator.stats(1)["last"][-1]
        return {**last, "sent": get_json(f"{self.simulator.url}/sim/requests/{last['number']}/body")}


def call_ids(sent: Any) -> list[str]:
    """Of the tool calls in a request of any of the languages, in order."""
    return [found for one in objects(sent) if (found := _call_id(one))]


def result_ids(sent: Any) -> list[str]:
    """Of the results in a request of any of the languages, in order."""
    return [found for one in objects(sent) if (found := _result_id(one))]


def _call_id(one: dict[str, Any]) -> str:
    if (one.get("type") == "function" and "id" in one) or one.get("type") == "tool_use" or "args" in one:
        return str(one.get("id", ""))
    if one.get("type") == "function_call":
        return str(one["call_id"])
    return str(one["toolUseId"]) if "toolUseId" in one and "input" in one else ""


def _result_id(one: dict[str, Any]) -> str:
    if one.get("type") == "function_call_output":
        return str(one["call_id"])
    if "toolUseId" in one and "input" not in one:
        return str(one["toolUseId"])
    told = one["functionResponse"].get("id") if "functionResponse" in one else one.get("tool_call_id", one.get("tool_use_id"))
    return str(told or "")


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value, outer ones first, in order."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
