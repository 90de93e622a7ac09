"""Conversations are written in Cohere's words, and nothing of them is lost without a word."""

import base64

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Message, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.codec import Target
from appliance.dialects.cohere import COHERE

MODEL = "command-a-reasoning-08-2025"
HI = (Message("user", (Text("Hi"),)),)
F = Tool("f", "Does f.", {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}, strict=True)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def written(target: Target | None = None, **fields: object) -> tuple[dict, tuple[str, ...]]:
    fields.setdefault("messages", HI)
    found = COHERE.write_request(Conversation("asked", **fields), target or Target(MODEL))  # type: ignore[arg-type]
    assert not isinstance(found, Fault), found
    body = orjson.loads(found.body)
    assert body.pop("model") == (target or Target(MODEL)).model
    assert body.pop("stream") is fields.get("stream", False)
    return body, found.dropped


def refused(**fields: object) -> Fault:
    fields.setdefault("messages", HI)
    found = COHERE.write_request(Conversation("asked", **fields), Target(MODEL))  # type: ignore[arg-type]
    assert isinstance(found, Fault), found
    assert found.kind is FaultKind.BAD_REQUEST
    return found


def test_the_least_request_is_one_message():
    assert written() == ({"messages": [{"role": "user", "content": "Hi"}]}, ())
    assert written(stream=True)[1] == ()


def test_a_conversation_with_tools_thoughts_media_and_documents():
    body, dropped = written(
        messages=(
            Message("system", (Text("Be brief."),)), Message("developer", (Text("No jokes."),)),
            Message("user", (
                Text("Look:"), Media("image", "image/png", "aGk="), Media("image", url="https://a.example/x.png", detail="low"),
                Media("document", "text/plain", "Rain fell.", name="report.txt", plain=True),
                Media("document", "text/markdown", base64.b64encode(b"# Snow").decode()),
            )),
            Message("assistant", (Reasoning("Hm."), Text("I call f."), ToolCall("f_1", "f", '{"x": 1.0}'), ToolCall("f_2", "f", ""))),
            Message("tool", (ToolResult("f_1", (Text('{"ok":true}'),)), ToolResult("f_2", (Text("a"), Text("b"))))),
            Message("tool", (ToolResult("f_3", (Media("document", "text/plain", "doc", name="t", plain=True),)), ToolResult("f_4"))),
            Message("assistant", (Reasoning("Aha."), Text("Done."))), Message("user", (Text("Thanks"),)),
        ),
        tools=(F,),
    )  # fmt: skip
    assert dropped == ()
    assert body["documents"] == [{"data": {"title": "report.txt", "text": "Rain fell."}}, {"data": {"text": "# Snow"}}]
    assert body["tools"] == [{"type": "function", "function": {"name": "f", "description": "Does f.", "parameters": F.parameters}}]
    assert body["strict_tools"] is True
    assert body["messages"] == [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "No jokes."}]},
        {"role": "user", "content": [
            {"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
            {"type": "image_url", "image_url": {"url": "https://a.example/x.png", "detail": "low"}},
        ]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}], "tool_plan": "I call f.", "tool_calls": [
            {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1.0}'}},
            {"id": "f_2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        ]},
        {"role": "tool", "tool_call_id": "f_1", "content": '{"ok":true}'},
        {"role": "tool", "tool_call_id": "f_2", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "tool", "tool_call_id": "f_3", "content": [{"type": "document", "document": {"data": {"title": "t", "text": "doc"}}}]},
        {"role": "tool", "tool_call_id": "f_4", "content": "(no output)"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Aha."}, {"type": "text", "text": "Done."}]},
        {"role": "user", "content": "Thanks"},
    ]  # fmt: skip


def test_instructions_stand_in_front_or_are_the_question():
    body, dropped = written(messages=(*HI, Message("system", (Text("New rule."),)), Message("user", (Text("So?"),), name="eve")))
    assert [one["role"] for one in body["messages"]] == ["system", "user", "user"]
    assert dropped == ("messages[1].role", "messages[2].name")
    body, dropped = written(messages=(Message("system", (Text("Write a poem."),)),))
    assert body["messages"] == [{"role": "user", "content": "Write a poem."}]
    assert dropped == ("messages[0].role",)


def test_what_only_others_can_read_is_left_out_and_said():
    body, dropped = written(messages=(
        Message("user", (Text("Hi", cache="5m"),)),
        Message("assistant", (
            Reasoning("a", seal=Seal("anthropic", "x")), Text("b", (Citation("t"),), seal=Seal("gemini", "z")), Refusal("No."),
            Foreign("anthropic", "web_search_tool_result", {}), Media("image", "image/png", "aGk="),
        )),
        Message("assistant", (ToolCall("c", "f", "{}", seal=Seal("gemini", "s")),)),
        Message("tool", (ToolResult("c", (Text("r"),), is_error=True, cache="5m"),)),
    ))  # fmt: skip
    assert body["messages"][1] == {"role": "assistant", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "No."}]}
    assert dropped == (
        "messages[0].parts[0].cache", "messages[1].parts[0]: sealed reasoning of anthropic", "messages[1].parts[1].citations",
        "messages[1].parts[1].seal", "messages[1].parts[3]: web_search_tool_result", "messages[1].parts[4]: image",
        "messages[2].parts[0].seal",
        "messages[3].parts[0].cache",
    )  # fmt: skip
    assert body["messages"][3]["content"] == "Error: r"


