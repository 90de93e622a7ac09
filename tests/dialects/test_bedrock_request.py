"""Conversations are written in Converse's words, and nothing of them is lost without a word."""

from functools import cache
from itertools import pairwise
from typing import Any

import attrs
import orjson
import pytest
from bedrock_requests import HI, HIGH, JSON, LLAMA, OLD, OPUS, SONNET, F, refused, written
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault
from appliance.core.message import Citation, Foreign, Media, Message, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.bedrock import BEDROCK
from appliance.dialects.bedrock_answer import JSON_TOOL
from appliance.dialects.codec import Target


def turns(*messages: Message, model: str = SONNET) -> tuple[list, tuple[str, ...]]:
    body, dropped = written(model, messages=messages)
    return body["messages"], dropped


def test_the_least_request_is_one_turn():
    assert written() == ({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}, ())


def test_a_conversation_with_tools_thoughts_media_and_cache_marks():
    report = Media("document", "application/pdf", "aG8=", name="Q3 report_v2.pdf", context="of the board", cites=True, cache="5m")
    body, dropped = written(
        messages=(
            Message("system", (Text("Be brief.", cache="1h"),)), Message("developer", (Text("No jokes."),)),
            Message("user", (Text("Look:"), Media("image", "image/png", "aGk="), report)),
            Message("assistant", (
                Reasoning("Hm.", seal=Seal("bedrock", "c2ln")), Reasoning(seal=Seal("bedrock", "eHg="), hidden=True), Text("I look."),
                ToolCall("t1", "f", '{"x": 1.50, "y": 12345678901234567890123}'), ToolCall("t2", "f", ""),
            )),
            Message("tool", (ToolResult("t1", (Text("one"), Media("image", "image/jpeg", "aGk="))),)),
            Message("tool", (ToolResult("t2", (Text(""),), is_error=True, cache="5m"),)),
            Message("user", (Text("Go on."),)),
        ),
        tools=(F, Tool("g", strict=True, cache="5m"),), max_tokens=100,
    )  # fmt: skip
    assert dropped == ()
    assert body["system"] == [{"text": "Be brief."}, {"cachePoint": {"type": "default", "ttl": "1h"}}, {"text": "No jokes."}]
    assert body["inferenceConfig"] == {"maxTokens": 100}
    assert body["toolConfig"] == {"tools": [
        {"toolSpec": {"name": "f", "description": "Does f.", "inputSchema": {"json": F.parameters}}},
        {"toolSpec": {"name": "g", "inputSchema": {"json": {"type": "object", "properties": {}}}, "strict": True}},
        {"cachePoint": {"type": "default"}},
    ]}  # fmt: skip
    first, second, third = body["messages"]
    assert first == {"role": "user", "content": [
        {"text": "Look:"}, {"image": {"format": "png", "source": {"bytes": "aGk="}}},
        {"document": {"format": "pdf", "source": {"bytes": "aG8="}, "name": "Q3 report-v2-pdf", "context": "of the board",
                      "citations": {"enabled": True}}},
        {"cachePoint": {"type": "default"}},
    ]}  # fmt: skip
    assert second["role"] == "assistant"
    assert second["content"][:3] == [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}, {"reasoningContent": {"redactedContent": "eHg="}},
        {"text": "I look."},
    ]  # fmt: skip
    assert [one["toolUse"]["toolUseId"] for one in second["content"][3:]] == ["t1", "t2"]
    assert second["content"][4]["toolUse"]["input"] == {}
    assert third == {"role": "user", "content": [
        {"toolResult": {"toolUseId": "t1", "content": [{"text": "one"}, {"image": {"format": "jpeg", "source": {"bytes": "aGk="}}}]}},
        {"toolResult": {"toolUseId": "t2", "content": [{"text": "(no output)"}], "status": "error"}},
        {"cachePoint": {"type": "default"}}, {"text": "Go on."},
    ]}  # fmt: skip


def test_arguments_keep_their_digits():
    call = Message("assistant", (ToolCall("t", "f", '{"x": 1.50, "y": 12345678901234567890123}'),))
    found = BEDROCK.write_request(Conversation("m", (*HI, call)), Target(SONNET))
    assert not isinstance(found, Fault)
    assert b'{"x": 1.50, "y": 12345678901234567890123}' in found.body


def test_turns_alternate_and_blank_words_are_left_out():
    found, dropped = turns(
        *HI, Message("user", (Text(" \n"), Text(""))), Message("user", (Text("there"),), name="eve"), Message("assistant", (Text(""),)),
        Message("assistant", (Refusal("No."), Text("Well, "))),
    )  # fmt: skip
    assert found == [
        {"role": "user", "content": [{"text": "Hi"}, {"text": "there"}]}, {"role": "assistant", "content": [{"text": "No."},
        {"text": "Well,"}]},
    ]  # fmt: skip
    assert dropped == ("messages[1].parts[0]: blank text", "messages[2].name")


