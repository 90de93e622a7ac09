"""What is asked of a backend that speaks the Responses API, and what of a conversation it cannot be asked."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from openai.types.responses import ResponseInputItem
from openai.types.responses import Tool as SdkTool
from pydantic import TypeAdapter
from responses_values import choices, conversations

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.codec import Target, Written
from appliance.dialects.responses import RESPONSES

ITEMS: TypeAdapter[Any] = TypeAdapter(ResponseInputItem)
TOOLS: TypeAdapter[Any] = TypeAdapter(SdkTool)
TARGET = Target("gpt")
HELLO = (Message("user", (Text("hello"),)),)
ANTHROPIC = Conversation("claude", HELLO, family="anthropic_messages")


def written(conversation: Conversation, target: Target = TARGET) -> tuple[dict[str, Any], tuple[str, ...]]:
    found = RESPONSES.write_request(conversation, target)
    assert isinstance(found, Written), found
    return json.loads(found.body), found.dropped


def said(*parts: Part, role: str = "assistant") -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    body, dropped = written(attrs.evolve(ANTHROPIC, messages=(Message(role, parts), *HELLO)))  # type: ignore[arg-type]
    return body["input"][:-1], dropped


@given(conversations, choices)
def test_a_request_written_and_read_is_itself(asked: Conversation, choice: ToolChoice):
    asked = attrs.evolve(asked, tool_choice=choice if asked.tools or choice.mode == "required" else None)
    body, dropped = written(asked, Target(asked.model))
    assert dropped == ()
    assert RESPONSES.read_request(body) == asked


def test_a_bound_below_what_the_api_takes_is_raised_and_reported():
    body, dropped = written(attrs.evolve(ANTHROPIC, max_tokens=1))
    assert (body["max_output_tokens"], dropped) == (16, ("max_tokens: below 16",))
    own, dropped = written(attrs.evolve(ANTHROPIC, max_tokens=1, family="openai_responses"))
    assert (own["max_output_tokens"], dropped) == (1, ())


@given(conversations)
def test_what_is_written_fits_the_sdks_types(asked: Conversation):
    body, _ = written(asked)
    for item in body["input"]:
        if item.get("role") == "assistant":  # the SDK's type has what the API does not ask for
            item |= {"id": "msg_1", "status": "completed"}
        if item["type"] == "reasoning":
            item["id"] = "rs_1"
        if not item["type"].endswith("_call") or "call_id" in item:
            ITEMS.validate_python(item)
    for tool in body.get("tools", []):
        if not tool["type"].endswith("_tool"):
            TOOLS.validate_python(tool)


def test_another_languages_request_says_what_it_means_by_saying_nothing():
    tool = Tool("f", parameters={"type": "object"})
    body, dropped = written(attrs.evolve(ANTHROPIC, tools=(tool,), max_tokens=19))
    assert body == {
        "model": "gpt", "max_output_tokens": 19, "store": False,
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}],
    }  # fmt: skip
    assert dropped == ()
    own, _ = written(attrs.evolve(ANTHROPIC, tools=(tool,), family="openai_responses"))
    assert "store" not in own
    assert "strict" not in own["tools"][0]


def test_the_systems_words_are_instructions_where_they_stand_first():
    system = Message("system", (Text("be brief"),))
    body, _ = written(attrs.evolve(ANTHROPIC, messages=(system, *HELLO, system)))
    assert body["instructions"] == "be brief"
    assert [item["role"] for item in body["input"]] == ["user", "system"]
    blocks, _ = written(attrs.evolve(ANTHROPIC, messages=(Message("system", (Text("a"), Text("b"))), *HELLO)))
    assert "instructions" not in blocks
    assert blocks["input"][0] == {"type": "message", "role": "system", "content": [
        {"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"},
    ]}  # fmt: skip


def test_a_turn_is_spread_over_items_in_its_order():
    own = Seal("openai", "gAAA")
    items, dropped = said(
        Reasoning("one", summary=True), Reasoning("two", summary=True, seal=own), Text("a"), Refusal("b"), ToolCall("c1", "f", ""),
        ToolCall("c2", "g", "ls", "functions", custom=True), Text("c"),
    )  # fmt: skip
    summary = [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}]
    assert items == [
        {"type": "reasoning", "summary": summary, "encrypted_content": "gAAA"},
        {"type": "message", "role": "assistant", "content": [
            {"type": "output_text", "text": "a", "annotations": []}, {"type": "refusal", "refusal": "b"},
        ]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "namespace": "functions", "input": "ls"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "c", "annotations": []}]},
    ]  # fmt: skip
    assert dropped == ()


def test_thoughts_that_the_backend_could_not_verify_are_left_out_and_reported():
    foreign = Reasoning("w", seal=Seal("anthropic", "s")), ToolCall("c", "f", seal=Seal("gemini", "g"))
    items, dropped = said(Reasoning("words"), Text("a"), *foreign)
    assert [item["type"] for item in items] == ["message", "function_call"]
    assert dropped == (
        "messages[0]: reasoning without a seal", "messages[0].parts[2]: sealed reasoning of anthropic",
        "messages[0].parts[3]: sealed reasoning of gemini",
    )  # fmt: skip


def test_results_are_texts_or_lists_and_ids_fit():
    long_id = "toolu_" + "x" * 80
    call, _ = said(ToolCall(long_id, "f", "{}"))
    items, dropped = said(
        ToolResult(long_id, (Text("sun"),), is_error=True),
        ToolResult("c2", (Text("a"), Media("image", "image/png", "aGk="))),
        ToolResult("c3", custom=True),
        role="tool",
    )  # fmt: skip
    assert items[0]["call_id"] == call[0]["call_id"]
    assert len(items[0]["call_id"]) <= 64
    assert [item["output"] for item in items] == [
        "Error: sun",
        [{"type": "input_text", "text": "a"}, {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,aGk="}],
        "",
    ]
    assert [item["type"] for item in items] == ["function_call_output", "function_call_output", "custom_tool_call_output"]
    assert dropped == ()


def test_a_text_document_is_a_file():
    items, dropped = said(Media("document", data="wörds", name="Notes", plain=True, context="c", cites=True), role="user")
    assert items[0]["content"] == [{"type": "input_file", "filename": "Notes.txt", "file_data": "data:text/plain;base64,d8O2cmRz"}]
    assert dropped == ("messages[0].parts[0].context", "messages[0].parts[0].cites")


def test_what_other_languages_add_to_words_is_reported():
    cited = Text("a", (Citation("T", "https://x.test"),), "5m", Seal("gemini", "g"))
    _, dropped = said(cited, Foreign("anthropic_messages", "server_tool_use", {"a": 1}))
    assert set(dropped) == {
        "messages[0].parts[0].citations", "messages[0].parts[0].cache", "messages[0].parts[0]: sealed reasoning of gemini",
        "messages[0].parts[1]: server_tool_use",
    }  # fmt: skip


def test_groups_are_put_together_again_and_others_servers_tools_reported():
    tools = (
        Tool("find", namespace="crm", namespace_description="customers", parameters={}),
        Tool("bash", server=True, family="anthropic_messages", raw={"type": "bash_20250124"}),
        Tool("note", namespace="crm", custom=True, cache="1h"),
    )
    body, dropped = written(attrs.evolve(ANTHROPIC, tools=tools))
    assert body["tools"] == [{"type": "namespace", "name": "crm", "description": "customers", "tools": [
        {"type": "function", "name": "find", "parameters": {}, "strict": False}, {"type": "custom", "name": "note"},
    ]}]  # fmt: skip
    assert dropped == ("tools[1]: bash", "tools[2].cache")


@pytest.mark.parametrize(
    ("choice", "pointer"),
    [
        (ToolChoice("named", "f"), {"type": "function", "name": "f"}),
        (ToolChoice("named", "c"), {"type": "custom", "name": "c"}),
        (ToolChoice("named", "web_search"), {"type": "web_search"}),
        (ToolChoice("required"), "required"),
        (
            ToolChoice("auto", allowed=("f", "web_search")),
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]},
        ),
    ],
)
def test_a_choice_names_tools_by_their_kind(choice: ToolChoice, pointer: Any):
    search = Tool("web_search", server=True, family="openai_responses", raw={"type": "web_search"})
    asked = attrs.evolve(ANTHROPIC, tools=(Tool("f"), Tool("c", custom=True), search), tool_choice=choice)
    assert written(asked)[0]["tool_choice"] == pointer


@pytest.mark.parametrize(
    ("wish", "reasoning", "include"),
    [
        (ReasoningWish(effort="high"), {"effort": "high"}, True),
        (ReasoningWish(enabled=True, budget_tokens=2048), {"effort": "low", "summary": "auto"}, True),
        (ReasoningWish(enabled=True, shown=False), None, True),
        (ReasoningWish(effort="none"), {"effort": "none"}, False),
        (ReasoningWish(enabled=False), None, False),
        (ReasoningWish(shown=True), {"summary": "auto"}, False),
    ],
)
def test_thinking_is_asked_for_in_words_and_with_its_seals(wish: ReasoningWish, reasoning: Any, include: bool):
    body, dropped = written(attrs.evolve(ANTHROPIC, reasoning=wish))
    assert body.get("reasoning") == reasoning
    assert ("include" in body) is include
    assert dropped == (("reasoning.enabled",) if wish.enabled is False else ())


def test_wishes_without_a_word_here_are_reported():
    sampling = Sampling(None, None, 3, 0.1, ("x",), 1, frequency_penalty=0.5, logprobs=True, top_logprobs=2, logit_bias={"1": 2.0})
    body, dropped = written(attrs.evolve(ANTHROPIC, sampling=sampling, extra={"thinking_display": 1}))
    assert set(dropped) == {
        "sampling.top_k", "sampling.stop", "sampling.seed", "sampling.min_p", "sampling.frequency_penalty", "sampling.logit_bias",
        "thinking_display",
    }  # fmt: skip
    assert (body["top_logprobs"], body["include"]) == (2, ["message.output_text.logprobs"])


def test_an_answer_that_was_begun_is_history_here():
    begun = Message("assistant", (Text("{"),))
    assert written(attrs.evolve(ANTHROPIC, messages=(*HELLO, begun)))[1] == ("messages[1]: prefill",)


def test_long_names_become_their_digests():
    body, _ = written(attrs.evolve(ANTHROPIC, user="u" * 150, cache_key="k"))
    assert len(body["user"]) == 64
    assert body["user"] == written(attrs.evolve(ANTHROPIC, user="u" * 150))[0]["user"]
    assert body["user"] != written(attrs.evolve(ANTHROPIC, user="u" * 151))[0]["user"]
    assert body["prompt_cache_key"] == "k"


def test_a_schema_without_a_name_gets_one():
    body, _ = written(attrs.evolve(ANTHROPIC, output=OutputFormat("json_schema", {"type": "object"})))
    assert body["text"] == {"format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}}


def test_a_vendors_quirks_are_kept_to():
    body, dropped = written(attrs.evolve(ANTHROPIC, user="u"), Target("gpt", drop=("store",), rename={"user": "safety_identifier"}))
    assert ("store" in body, body["safety_identifier"], dropped) == (False, "u", ("store",))


def test_what_only_says_that_something_was_lost_is_reported_to_the_same_family_too():
    asked = attrs.evolve(ANTHROPIC, family="openai_responses", extra={"input[*].phase": True, "truncation": "auto"})
    body, dropped = written(asked)
    assert (body["truncation"], dropped) == ("auto", ("input[*].phase",))


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"messages": (Message("user", (Media("audio", "audio/wav", "UklG"),)),)}, "messages[0].parts[0]"),
        ({"messages": (Message("assistant", (Media("image", "image/png", "aGk="),)),)}, "messages[0].parts[0]"),
        ({"messages": (Message("tool", (ToolResult("c", (Media("video", "video/mp4", "aGk="),)),)),)}, "messages[0].parts[0].parts[0]"),
        ({"sampling": Sampling(candidates=2)}, "n"),
        ({"modalities": ("text", "audio")}, "modalities"),
        (
            {"tools": (Tool("bash", server=True, family="anthropic_messages"),), "tool_choice": ToolChoice("named", "bash")},
            "tool_choice",
        ),
        ({"tools": (Tool("f", parameters=deep(400)),)}, None),
    ],
)
def test_what_would_change_the_meaning_is_refused(change: dict[str, Any], path: str | None):
    fault = RESPONSES.write_request(attrs.evolve(ANTHROPIC, **change), TARGET)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.param) == (FaultKind.BAD_REQUEST, path)


def test_what_a_vendors_model_refuses_is_left_out_and_reported():
    asked = attrs.evolve(
        ANTHROPIC, reasoning=ReasoningWish(effort="max"), max_tokens=99_999, sampling=Sampling(temperature=0.5, logprobs=True),
    )  # fmt: skip
    drop = ("temperature", "logprobs", "reasoning_content")
    body, dropped = written(asked, Target("gpt", drop=drop, efforts=("low", "high"), output_max=500))
    assert body["reasoning"] == {"effort": "high"}
    assert body["max_output_tokens"] == 500
    assert body["include"] == ["reasoning.encrypted_content"]
    assert "temperature" not in body
    assert dropped == ("reasoning.effort: max", "sampling.logprobs", "max_tokens: above 500", "temperature")
    body, dropped = written(asked, Target("gpt", drop=("reasoning_effort",)))
    assert "reasoning" not in body
    assert "reasoning" in dropped
