"""Callers of Anthropic's Messages API reach OpenAI-compatible providers, and callers of OpenAI's chat reach Anthropic: whole and streamed,
with tools, usage, refusals and broken streams told in the caller's own language.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import KEY, Gateway, Simulator, running

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the provider recordings (../shared/recordings) are not on this machine"
)

CONFIG = """
[backends.sim]
provider = "custom"
base_url = "{url}/v1"
[backends.claude]
provider = "anthropic"
base_url = "{url}"
api_key = "test-key"
[[routes]]
name = "claude"
models = ["rec/anthropic/*"]
targets = [ {{ backend = "claude" }} ]
[[routes]]
name = "all"
retry = {{ attempts = 1 }}
targets = [ {{ backend = "sim" }} ]
"""
WEATHER = {
    "name": "get_weather",
    "description": "Weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("translation")
    extra = ("--recordings", str(RECORDINGS)) if RECORDINGS.is_dir() else ()
    sim = Simulator(folder, extra=extra)
    with running(sim):
        one = Gateway(folder, CONFIG.format(url=sim.url))
        with running(one):
            yield one


def post(url: str, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    wanted = {"x-api-key": KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return httpx.post(url + path, json=body, headers=wanted, timeout=30)


def messages(model: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": text}], **fields}


def events(stream: str) -> list[dict[str, Any]]:
    """The data of a Messages stream; each event's name is the type in it."""
    found = []
    for block in filter(None, stream.split("\n\n")):
        name, _, data = block.partition("\n")
        assert name.startswith("event: "), block
        said = json.loads(data.removeprefix("data: "))
        assert said["type"] == name.removeprefix("event: ")
        found.append(said)
    return found


def test_a_message_is_answered_by_an_openai_compatible_provider(url: str) -> None:
    said = post(url, "/v1/messages", messages("sim", "[[say=Good morning]]", system="Be brief", stop_sequences=["zz"]))
    assert said.status_code == 200
    answer = said.json()
    assert answer["content"] == [{"type": "text", "text": "Good morning"}]
    assert (answer["type"], answer["role"], answer["stop_reason"]) == ("message", "assistant", "end_turn")
    assert answer["usage"]["output_tokens"] == 2
    assert said.headers["x-served-by"] == "sim"