def test_the_user_opens_and_results_stand_first_in_their_turn():
    found, _ = turns(
        Message("assistant", (Text("Hello, what can I do?"),)), *HI, Message("assistant", (ToolCall("t", "f"),)),
        Message("user", (Text("Wait."),)), Message("tool", (ToolResult("t", (Text("r"),), cache="5m"),)),
    )  # fmt: skip
    assert found[0] == {"role": "user", "content": [{"text": "(The conversation begins.)"}]}
    assert found[4]["content"] == [
        {"toolResult": {"toolUseId": "t", "content": [{"text": "r"}]}}, {"cachePoint": {"type": "default"}}, {"text": "Wait."},
    ]  # fmt: skip


def test_instructions_in_the_middle_move_to_the_front_and_that_is_said():
    body, dropped = written(messages=(*HI, Message("system", (Text("New rule."),)), Message("user", (Text("So?"),))))
    assert body["system"] == [{"text": "New rule."}]
    assert dropped == ("messages[1].role",)


def test_instructions_alone_are_the_question():
    body, dropped = written(messages=(Message("system", (Text("Rules."),)), Message("system", (Text("Write a poem."),))))
    assert body == {"system": [{"text": "Rules."}], "messages": [{"role": "user", "content": [{"text": "Write a poem."}]}]}
    assert dropped == ("messages[1].role",)


def test_documents_have_names_of_their_own_and_words_beside_them():
    doc = Media("document", "text/plain", "Grüße", plain=True)
    found, _ = turns(Message("user", (doc, attrs.evolve(doc, name="a/b")))), Message("user", ())
    content = found[0][0]["content"]
    assert [one["document"]["name"] for one in content if "document" in one] == ["document", "a-b"]
    assert content[0] == {"text": "document"}
    assert content[1]["document"]["source"] == {"bytes": "R3LDvMOfZQ=="}
    twice, _ = turns(Message("user", (Text("x"), doc, doc)))
    assert [one["document"]["name"] for one in twice[0]["content"][1:]] == ["document", "document (2)"]


@pytest.mark.parametrize(("part", "param"), [
    (Media("image", "image/png", url="https://a.example/x.png"), "messages[0].parts[0]"),
    (Media("image", "image/tiff", "aGk="), "messages[0].parts[0]"), (Media("image", "image/png", file_id="file-1"), "messages[0].parts[0]"),
    (Media("document", "application/zip", "aGk="), "messages[0].parts[0]"),
])  # fmt: skip
def test_media_that_cannot_be_carried_are_refused_by_name(part, param):
    assert refused(messages=(Message("user", (part,)),)).param == param


def test_an_address_is_refused_as_such_whatever_is_there():
    fault = refused(messages=(Message("user", (Media("image", url="https://x.test/a"),)),))
    assert "is a URL" in fault.message


def test_how_closely_to_look_and_a_format_beside_a_forced_call_are_reported():
    looked = Media("image", "image/png", "aGk=", detail="high")
    result = Message("tool", (ToolResult("c1", (looked,)),))
    called = Message("assistant", (ToolCall("c1", "f"),))
    _, dropped = written(messages=(Message("user", (looked,)), called, result))
    assert dropped == ("messages[0].parts[0].detail", "messages[2].parts[0].parts[0].detail")
    _, dropped = written(tools=(F,), tool_choice=ToolChoice("named", F.name), output=OutputFormat("json_object"))
    assert "output" in dropped


def test_media_in_s3_are_named():
    found, _ = turns(Message("user", (Media("video", "video/mp4", url="s3://bucket/film.mp4"),)))
    assert found[0]["content"] == [{"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://bucket/film.mp4"}}}}]


def test_what_only_others_can_read_is_left_out_and_said():
    found, dropped = turns(
        *HI,
        Message("assistant", (
            Reasoning("a", seal=Seal("anthropic", "x")), Reasoning("b"), Reasoning(seal=Seal("openai", "y"), hidden=True),
            Text("c", (Citation("t"),), seal=Seal("gemini", "z")), Foreign("anthropic", "web_search_tool_result", {}),
            Foreign("bedrock", "guardContent", {"guardContent": {"text": {"text": "g"}}}), Media("image", "image/png", "aGk="),
            ToolCall("id with spaces", "f", "{}", seal=Seal("gemini", "s")),
        )),
        Message("tool", (ToolResult("id with spaces", (Text("r"),), is_error=True),)),
    )  # fmt: skip
    use = found[1]["content"][2]["toolUse"]
    assert found[1]["content"] == [{"text": "c"}, {"guardContent": {"text": {"text": "g"}}}, {"toolUse": use}]
    assert use["toolUseId"].startswith("call_")
    assert found[2]["content"][0]["toolResult"] == {"toolUseId": use["toolUseId"], "content": [{"text": "r"}], "status": "error"}
    path = "messages[1].parts"
    assert dropped == (
        f"{path}[0]: sealed reasoning of anthropic", f"{path}[1]: reasoning without a seal", f"{path}[2]: sealed reasoning of openai",
        f"{path}[3].citations", f"{path}[3].seal", f"{path}[4]: web_search_tool_result", f"{path}[6]: image", f"{path}[7].seal",
    )  # fmt: skip


