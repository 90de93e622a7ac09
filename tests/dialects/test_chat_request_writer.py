"""Conversations of every language as chat completion requests: said, moved, reported or refused, and never lost in silence."""

import json

import attrs
import pytest
from core.canonical_values import names, words
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Message, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.chat import CHAT, PRESET_DROP, PRESET_RENAME
from appliance.dialects.codec import Target, Written

TARGET = Target("backend-model")
MESSAGE = TypeAdapter(ChatCompletionMessageParam)


def said(*messages, target=TARGET, **fields):
    written = CHAT.write_request(Conversation("m", messages, **fields), target)
    assert isinstance(written, Written), written
    return json.loads(written.body), written.dropped


def message(*parts, role="user", target=TARGET, **more):
    body, dropped = said(Message(role, parts, **more), target=target)
    MESSAGE.validate_python(body["messages"][0])
    return body["messages"][0], dropped


def refused(*messages, target=TARGET, **fields):
    fault = CHAT.write_request(Conversation("m", messages, **fields), target)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.BAD_REQUEST
    return fault.param


def test_words_alone_are_a_string_and_several_of_a_users_are_parts():
    assert message(Text("Hi"))[0] == {"role": "user", "content": "Hi"}
    assert message(Text("a"), Text("b"))[0]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert message(Text("a"), Text("b"), role="system")[0] == {"role": "system", "content": "a\n\nb"}
    assert message(Text("a"), Text("b"), role="assistant")[0] == {"role": "assistant", "content": "ab"}
    assert message(Text("a"), role="developer", name="n")[0] == {"role": "developer", "content": "a", "name": "n"}
    assert message(Text("a"), role="developer", target=Target("m", rename=PRESET_RENAME))[0]["role"] == "system"


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (Media("image", "image/png", "aGk=", detail="low"),
         {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}),
        (Media("image", url="https://i"), {"type": "image_url", "image_url": {"url": "https://i"}}),
        (Media("audio", "audio/wav", "aGk="), {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}),
        (Media("document", "application/pdf", "aGk=", name="a.pdf"),
         {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}}),
        (Media("document", "application/pdf", "aGk="),
         {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,aGk="}}),
        (Media("document", file_id="f-1"), {"type": "file", "file": {"file_id": "f-1"}}),
        (Media("document", "text/plain", "words", name="T", plain=True, context="C"), {"type": "text", "text": "T\n\nC\n\nwords"}),
    ],
)  # fmt: skip
def test_media_are_written(part, written):
    assert message(part)[0]["content"] == [written]


def test_a_film_is_written_as_open_servers_have_it():
    assert said(Message("user", (Media("video", url="https://v"),)))[0]["messages"][0]["content"] == [
        {"type": "video_url", "video_url": {"url": "https://v"}}
    ]


def test_what_would_be_missed_is_refused():
    assert refused(Message("user", (Media("image", file_id="f"),))) == "messages[0].parts[0]"
    assert refused(Message("user", (Media("document", url="https://d"),))) == "messages[0].parts[0]"
    assert refused(Message("system", (Media("image", url="https://i"),))) == "messages[0].parts[0]"
    assert refused(previous="resp_1") == "previous_response_id"
    assert refused(tools=(Tool("f"),), target=Target("m", drop=("tools",))) == "tools"
    assert refused(output=OutputFormat("json_object"), target=Target("m", drop=("response_format",))) == "response_format"
    assert refused(sampling=Sampling(candidates=2), target=Target("m", drop=("n",))) == "n"
    assert refused(tool_choice=ToolChoice("named", "g"), tools=(Tool("f"),)) == "tool_choice"
    assert refused(tool_choice=ToolChoice("required")) == "tool_choice"
    assert refused(tool_choice=ToolChoice("required"), tools=(Tool("f"),), target=Target("m", drop=("tool_choice",))) == "tool_choice"
    assert refused(Message("user", (Text("a\ud83d"),))) == "messages"