@pytest.mark.parametrize(("choice", "names", "word"), [
    (None, ["f", "g"], None), (ToolChoice("auto"), ["f", "g"], None), (ToolChoice("none"), ["f", "g"], "NONE"),
    (ToolChoice("required"), ["f", "g"], "REQUIRED"), (ToolChoice("named", "g"), ["g"], "REQUIRED"),
    (ToolChoice("auto", allowed=("f",)), ["f"], None),
])  # fmt: skip
def test_the_choice_among_tools(choice, names, word):
    body, _ = written(tools=(F, Tool("g")), tool_choice=choice)
    assert [one["function"]["name"] for one in body["tools"]] == names
    assert body.get("tool_choice") == word


def test_tools_are_strict_all_or_none():
    body, dropped = written(tools=(F, Tool("g")))
    assert "strict_tools" not in body
    assert dropped == ("tools[0].strict",)
    assert written(tools=(Tool("g", strict=True),))[1] == ("tools[0].strict",)  # without a required parameter there is no strictness


def test_free_text_tools_namespaces_and_tools_of_others():
    body, dropped = written(
        tools=(Tool("patch", custom=True, grammar={"syntax": "lark", "definition": "start: x"}), Tool("g", namespace="n", cache="5m"),
               Tool("web_search", server=True, family="openai")),
        messages=(*HI, Message("assistant", (ToolCall("t", "patch", "*** Begin", custom=True), ToolCall("u", "g", "{}", namespace="n")))),
    )  # fmt: skip
    assert [one["function"]["name"] for one in body["tools"]] == ["patch", "n__g"]
    assert [one["function"] for one in body["messages"][1]["tool_calls"]] == [
        {"name": "patch", "arguments": '{"input": "*** Begin"}'}, {"name": "n__g", "arguments": "{}"},
    ]  # fmt: skip
    assert dropped == ("tools[0].grammar", "tools[1].cache", "tools[2]: web_search")


@pytest.mark.parametrize(("fields", "param"), [
    ({"tool_choice": ToolChoice("required")}, "tool_choice"), ({"tools": (F,), "tool_choice": ToolChoice("named", "g")}, "tool_choice"),
    ({"sampling": Sampling(candidates=2)}, "n"), ({"modalities": ("text", "audio")}, "modalities"), ({"previous": "r"},
    "previous"),
    ({"messages": ()}, "messages"), ({"output": OutputFormat("json_object"), "tools": (F,)}, "output"),
    ({"messages": (Message("user", (Media("document", "application/pdf", "aGk="),)),)}, "messages[0].parts[0]"),
    ({"messages": (Message("user", (Media("audio", "audio/wav", "aGk="),)),)}, "messages[0].parts[0]"),
    ({"messages": (Message("user", (Media("image", file_id="f"),)),)}, "messages[0].parts[0]"),
    ({"messages": (*HI, Message("tool", (ToolResult("t", (Media("image", "image/png", "aGk="),)),)))}, "messages[1].parts[0].parts[0]"),
    ({"messages": (*HI, Message("assistant", (ToolCall("t", "f", "[1]"),)))}, "messages[1].parts[0].arguments"),
    ({"messages": (Message("system", (Media("image", "image/png", "aGk="),)), *HI)}, "messages[0].parts[0]"),
])  # fmt: skip
def test_what_would_change_the_meaning_is_refused(fields, param):
    assert refused(**fields).param == param