def test_a_claude_signature_is_not_sent_to_another_vendors_model():
    _, dropped = turns(*HI, Message("assistant", (Reasoning("a", seal=Seal("bedrock", "x")), Text("b"))), model="openai.gpt-oss-120b-1:0")
    assert dropped == ("messages[1].parts[0]: sealed reasoning of bedrock",)


@pytest.mark.parametrize("arguments", ["nonsense", "[1,2]", '"x"', "{"])
def test_arguments_that_are_no_object_are_refused(arguments):
    fault = refused(messages=(*HI, Message("assistant", (ToolCall("t", "f", arguments),))))
    assert fault.param == "messages[1].parts[0].arguments"
    assert arguments not in fault.message


def test_free_text_tools_and_namespaces_become_functions():
    body, dropped = written(
        tools=(Tool("patch", custom=True, grammar={"type": "grammar", "syntax": "lark", "definition": "start: x"}), Tool("g",
        namespace="n")),
        messages=(*HI, Message("assistant", (ToolCall("t", "patch", "*** Begin", custom=True), ToolCall("u", "g", "{}", namespace="n")))),
    )
    first, second = body["toolConfig"]["tools"]
    assert first["toolSpec"]["inputSchema"]["json"]["required"] == ["input"]
    assert "start: x" in first["toolSpec"]["description"]
    assert second["toolSpec"]["name"] == "n__g"
    assert [one["toolUse"]["input"] for one in body["messages"][1]["content"]] == [{"input": "*** Begin"}, {}]
    assert body["messages"][1]["content"][1]["toolUse"]["name"] == "n__g"
    assert dropped == ("tools[0].grammar",)


@pytest.mark.parametrize(("choice", "config", "reported"), [
    (None, {"tools": 2}, ()), (ToolChoice("auto"), {"tools": 2}, ()), (ToolChoice("required"), {"tools": 2, "toolChoice": {"any": {}}}, ()),
    (ToolChoice("named", "f"), {"tools": 2, "toolChoice": {"tool": {"name": "f"}}}, ()), (ToolChoice("none"), None, ()),
    (ToolChoice("required", allowed=("g",)), {"tools": 1, "toolChoice": {"any": {}}}, ()),
])  # fmt: skip
def test_the_choice_among_tools(choice, config, reported):
    body, dropped = written(tools=(F, Tool("g")), tool_choice=choice)
    found = body.get("toolConfig")
    assert (found and {**found, "tools": len(found["tools"])}) == config
    assert dropped == reported


@pytest.mark.parametrize(("choice", "said"), [
    (None, {"type": "auto"}), (ToolChoice("required"), {"type": "any"}), (ToolChoice("named", "f"), {"type": "tool", "name": "f"}),
])  # fmt: skip
def test_claude_is_asked_for_one_call_at_a_time_in_its_own_words(choice, said):
    body, dropped = written(tools=(F,), tool_choice=choice, parallel_tools=False)
    assert body["additionalModelRequestFields"] == {"tool_choice": {**said, "disable_parallel_tool_use": True}}
    assert "toolChoice" not in body["toolConfig"]
    assert dropped == ()
    assert written(LLAMA, tools=(F,), single_call=True)[1] == ("parallel_tools",)


def test_no_tools_but_a_history_with_calls():
    history = (*HI, Message("assistant", (ToolCall("t", "f"),)), Message("tool", (ToolResult("t", (Text("r"),)),)))
    body, dropped = written(messages=history, tools=(F,), tool_choice=ToolChoice("none"))
    assert [one["toolSpec"]["name"] for one in body["toolConfig"]["tools"]] == ["f"]
    assert dropped == ("tool_choice",)
    body, dropped = written(messages=history)
    (stub,) = body["toolConfig"]["tools"]
    assert stub["toolSpec"]["name"] == "f"
    assert "not available" in stub["toolSpec"]["description"]
    assert dropped == ()