def test_what_is_not_missed_is_reported():
    target = Target("m", drop=("top_k", "seed", "n", "tool_choice", "reasoning_effort", "user", "response_format"))
    body, dropped = said(
        sampling=Sampling(0.5, top_k=3, seed=1, candidates=1), tools=(Tool("f"), Tool("web_search", server=True, family="anthropic")),
        tool_choice=ToolChoice("auto"), reasoning=ReasoningWish(effort="low"), user="u", output=OutputFormat("text"), target=target,
        family="anthropic_messages", extra={"container": "c"}, service_tier="standard_only",
    )  # fmt: skip
    assert set(dropped) == {
        "sampling.top_k", "sampling.seed", "sampling.candidates", "tools[1]: web_search", "tool_choice", "reasoning", "user", "output",
        "container", "service_tier",
    }  # fmt: skip
    assert body.keys() == {"model", "messages", "temperature", "tools"}


def test_an_assistants_turn_is_written():
    parts = (Reasoning("Hm"), Text("So", (Citation(),)), ToolCall("a", "f", '{"x":1.0}'), ToolCall("b", "g"), Refusal("No."))
    written, dropped = message(*parts, role="assistant")
    assert written == {
        "role": "assistant", "content": "So", "reasoning_content": "Hm", "refusal": "No.",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1.0}'}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }  # fmt: skip
    assert dropped == ()
    assert message(ToolCall("a", "f"), role="assistant")[0]["content"] is None
    assert message(Reasoning("Hm"), role="assistant", target=Target("m", drop=("reasoning_content",))) == (
        {"role": "assistant", "content": ""}, ("messages[0].parts[0]: reasoning",),
    )  # fmt: skip


def test_thoughts_go_in_the_vendors_own_field():
    thought = Message("assistant", (Reasoning("Hm"), Text("So")))
    assert said(thought, target=Target("m", rename={"reasoning_content": "reasoning"}))[0]["messages"][0]["reasoning"] == "Hm"
    assert said(thought, target=Target("m", rename={"reasoning_content": "thinking"}))[0]["messages"][0]["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "So"},
    ]  # fmt: skip


def test_seals_of_another_maker_stay_here_and_are_reported():
    parts = Reasoning("Hm", seal=Seal("anthropic", "SECRET")), ToolCall("a", "f", seal=Seal("gemini", "SECRET"))
    written, dropped = message(*parts, role="assistant")
    assert "SECRET" not in json.dumps(written)
    assert written["reasoning_content"] == "Hm"
    assert dropped == ("messages[0].parts[0]: sealed reasoning of anthropic", "messages[0].parts[1]: sealed reasoning of gemini")


def test_what_a_chat_backend_sealed_goes_back_as_it_was():
    detail = {"type": "reasoning.text", "text": "Hm", "signature": "S", "format": "anthropic-claude-v1", "id": "r1", "index": 0}
    blob = {"type": "reasoning.encrypted", "data": "B", "format": "google-gemini-v1", "id": "call_1", "index": 1}
    extra = {"google": {"thought_signature": "T"}}
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": extra}
    turn = {"role": "assistant", "content": None, "reasoning": "Hm", "reasoning_details": [detail, blob], "tool_calls": [call]}
    answer = CHAT.read_answer(json.dumps({"id": "c", "choices": [{"message": turn, "finish_reason": "tool_calls"}]}).encode())
    assert not isinstance(answer, Fault)
    body, dropped = said(Message("assistant", answer.candidates[0].parts))
    assert body["messages"][0]["reasoning_details"] == [detail, blob]
    assert body["messages"][0]["tool_calls"] == [call]
    assert dropped == ()
    body, dropped = said(Message("assistant", answer.candidates[0].parts), target=Target("m", drop=("reasoning_details", "extra_content")))
    assert body["messages"][0].keys() == {"role", "content", "tool_calls", "reasoning_content"}
    assert len(dropped) == 3


def test_encrypted_reasoning_of_openais_stands_beside_its_summary():
    body, _ = said(Message("assistant", (Reasoning("Sum", summary=True, seal=Seal("openai", "gAAA")),)))
    assert body["messages"][0]["reasoning_details"] == [
        {"type": "reasoning.summary", "summary": "Sum", "index": 0},
        {"type": "reasoning.encrypted", "data": "gAAA", "format": "openai-responses-v1", "index": 1},
    ]