def test_a_streamed_message_has_the_whole_order_of_events(url: str, gateway: Gateway) -> None:
    said = post(url, "/v1/messages", messages("sim", "[[say=Good morning to you]]", stream=True), x_request_id=f"order-{url[-5:]}")
    assert said.headers["content-type"].startswith("text/event-stream")
    found = events(said.text)
    assert [one["type"] for one in found if one["type"] != "content_block_delta"] == [
        "message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    text = "".join(one["delta"]["text"] for one in found if one["type"] == "content_block_delta")
    assert text == "Good morning to you"
    assert found[-2]["usage"]["output_tokens"] == 4
    record = gateway.record(f"order-{url[-5:]}")
    assert (record["dialect"], record["usage"]["output_tokens"], record["usage"]["source"]) == ("anthropic_messages", 4, "provider")
    assert record["ttft_ms"] > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_goes_back(url: str, stream: bool) -> None:
    ask = messages("sim", "call get_weather", tools=[WEATHER], tool_choice={"type": "any"}, stream=stream)
    said = post(url, "/v1/messages", ask)
    if stream:
        found = events(said.text)
        call = next(one["content_block"] for one in found if one["type"] == "content_block_start")
        arguments = "".join(one["delta"]["partial_json"] for one in found if one["type"] == "content_block_delta")
        call["input"] = json.loads(arguments)
        assert found[-2]["delta"]["stop_reason"] == "tool_use"
    else:
        answer = said.json()
        assert answer["stop_reason"] == "tool_use"
        call = answer["content"][-1]
    assert (call["type"], call["name"]) == ("tool_use", "get_weather")
    assert isinstance(call["input"]["city"], str)
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "rain"}]}
    turns = [*ask["messages"], {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    last = post(url, "/v1/messages", {**ask, "messages": turns, "stream": False, "tool_choice": {"type": "auto"}}).json()
    assert last["content"][0]["text"].startswith("The tool answered: rain")


@pytest.mark.parametrize(
    ("model", "status", "kind"),
    [
        ("sim+429", 429, "rate_limit_error"),
        ("sim+500", 502, "api_error"),
        ("sim+401", 502, "api_error"),
        ("sim+400", 400, "invalid_request_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_come_in_the_callers_envelope(url: str, model: str, status: int, kind: str, stream: bool) -> None:
    said = post(url, "/v1/messages", messages(model, "Hi", stream=stream))
    assert said.status_code == status
    told = said.json()
    assert (told["type"], told["error"]["type"]) == ("error", kind)
    assert told["request_id"] == said.headers["x-request-id"]


@pytest.mark.parametrize("fault", ["cut=5", "error_event=5"])
def test_a_stream_that_breaks_ends_with_an_error_event(url: str, fault: str) -> None:
    found = events(post(url, "/v1/messages", messages(f"sim+{fault}", "[[tokens=40]]", stream=True)).text)
    assert found[0]["type"] == "message_start"
    assert found[-1]["type"] == "error"
    assert "message_stop" not in [one["type"] for one in found]


def test_bad_requests_name_the_field_in_the_callers_envelope(url: str) -> None:
    for body, word in [
        ({"model": "sim", "messages": [{"role": "user", "content": "x"}]}, "max_tokens"),
        ({**messages("sim", "x"), "messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({**messages("sim", "x"), "stream": "yes"}, "stream"),
        ({"max_tokens": 5, "messages": []}, "model"),
    ]:
        said = post(url, "/v1/messages", body)
        assert said.status_code == 400
        assert said.json()["type"] == "error"
        assert word in said.json()["error"]["message"]


def test_a_path_of_anthropics_has_its_envelope(url: str) -> None:
    said = httpx.get(url + "/v1/messages")
    assert (said.status_code, said.json()["type"]) == (405, "error")
    unknown = httpx.post(url + "/v1/messages", json=messages("sim", "x"), headers={"x-api-key": "wrong"})
    assert unknown.status_code == 401
    assert unknown.json()["error"]["type"] == "authentication_error"


def test_tokens_are_estimated_where_the_provider_cannot_count(url: str) -> None:
    body = messages("sim", "How many tokens are in this sentence of ten words?")
    del body["max_tokens"]
    said = post(url, "/v1/messages/count_tokens", body)
    assert said.status_code == 200
    assert said.headers["x-gateway-estimated"] == "true"
    assert 5 < said.json()["input_tokens"] < 50
    assert post(url, "/v1/messages/count_tokens", {"model": "sim", "messages": [{"role": "user", "content": 5}]}).status_code == 400


def test_an_anthropic_client_gets_the_models_in_its_own_shape(url: str) -> None:
    said = httpx.get(url + "/v1/models?limit=1000", headers={"x-api-key": KEY, "anthropic-version": "2023-06-01"}).json()
    assert said.keys() == {"data", "has_more", "first_id", "last_id"}
    assert "object" in httpx.get(url + "/v1/models", headers={"x-api-key": KEY}).json()


@needs_recordings
@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_is_answered_by_anthropic(url: str, gateway: Gateway, stream: bool) -> None:
    body = {"model": "rec/anthropic/anthropic-text", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    said = post(url, "/v1/chat/completions", body, x_request_id=f"chat-{stream}-{url[-5:]}")
    assert said.status_code == 200
    if stream:
        lines = [line.removeprefix("data: ") for line in said.text.split("\n\n") if line]
        assert lines[-1] == "[DONE]"
        chunks = [json.loads(line) for line in lines[:-1]]
        text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
        assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]] == ["stop"]
    else:
        text = said.json()["choices"][0]["message"]["content"]
        assert said.json()["choices"][0]["finish_reason"] == "stop"
    assert len(text) > 20
    record = gateway.record(f"chat-{stream}-{url[-5:]}")
    assert record["attempts"][0]["backend"] == "claude"
    assert record["usage"]["output_tokens"] > 0


@needs_recordings
def test_messages_to_anthropic_pass_byte_for_byte(url: str) -> None:
    said = post(url, "/v1/messages", messages("rec/anthropic/anthropic-text", "Hi"))
    wire = json.loads((RECORDINGS / "wire" / "anthropic" / "anthropic-text.json").read_text())
    assert said.json() == wire
    streamed = post(url, "/v1/messages", messages("rec/anthropic/anthropic-text", "Hi", stream=True))
    lines = (RECORDINGS / "wire" / "anthropic" / "anthropic-text.chunks.txt").read_text().splitlines()
    assert [json.dumps(one) for one in events(streamed.text)] == [json.dumps(json.loads(line)) for line in lines if line.strip()]
