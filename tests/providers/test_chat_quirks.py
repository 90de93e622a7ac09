"""Requests of callers of Anthropic's language, as each vendor of chat completions is sent them: without what it answers 400 to."""

import json
from typing import Any

import pytest

from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.chat import CHAT
from appliance.dialects.codec import Written
from appliance.providers import PROVIDERS, translation_target

EVERYTHING: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 64_000,
    "system": [{"type": "text", "text": "Be brief", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm", "signature": "c2ln"}, {"type": "text", "text": "Hello"}]},
        {"role": "user", "content": "So?"},
    ],
    "temperature": 0.5,
    "top_k": 5,
    "stop_sequences": ["END"],
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "max"},
    "metadata": {"user_id": "u"},
}


def sent(provider: str, model: str, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    conversation = ANTHROPIC.read_request({**EVERYTHING, **fields})
    written = CHAT.write_request(conversation, translation_target(PROVIDERS[provider], model))  # type: ignore[arg-type]
    assert isinstance(written, Written), written
    return json.loads(written.body), written.dropped


@pytest.mark.parametrize(
    ("model", "bound", "effort", "draws"),
    [
        ("gpt-4o-mini", {"max_tokens": 16_384}, None, True),
        ("gpt-4.1-2025-04-14", {"max_tokens": 32_768}, None, True),
        ("ft:gpt-4o:x::y", {"max_tokens": 64_000}, None, True),
        ("gpt-5-chat-latest", {"max_completion_tokens": 16_384}, None, True),
        ("gpt-5", {"max_completion_tokens": 64_000}, "high", False),
        ("gpt-5-mini-2025-08-07", {"max_completion_tokens": 64_000}, "high", False),
        ("gpt-5.1", {"max_completion_tokens": 64_000}, "high", False),
        ("gpt-5.4-mini", {"max_completion_tokens": 64_000}, "xhigh", False),
        ("gpt-5.6", {"max_completion_tokens": 64_000}, "max", False),
        ("gpt-5.3-codex", {"max_completion_tokens": 64_000}, "xhigh", False),
        ("o3", {"max_completion_tokens": 64_000}, "high", False),
        ("gpt-9", {"max_tokens": 64_000}, "high", True),
    ],
)
def test_openais_models_are_asked_for_what_each_of_them_takes(model: str, bound: dict[str, int], effort: str | None, draws: bool) -> None:
    body, dropped = sent("openai", model)
    assert {name: value for name, value in body.items() if name.startswith("max_")} == bound
    assert body.get("reasoning_effort") == effort
    assert ("temperature" in body, "stop" in body) == (draws, draws)
    assert "top_k" not in body
    assert "sampling.top_k" in dropped
    assert set(body["messages"][2]) == {"role", "content"}
    assert "messages[2].parts[0]: reasoning" in dropped
    assert body["messages"][0] == {"role": "system", "content": "Be brief"}


@pytest.mark.parametrize(("model", "word"), [("gpt-5", "minimal"), ("gpt-5.2", "none"), ("o3", None), ("gpt-4o", None)])
def test_thinking_that_is_switched_off_is_as_far_off_as_the_model_lets_it(model: str, word: str | None) -> None:
    body, dropped = sent("openai", model, thinking={"type": "disabled"}, output_config={})
    assert body.get("reasoning_effort") == word
    assert bool([one for one in dropped if one.startswith("reasoning")]) is (word is None)


@pytest.mark.parametrize(("model", "word"), [("gpt-5.4", "none"), ("gpt-5.6-terra", "none"), ("gpt-5.2", "xhigh"), ("gpt-5", "high")])
def test_openais_newest_models_do_not_think_beside_tools_in_chat(model: str, word: str) -> None:
    body, dropped = sent("openai", model, tools=[{"name": "f", "input_schema": {"type": "object"}}])
    assert body["reasoning_effort"] == word
    assert any("openai_responses" in one for one in dropped) is (word == "none")


def test_openrouter_is_told_cache_marks_thoughts_and_efforts_in_its_own_words() -> None:
    body, dropped = sent("openrouter", "anthropic/claude-sonnet-4.6")
    assert body["messages"][0]["content"] == [{"type": "text", "text": "Be brief", "cache_control": {"type": "ephemeral"}}]
    assert body["messages"][2]["reasoning"] == "Hm"
    assert (body["reasoning"], body["top_k"]) == ({"effort": "max"}, 5)
    assert dropped == ("messages[2].parts[0]: sealed reasoning of anthropic",)


def test_strict_vendors_get_no_member_that_they_refuse() -> None:
    for provider, model in (("groq", "openai/gpt-oss-120b"), ("cerebras", "gpt-oss-120b"), ("mistral", "mistral-large-latest")):
        body, dropped = sent(provider, model)
        assert not {"top_k", "min_p", "reasoning_details"} & body.keys()
        assert "sampling.top_k" in dropped
        assert "reasoning_content" not in body["messages"][2]
    assert body.keys() == {"model", "messages", "max_tokens", "temperature", "stop"}  # Mistral's: everything else is extra_forbidden
    assert sent("mistral", "magistral-medium-latest")[0]["messages"][2]["content"][0]["type"] == "thinking"
    assert sent("cerebras", "gpt-oss-120b")[0]["messages"][2]["reasoning"] == "Hm"


def test_a_vendor_without_tools_refuses_them_by_name() -> None:
    conversation = ANTHROPIC.read_request({**EVERYTHING, "tools": [{"name": "f", "input_schema": {"type": "object"}}]})
    refused = CHAT.write_request(conversation, translation_target(PROVIDERS["perplexity"], "sonar"))  # type: ignore[arg-type]
    assert getattr(refused, "param", "") == "tools"


@pytest.mark.parametrize("name", [name for name, row in PROVIDERS.items() if "openai_chat" in row.dialects])
def test_every_vendor_can_be_asked_for_everything_but_tools(name: str) -> None:
    body, dropped = sent(name, "some-model")
    assert (body["model"], body["messages"][-1]) == ("some-model", {"role": "user", "content": "So?"})
    assert dropped