def test_results_follow_their_calls_and_pictures_follow_the_run():
    image = Media("image", "image/png", "aGk=")
    body, dropped = said(
        Message("tool", (ToolResult("a", (Text("1"), Text("2"))), ToolResult("b", (Text("bad"),), is_error=True))),
        Message("tool", (ToolResult("c", (image,)), ToolResult("d", (Text("error: x"),), is_error=True))),
        Message("user", (Text("Go on"),)),
    )
    results, shown = body["messages"][:4], body["messages"][4]
    assert [(one["role"], one["tool_call_id"], one["content"]) for one in results] == [
        ("tool", "a", "1\n2"), ("tool", "b", "Error: bad"), ("tool", "c", "The result follows in the next message."),
        ("tool", "d", "error: x"),
    ]  # fmt: skip
    assert (shown["role"], [part["type"] for part in shown["content"]]) == ("user", ["text", "image_url", "text"])
    assert (shown["content"][2]["text"], body["messages"][5:]) == ("Go on", [])  # two turns of the user's in a row are refused by some
    assert dropped == ()


def test_ids_are_kept_where_they_may_be_and_made_alike_for_call_and_result():
    long = "x" * 41
    turn = Message("assistant", (ToolCall("toolu_1", "f"), ToolCall(long, "f"))), Message("tool", (ToolResult("toolu_1"), ToolResult(long)))
    for target in (TARGET, Target("m", short_ids=True)):
        sent = said(*turn, target=target)[0]["messages"]
        ids = [call["id"] for call in sent[0]["tool_calls"]]
        assert ids == [result["tool_call_id"] for result in sent[1:]]
        assert len(set(ids)) == 2
        assert all(len(one) <= 40 for one in ids)
        assert (ids[0] == "toolu_1") is not target.short_ids


def test_tools_are_written():
    tools = (
        Tool("f", "d", {"type": "object"}, True), Tool("g"), Tool("h", namespace="ns"),
        Tool("patch", "p", custom=True, grammar={"type": "grammar", "syntax": "lark", "definition": "x"}),
        Tool("$web_search", server=True, family="openai_chat", raw={"type": "builtin_function"}),
    )  # fmt: skip
    body, dropped = said(tools=tools, parallel_tools=False)
    assert body["parallel_tool_calls"] is False
    assert [one.get("function") or one.get("custom") or one for one in body["tools"]] == [
        {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}, "strict": True},
        {"name": "g", "parameters": {"type": "object", "properties": {}}},
        {"name": "ns__h", "parameters": {"type": "object", "properties": {}}},
        {"name": "patch", "description": "p", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}},
        {"type": "builtin_function"},
    ]
    assert dropped == ()


def test_free_text_tools_are_functions_where_there_are_none():
    turn = Message("assistant", (ToolCall("a", "patch", "x", custom=True),))
    tool = Tool("patch", custom=True, grammar={"type": "grammar", "syntax": "lark", "definition": "D"})
    choice = ToolChoice("named", "patch")
    body, dropped = said(turn, tools=(tool,), tool_choice=choice, target=Target("m", drop=PRESET_DROP, rename=PRESET_RENAME))
    assert body["tools"][0]["type"] == "function"
    assert body["tools"][0]["function"]["parameters"]["required"] == ["input"]
    assert body["messages"][0]["tool_calls"][0]["function"] == {"name": "patch", "arguments": '{"input": "x"}'}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "patch"}}
    assert dropped == ("tools[0].grammar",)
    assert said(turn, tools=(tool,), tool_choice=choice)[0]["tool_choice"] == {"type": "custom", "custom": {"name": "patch"}}


def test_allowed_tools_are_named_or_the_others_left_out():
    choice, tools = ToolChoice("required", allowed=("g",)), (Tool("f"), Tool("g"))
    body, _ = said(tools=tools, tool_choice=choice)
    assert body["tool_choice"] == {
        "type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]},
    }  # fmt: skip
    body, dropped = said(tools=tools, tool_choice=choice, target=Target("m", drop=("allowed_tools",)))
    assert ([one["function"]["name"] for one in body["tools"]], body["tool_choice"], dropped) == (["g"], "required", ())