@pytest.mark.parametrize(("fields", "param"), [
    ({"tool_choice": ToolChoice("required")}, "tool_choice"), ({"tools": (F,), "tool_choice": ToolChoice("named", "g")},
    "tool_choice.name"),
    ({"tools": (Tool("a b"),)}, "tools[0].name"), ({"tools": (Tool(JSON_TOOL),)}, "tools[0].name"),
    ({"sampling": Sampling(candidates=2)}, "n"), ({"modalities": ("audio",)}, "modalities"), ({"previous": "resp_1"},
    "previous"),
    ({"messages": ()}, "messages"), ({"messages": (Message("user", (Text(" "),)),)}, "messages"),
    ({"messages": (Message("system", (Media("image", "image/png", "aGk="),)), *HI)}, "messages[0].parts[0]"),
])  # fmt: skip
def test_what_would_change_the_meaning_is_refused(fields, param):
    assert refused(**fields).param == param


def test_tools_of_other_providers_are_reported_and_own_ones_said():
    grounding = Tool("nova_grounding", server=True, family="bedrock", raw={"systemTool": {"name": "nova_grounding"}})
    body, dropped = written(tools=(Tool("web_search", server=True, family="openai", raw={"type": "web_search"}), grounding))
    assert body["toolConfig"] == {"tools": [{"systemTool": {"name": "nova_grounding"}}]}
    assert dropped == ("tools[0]: web_search",)


words = st.text(max_size=20)
some_parts = st.one_of(
    st.builds(Text, words, cache=st.sampled_from(["", "5m", "1h"])),
    st.builds(Reasoning, words, seal=st.none() | st.builds(Seal, st.sampled_from(["bedrock", "anthropic"]), st.just("c2ln"))),
    st.builds(Media, st.just("image"), st.just("image/png"), st.just("aGk=")),
    st.builds(Media, st.just("document"), st.just("application/pdf"), st.just("aGk="), name=words),
)
call_parts = st.builds(ToolCall, st.text(min_size=1, max_size=9), st.just("f"), st.sampled_from(["", "{}", '{"x":"y"}']))
result_parts = st.builds(ToolResult, st.text(min_size=1, max_size=9), st.lists(st.builds(Text, words), max_size=2).map(tuple),
    is_error=st.booleans())
some_messages = st.one_of(
    st.builds(Message, st.just("system"), st.lists(st.builds(Text, words), max_size=2).map(tuple)),
    st.builds(Message, st.just("user"), st.lists(some_parts, max_size=3).map(tuple)),
    st.builds(Message, st.just("assistant"), st.lists(some_parts | call_parts, max_size=3).map(tuple)),
    st.builds(Message, st.just("tool"), st.lists(result_parts, min_size=1, max_size=2).map(tuple)),
)
conversations = st.builds(
    Conversation, st.just("m"), st.lists(some_messages, max_size=5).map(tuple), max_tokens=st.none() | st.integers(1, 9_000),
    tools=st.sampled_from([(), (F,)]), output=st.sampled_from([None, JSON, OutputFormat("json_object")]),
    tool_choice=st.sampled_from([None, ToolChoice("auto"), ToolChoice("none"), ToolChoice("required")]),
    reasoning=st.sampled_from([None, HIGH, ReasoningWish(effort="none"), ReasoningWish(budget_tokens=2_000)]),
    sampling=st.builds(Sampling, st.none() | st.floats(0, 2), st.none() | st.floats(0.1, 1), st.none() | st.integers(1, 99)),
)  # fmt: skip


@settings(deadline=None)
@given(conversations, st.sampled_from([SONNET, OPUS, OLD, LLAMA, "amazon.nova-2-lite-v1:0", "openai.gpt-oss-120b-1:0"]))
def test_every_request_keeps_to_the_languages_rules(conversation, model):
    found = BEDROCK.write_request(conversation, Target(model))
    if isinstance(found, Fault):
        assert found.param
        return
    body = orjson.loads(found.body)
    roles = [one["role"] for one in body["messages"]]
    assert roles[0] == "user"
    assert all(a != b for a, b in pairwise(roles))
    for turn in body["messages"]:
        assert turn["content"]
        assert all(one["text"].strip() for one in turn["content"] if "text" in one)
    blocks = [block for turn in body["messages"] for block in turn["content"]]
    if any("toolUse" in one for one in blocks):
        assert "toolConfig" in body
    validated(body, model)


def validated(body: dict, model: str) -> None:
    """By Amazon's own description of the API, where it is installed."""
    shape = converse_shape()
    if shape is not None:
        from botocore.validate import ParamValidator

        report = ParamValidator().validate({**body, "modelId": model}, shape)
        assert not report.has_errors(), report.generate_report()


@cache
def converse_shape() -> Any:
    try:
        from botocore.session import get_session
    except ImportError:
        return None
    return get_session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape


def test_amazons_own_description_is_at_hand_or_the_reason_is_said():
    pytest.importorskip("botocore", reason="botocore is not installed: requests are not held against its model")
    body, _ = written(
        output=JSON, tools=(F,), reasoning=ReasoningWish(effort="low"), max_tokens=9_000, metadata={"a": "b"}, service_tier="flex",
    )  # fmt: skip
    validated(body, SONNET)