def test_sampling_is_said_within_cohere_s_bounds():
    body, dropped = written(max_tokens=9, sampling=Sampling(0.5, 0.9, 40, stop=("END",), seed=7, presence_penalty=0.5, logprobs=True))
    del body["messages"]
    assert body == {
        "max_tokens": 9, "temperature": 0.5, "p": 0.9, "k": 40, "stop_sequences": ["END"], "seed": 7, "presence_penalty": 0.5,
        "logprobs": True,
    }  # fmt: skip
    assert dropped == ()
    body, dropped = written(sampling=Sampling(1.9, 1.0, 900, 0.1, repetition_penalty=1.1, frequency_penalty=-1, logit_bias={"1": 1},
        top_logprobs=2))
    assert (body["p"], body["k"], body["frequency_penalty"]) == (0.99, 500, 0)
    assert dropped == (
        "sampling.top_p", "sampling.top_k", "sampling.frequency_penalty", "sampling.min_p", "sampling.repetition_penalty",
        "sampling.logit_bias",
        "sampling.top_logprobs",
    )  # fmt: skip


@pytest.mark.parametrize(("model", "wish", "thinking", "dropped"), [
    (MODEL, ReasoningWish(effort="low"), {"type": "enabled", "token_budget": 2_048}, ()),
    (MODEL, ReasoningWish(enabled=True), {"type": "enabled"}, ()), (MODEL, ReasoningWish(budget_tokens=-1), {"type": "enabled"}, ()),
    (MODEL, ReasoningWish(enabled=True, budget_tokens=99), {"type": "enabled", "token_budget": 99}, ()),
    (MODEL, ReasoningWish(effort="none"), {"type": "disabled"}, ()), (MODEL, ReasoningWish(enabled=False), {"type": "disabled"}, ()),
    (MODEL, ReasoningWish(summary="auto"), None, ()), ("command-r-plus-08-2024", ReasoningWish(effort="high"), None, ("reasoning",)),
    ("command-r-plus-08-2024", ReasoningWish(effort="none"), None, ()), ("command-a-03-2025", ReasoningWish(effort="high"), None,
    ("reasoning",)),
])  # fmt: skip
def test_thinking_by_model(model, wish, thinking, dropped):
    body, reported = written(Target(model), reasoning=wish)
    assert (body.get("thinking"), reported) == (thinking, dropped)


def test_answers_are_bound_to_json():
    assert written(output=OutputFormat("json_schema", SCHEMA, "n"))[0]["response_format"] == {"type": "json_object", "json_schema": SCHEMA}
    assert written(output=OutputFormat("json_object"))[0]["response_format"] == {"type": "json_object"}
    assert "response_format" not in written(output=OutputFormat("text"))[0]


def test_the_rest_is_said_or_reported():
    _, dropped = written(
        user="u", metadata={"a": "b"}, cache_key="k", verbosity="low", service_tier="flex", store=True, parallel_tools=False,
        tools=(Tool("g"),),
        family="openai", extra={"prediction": {}},
    )  # fmt: skip
    assert dropped == ("user", "metadata", "cache_key", "verbosity", "service_tier", "store", "parallel_tools", "prediction")
    body, dropped = written(
        messages=(Message("user", (Text("x"), Media("document", data="d", plain=True))),), family="cohere",
        extra={"safety_mode": "STRICT", "documents": ["mine"], "citation_options": {"mode": "FAST"}},
    )  # fmt: skip
    assert (body["safety_mode"], body["documents"], body["citation_options"]) == ("STRICT", [{"data": {"text": "d"}}, "mine"],
        {"mode": "FAST"})
    assert dropped == ()


def test_the_operator_drops_and_renames_fields():
    body, dropped = written(Target(MODEL, drop=("seed",), rename={"p": "top_p"}), sampling=Sampling(seed=1, top_p=0.5))
    assert (body["top_p"], "seed" in body, dropped) == (0.5, False, ("seed",))


words = st.text(max_size=15)
parts = st.one_of(
    st.builds(Text, words), st.builds(Reasoning, words), st.builds(ToolCall, words, st.just("f"), st.sampled_from(["", "{}", '{"x":"y"}'])),
    st.builds(Media, st.just("document"), st.just("text/plain"), words, plain=st.just(True)),
    st.builds(Media, st.just("image"), st.just("image/png"), st.just("aGk=")),
    st.builds(ToolResult, words, st.lists(st.builds(Text, words), max_size=2).map(tuple)), st.builds(Foreign, st.just("x"), words,
    st.just({})),
)  # fmt: skip
messages = st.builds(Message, st.sampled_from(["user", "assistant", "tool", "developer"]), st.lists(parts, max_size=4).map(tuple))


@settings(deadline=None)
@given(st.lists(messages, max_size=5).map(tuple))
def test_every_request_keeps_to_the_languages_rules(history):
    found = COHERE.write_request(Conversation("m", history), Target(MODEL))
    if isinstance(found, Fault):
        assert found.param
        return
    for place, message in enumerate(orjson.loads(found.body)["messages"]):
        assert message["role"] != "system" or place == 0
        assert message.get("content") or message.get("tool_calls")