@pytest.mark.parametrize(
    ("spelling", "wish", "written"),
    [
        ("reasoning_effort", ReasoningWish(effort="high", budget_tokens=5), {"reasoning_effort": "high"}),
        ("reasoning_effort", ReasoningWish(budget_tokens=8192), {"reasoning_effort": "medium"}),
        ("reasoning_effort", ReasoningWish(enabled=False), {"reasoning_effort": "none"}),
        ("reasoning_effort", ReasoningWish(enabled=True), {"reasoning_effort": "medium"}),
        ("reasoning_effort", ReasoningWish(shown=True), {}),
        ("reasoning", ReasoningWish(budget_tokens=2000, shown=False), {"reasoning": {"max_tokens": 2000, "exclude": True}}),
        ("reasoning", ReasoningWish(effort="low", summary="auto"), {"reasoning": {"effort": "low", "summary": "auto"}}),
        ("reasoning", ReasoningWish(enabled=False), {"reasoning": {"enabled": False}}),
        ("thinking", ReasoningWish(effort="low"), {"thinking": {"type": "enabled"}}),
        ("thinking", ReasoningWish(enabled=False), {"thinking": {"type": "disabled"}}),
        ("enable_thinking", ReasoningWish(enabled=True, budget_tokens=512), {"enable_thinking": True, "thinking_budget": 512}),
    ],
)
def test_a_wish_to_think_is_told_in_the_vendors_spelling(spelling, wish, written):
    body, _ = said(reasoning=wish, target=Target("m", rename={"reasoning_effort": spelling}))
    assert {name: value for name, value in body.items() if name not in ("model", "messages")} == written


def test_cache_marks_are_for_the_vendors_that_have_them():
    turns = Message("system", (Text("a", cache="5m"), Text("b", cache="1h"))), Message("user", (Text("c"),))
    tools = (Tool("f", cache="5m"),)
    body, dropped = said(*turns, tools=tools)
    assert body["messages"][0]["content"] == "a\n\nb"
    assert set(dropped) == {"messages[].parts[].cache", "tools[0].cache"}
    body, dropped = said(*turns, tools=tools, target=Target("m", rename={"cache": "cache_control"}))
    marks = [part["cache_control"] for part in body["messages"][0]["content"]]
    assert marks == [{"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}]
    assert body["tools"][0]["cache_control"] == {"type": "ephemeral"}
    assert dropped == ()


def test_limits_streams_users_and_extras_are_written():
    target = Target("backend-model", rename={"max_tokens": "max_completion_tokens"})
    body, dropped = said(
        stream=True, max_tokens=5, user="u" * 200, family="openai_chat", extra={"audio": {"voice": "a"}, "safety_identifier": "s"},
        service_tier="on_demand", target=target,
    )  # fmt: skip
    assert body["model"] == "backend-model"
    assert body["max_completion_tokens"] == 5
    assert body["stream_options"] == {"include_usage": True}
    assert len(body["user"]) == 64
    assert (body["audio"], body["safety_identifier"], body["service_tier"]) == ({"voice": "a"}, "s", "on_demand")
    assert dropped == ()
    assert "stream_options" not in said(stream=True, target=Target("m", drop=("stream_options",)))[0]


def test_blocks_of_other_languages_are_reported_by_their_kind():
    foreign = Foreign("anthropic", "server_tool_use", {"a": 1})
    assert message(foreign, Text("Hi"), role="assistant") == (
        {"role": "assistant", "content": "Hi"}, ("messages[0].parts[0]: server_tool_use",),
    )  # fmt: skip
    audio = Foreign("openai_chat", "audio", {"id": "au"})
    assert said(Message("assistant", (audio,)))[0]["messages"][0] == {"role": "assistant", "audio": {"id": "au"}, "content": None}


texts = words.filter(bool).map(Text)
images = st.just(Media("image", "image/png", "aGk=", detail="low")) | st.just(Media("image", url="https://i"))
files = st.just(Media("document", "application/pdf", "aGk=", name="a.pdf")) | st.just(Media("document", file_id="f-1"))
sounds = st.just(Media("audio", "audio/wav", "aGk="))
seals = st.none() | st.just(Seal("openai_chat", '{"type":"reasoning.text","signature":"S","id":"r"}'))
thoughts = st.builds(Reasoning, words.filter(bool), st.just(False), seals)


@st.composite
def assistants(draw):
    """In a chat message's own order; thoughts are several only where details hold them apart."""
    sealed = draw(st.lists(thoughts, max_size=3))
    kept = sealed if any(part.seal for part in sealed) else sealed[:1]
    said_text = draw(st.lists(texts, max_size=1))
    refusal = draw(st.lists(words.filter(bool).map(Refusal), max_size=1))
    made = draw(st.lists(st.tuples(names, st.sampled_from(["{}", '{"a":1}', "broken"]), st.booleans()), max_size=2))
    calls = [ToolCall(f"call_{place}", name, text, custom=custom) for place, (name, text, custom) in enumerate(made)]
    return Message("assistant", (*kept, *said_text, *refusal, *calls), draw(st.just("") | names))


@st.composite
def conversations(draw):
    turns = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["system", "developer", "user", "assistant"]))
        if kind == "assistant":
            turn = draw(assistants())
            turns.append(turn)
            results = [
                ToolResult(part.id, tuple(draw(st.lists(texts, max_size=1))), part.name, custom=part.custom)
                for part in turn.parts
                if isinstance(part, ToolCall)
            ]
            turns += [Message("tool", tuple(results))] if results else []
        elif kind == "user":
            turns.append(Message("user", tuple(draw(st.lists(texts | images | files | sounds, max_size=3)))))
        else:
            turns.append(Message(kind, tuple(draw(st.lists(texts, max_size=1)))))
    called = draw(st.lists(names, max_size=2, unique=True))
    tools = [Tool(name, "d", {"type": "object", "properties": {}}, draw(st.none() | st.booleans())) for name in called]
    tools += draw(st.just([]) | st.just([Tool("Patch", custom=True, grammar={"type": "grammar", "syntax": "regex", "definition": "x"})]))
    modes = ["auto", "none", "required", "named"] if tools else []
    mode = draw(st.sampled_from([None, *modes]))
    choice = None if mode is None else ToolChoice(mode, tools[0].name if mode == "named" else "")
    sampling = draw(st.builds(
        Sampling, temperature=st.none() | st.floats(0, 2), top_k=st.none() | st.integers(0, 9), stop=st.lists(names, max_size=2).map(tuple),
        seed=st.none() | st.integers(0, 9), logit_bias=st.none() | st.just({"5": -1}), candidates=st.none() | st.integers(1, 3),
    ))  # fmt: skip
    return Conversation(
        "backend-model", tuple(turns), draw(st.booleans()), True, draw(st.none() | st.integers(1, 99)), tuple(tools), choice,
        draw(st.none() | st.booleans()) if tools else None,
        output=draw(st.none() | st.just(OutputFormat("json_schema", {"type": "object"}, "n", "d", True)) | st.just(OutputFormat("text"))),
        reasoning=draw(st.none() | st.builds(ReasoningWish, effort=st.sampled_from(["none", "low", "max"]))), sampling=sampling,
        user=draw(st.just("") | names), metadata=draw(st.just({}) | st.just({"a": "b"})), cache_key=draw(st.just("") | names),
        verbosity=draw(st.just("") | st.just("low")), service_tier=draw(st.just("") | st.just("flex")),
        store=draw(st.none() | st.booleans()), family="openai_chat", extra=draw(st.just({}) | st.just({"prediction": {"type": "content"}})),
    )  # fmt: skip


@settings(max_examples=200)
@given(conversations())
def test_a_conversation_written_and_read_again_is_itself(conversation):
    written = CHAT.write_request(conversation, TARGET)
    assert isinstance(written, Written)
    assert written.dropped == ()
    again = CHAT.read_request(json.loads(written.body))
    assert again == attrs.evolve(conversation, wants_usage=conversation.stream)
