"""A conversation as Gemini's request: turns, results in order, signatures where Gemini 3 wants them, and what cannot be said is told."""

import json
from typing import Any

import attrs
import pytest

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Message, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.codec import Target, Written
from appliance.dialects.gemini import GEMINI

HELLO = Message("user", (Text("Hello"),))
LOOKUP = Tool("lookup", "Looks up.", {"$schema": "x", "type": "object", "properties": {"a": {"type": ["string", "null"]}}})


def write(*messages: Message, model="gemini-3-flash", drop=(), **fields) -> tuple[dict[str, Any], tuple[str, ...]]:
    written = GEMINI.write_request(Conversation("m", messages or (HELLO,), **fields), Target(model, drop=drop))
    assert isinstance(written, Written), written
    return json.loads(written.body), written.dropped


def refused(*messages: Message, model: str = "gemini-3-flash", **fields) -> Fault:
    found = GEMINI.write_request(Conversation("m", messages or (HELLO,), **fields), Target(model))
    assert isinstance(found, Fault), found
    assert found.kind is FaultKind.BAD_REQUEST
    return found


def assistant(*parts):
    return Message("assistant", parts)


def results(*parts):
    return Message("tool", parts)


def test_turns_of_one_speaker_are_one_content_and_instructions_stand_apart():
    body, dropped = write(
        Message("system", (Text("s"),)), Message("developer", (Text("d"),)), HELLO, Message("user", (Text("there"),)),
        assistant(Text("Hi")), assistant(Text("!"), Text("")), HELLO,
    )  # fmt: skip
    assert body["systemInstruction"] == {"parts": [{"text": "s"}, {"text": "d"}]}
    assert [(one["role"], [part["text"] for part in one["parts"]]) for one in body["contents"]] == [
        ("user", ["Hello", "there"]), ("model", ["Hi", "!"]), ("user", ["Hello"]),
    ]  # fmt: skip
    assert dropped == ()


def test_later_instructions_keep_their_place():
    body, dropped = write(HELLO, assistant(Text("Hi")), Message("system", (Text("From now on French."),)))
    assert body["contents"][2] == {"role": "user", "parts": [{"text": "From now on French."}]}
    assert dropped == ("messages[2].role: system",)


def test_instructions_alone_are_what_the_user_says():
    assert write(Message("system", (Text("s"),)))[0] == {"contents": [{"role": "user", "parts": [{"text": "s"}]}]}
    assert refused(assistant(Text(""))).param == "messages"


def test_results_stand_first_in_the_order_of_their_calls_with_their_names():
    calls = assistant(ToolCall("a", "f", '{"x": 1.50}'), ToolCall("b", "f"), ToolCall("c", "g"))
    body, _ = write(HELLO, calls, results(ToolResult("c", (Text("3"),)), ToolResult("b", (Text("2"),))),
                    results(ToolResult("a", (Text("1"),))), Message("user", (Text("now?"),)))  # fmt: skip
    content = body["contents"][2]
    assert [part.get("functionResponse", part) for part in content["parts"]] == [
        {"id": "a", "name": "f", "response": {"output": "1"}}, {"id": "b", "name": "f", "response": {"output": "2"}},
        {"id": "c", "name": "g", "response": {"output": "3"}}, {"text": "now?"},
    ]  # fmt: skip
    assert body["contents"][1]["parts"][0]["functionCall"] == {"id": "a", "name": "f", "args": {"x": 1.5}}
    assert body["contents"][1]["parts"][1]["functionCall"] == {"id": "b", "name": "f", "args": {}}


@pytest.mark.parametrize(("model", "drop", "ids"), [
    ("gemini-3-pro", (), True), ("gemini-flash-latest", (), True), ("gemini-2.5-pro", (), False),
    ("gemini-3-pro", ("functionCall.id",), False),
])  # fmt: skip
def test_ids_are_said_where_the_model_knows_them(model, drop, ids):
    body, dropped = write(HELLO, assistant(ToolCall("a", "f")), results(ToolResult("a")), model=model, drop=drop)
    assert ("id" in body["contents"][1]["parts"][0]["functionCall"]) == ids
    assert ("id" in body["contents"][2]["parts"][0]["functionResponse"]) == ids
    assert dropped == ()


@pytest.mark.parametrize(("result", "response"), [
    (ToolResult("a", (Text("fine"),)), {"output": "fine"}),
    (ToolResult("a"), {"output": ""}),
    (ToolResult("a", (Text("a"), Text("b"))), {"output": "a\nb"}),
    (ToolResult("a", (Text('{"temp": 20}'),)), {"temp": 20}),
    (ToolResult("a", (Text('{"output": "x"}'),)), {"output": '{"output": "x"}'}),
    (ToolResult("a", (Text("{}"),)), {"output": "{}"}),
    (ToolResult("a", (Text("{broken"),)), {"output": "{broken"}),
    (ToolResult("a", (Text("[1]"),)), {"output": "[1]"}),
    (ToolResult("a", (Text('{"x": {"$ref": "#/$defs/y"}}'),)), {"output": '{"x": {"$ref": "#/$defs/y"}}'}),
    (ToolResult("a", (Text("bad"),), is_error=True), {"error": "bad"}),
])  # fmt: skip
def test_a_results_words_are_an_object(result, response):
    body, _ = write(HELLO, assistant(ToolCall("a", "f")), results(result))
    assert body["contents"][2]["parts"][0]["functionResponse"]["response"] == response


def test_a_results_picture_is_inside_it_or_beside_it():
    picture = Media("image", "image/png", "aGk=", name="p.png")
    turn = (HELLO, assistant(ToolCall("a", "f")), results(ToolResult("a", (Text("see"), picture))))
    new = write(*turn)[0]["contents"][2]["parts"]
    assert new[0]["functionResponse"]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "aGk=", "displayName": "p.png"}}]
    old = write(*turn, model="gemini-2.5-flash")[0]["contents"][2]["parts"]
    assert "parts" not in old[0]["functionResponse"]
    assert old[1]["inlineData"]["data"] == "aGk="


def test_gemini_3_gets_a_signature_for_calls_that_it_did_not_make_in_the_current_turn_only():
    own = Seal("gemini", "c2ln")
    history = (
        HELLO, assistant(ToolCall("1", "f")), results(ToolResult("1")), assistant(Text("done")), HELLO,
        assistant(ToolCall("2", "f"), ToolCall("3", "f")), results(ToolResult("2"), ToolResult("3")),
        assistant(ToolCall("4", "f", seal=own), ToolCall("5", "f")), results(ToolResult("4"), ToolResult("5")),
    )  # fmt: skip
    found = {
        part["functionCall"]["id"]: part.get("thoughtSignature")
        for content in write(*history)[0]["contents"] for part in content["parts"] if "functionCall" in part
    }  # fmt: skip
    assert found == {"1": None, "2": "skip_thought_signature_validator", "3": None, "4": "c2ln", "5": None}
    assert b"skip_thought" not in json.dumps(write(*history, model="gemini-2.5-pro")[0]).encode()


def test_seals_of_others_are_left_out_and_told():
    body, dropped = write(HELLO, assistant(
        Reasoning("words", seal=Seal("anthropic", "x")), Reasoning(seal=Seal("openai", "y"), hidden=True),
        Text("t", seal=Seal("gemini", "z")), Reasoning("mine", summary=True, seal=Seal("gemini", "w")),
    ))  # fmt: skip
    assert body["contents"][1]["parts"] == [
        {"text": "words", "thought": True}, {"text": "t", "thoughtSignature": "z"},
        {"text": "mine", "thought": True, "thoughtSignature": "w"},
    ]  # fmt: skip
    assert dropped == (
        "messages[1].parts[0]: sealed reasoning of anthropic", "messages[1].parts[1]: sealed reasoning of openai",
    )  # fmt: skip


def test_media_in_every_form():
    body, dropped = write(Message("user", (
        Media("image", "image/png", "aGk="), Media("document", "text/plain", "plain words", plain=True, name="n", context="c", cites=True),
        Media("image", url="https://x.test/a.PNG?x=1", detail="high"), Media("image", url="https://x.test/a"),
        Media("video", url="https://youtu.be/x"), Media("document", "application/pdf", file_id="files/abc"),
    )))  # fmt: skip
    assert body["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"inlineData": {"mimeType": "text/plain", "data": "cGxhaW4gd29yZHM="}},
        {"fileData": {"fileUri": "https://x.test/a.PNG?x=1", "mimeType": "image/png"}},
        {"fileData": {"fileUri": "https://x.test/a", "mimeType": "image/jpeg"}},
        {"fileData": {"fileUri": "https://youtu.be/x", "mimeType": "video/*"}},
        {"fileData": {"fileUri": "files/abc", "mimeType": "application/pdf"}},
    ]
    place = "messages[0].parts"
    assert dropped == (f"{place}[1].cites", f"{place}[1].context", f"{place}[1].name", f"{place}[2].detail")


def test_a_picture_gets_its_signature_back():
    body, _ = write(HELLO, assistant(Media("image", "image/png", "aGk="), Text(seal=Seal("gemini", "c2ln"))))
    assert body["contents"][1]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thoughtSignature": "c2ln"}]


@pytest.mark.parametrize(("message", "param"), [
    (Message("user", (Media("image", file_id="file-abc"),)), "messages[0].parts[0]"),
    (Message("user", (Media("image", url="file:///etc/passwd"),)), "messages[0].parts[0]"),
    (assistant(ToolCall("a", "f", "[1]")), "messages[0].parts[0].arguments"),
    (assistant(ToolCall("a", "f", "{broken")), "messages[0].parts[0].arguments"),
    (results(ToolResult("nobody")), "messages[0].parts[0].call_id"),
])  # fmt: skip
def test_what_would_change_the_meaning_is_refused(message, param):
    assert refused(message).param == param


def test_other_parts_are_told_or_said():
    body, dropped = write(HELLO, Message("assistant", (
        Refusal("No."), Foreign("gemini", "executableCode", {"executableCode": {"code": "1"}}), Foreign("anthropic", "web_search", {}),
        Text("cited", (Citation("t"),), cache="5m"),
    ), name="bob"))  # fmt: skip
    assert body["contents"][1]["parts"] == [{"text": "No."}, {"executableCode": {"code": "1"}}, {"text": "cited"}]
    assert dropped == (
        "messages[1].name", "messages[1].parts[2]: web_search", "messages[1].parts[3].cache", "messages[1].parts[3].citations",
    )  # fmt: skip


def test_functions_carry_their_schema_as_it_stands():
    body, dropped = write(tools=(
        LOOKUP, Tool("patch", custom=True, grammar={"syntax": "lark", "definition": "start: x"}, namespace="fs"), Tool("bare", cache="5m"),
        Tool("web_search", server=True, family="anthropic"), Tool("googleSearch", server=True, family="gemini", raw={"googleSearch": {}}),
    ))  # fmt: skip
    functions, search = body["tools"]
    first, patch, bare = functions["functionDeclarations"]
    assert first == {
        "name": "lookup", "description": "Looks up.",
        "parametersJsonSchema": {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
    }  # fmt: skip
    assert patch["name"] == "fs__patch"
    assert "start: x" in patch["description"]
    assert patch["parametersJsonSchema"]["required"] == ["input"]
    assert bare == {"name": "bare"}
    assert search == {"googleSearch": {}}
    assert dropped == ("tools[1].grammar", "tools[2].cache", "tools[3]: web_search")


def test_free_text_calls_and_namespaces_are_said_as_functions():
    call = ToolCall("a", "patch", "*** Begin", namespace="fs", custom=True)
    body, _ = write(HELLO, assistant(call), results(ToolResult("a", custom=True)))
    assert body["contents"][1]["parts"][0]["functionCall"] == {"id": "a", "name": "fs__patch", "args": {"input": "*** Begin"}}
    assert body["contents"][2]["parts"][0]["functionResponse"]["name"] == "fs__patch"


STRICT = attrs.evolve(LOOKUP, strict=True)


@pytest.mark.parametrize(("choice", "tools", "model", "calling", "dropped"), [
    (None, (LOOKUP,), "gemini-3-pro", None, ()),
    (ToolChoice("auto"), (LOOKUP,), "gemini-3-pro", {"mode": "AUTO"}, ()),
    (ToolChoice("none"), (LOOKUP,), "gemini-3-pro", {"mode": "NONE"}, ()),
    (ToolChoice("required"), (STRICT,), "gemini-3-pro", {"mode": "ANY"}, ()),
    (ToolChoice("named", "lookup"), (LOOKUP,), "gemini-3-pro", {"mode": "ANY", "allowedFunctionNames": ["lookup"]}, ()),
    (ToolChoice("required", allowed=("lookup",)), (LOOKUP,), "gemini-3-pro", {"mode": "ANY", "allowedFunctionNames": ["lookup"]}, ()),
    (ToolChoice("auto", allowed=("lookup",)), (LOOKUP,), "gemini-3-pro", {"mode": "VALIDATED", "allowedFunctionNames": ["lookup"]}, ()),
    (None, (STRICT,), "gemini-3-pro", {"mode": "VALIDATED"}, ()),
    (None, (STRICT,), "gemini-2.0-flash", None, ("tools[0].strict",)),
    (None, (STRICT, Tool("loose")), "gemini-3-pro", None, ("tools[0].strict",)),
    (ToolChoice("none"), (), "gemini-3-pro", None, ()),
])  # fmt: skip
def test_tool_choices_are_modes(choice, tools, model, calling, dropped):
    body, found = write(tools=tools, tool_choice=choice, model=model)
    assert body.get("toolConfig", {}).get("functionCallingConfig") == calling
    assert found == dropped


@pytest.mark.parametrize(("choice", "tools"), [
    (ToolChoice("named", "nobody"), (LOOKUP,)),
    (ToolChoice("required"), ()),
    (ToolChoice("required"), (Tool("web_search", server=True, family="anthropic"),)),
])  # fmt: skip
def test_a_choice_that_cannot_be_kept_is_refused(choice, tools):
    assert refused(tools=tools, tool_choice=choice).param == "tool_choice"


@pytest.mark.parametrize(("model", "wish", "config", "dropped"), [
    ("gemini-3-flash", ReasoningWish(effort="low"), {"thinkingLevel": "LOW"}, ()),
    ("gemini-3.1-pro", ReasoningWish(effort="minimal"), {"thinkingLevel": "LOW"}, ()),
    ("gemini-3-flash", ReasoningWish(effort="max", shown=True), {"thinkingLevel": "HIGH", "includeThoughts": True}, ()),
    ("gemini-3-flash", ReasoningWish(enabled=True, budget_tokens=10_000), {"thinkingLevel": "MEDIUM", "includeThoughts": True}, ()),
    ("gemini-3-flash", ReasoningWish(effort="none"), {"thinkingLevel": "MINIMAL"}, ("reasoning.effort: none",)),
    ("gemini-3-pro", ReasoningWish(enabled=False), {"thinkingLevel": "LOW"}, ("reasoning.effort: none",)),
    ("gemini-2.5-flash", ReasoningWish(effort="medium"), {"thinkingBudget": 8_192}, ()),
    ("gemini-2.5-flash", ReasoningWish(effort="max"), {"thinkingBudget": 24_576}, ()),
    ("gemini-2.5-pro", ReasoningWish(effort="max"), {"thinkingBudget": 32_768}, ()),
    ("gemini-2.5-flash", ReasoningWish(budget_tokens=100_000), {"thinkingBudget": 24_576}, ()),
    ("gemini-2.5-flash", ReasoningWish(enabled=False), {"thinkingBudget": 0}, ()),
    ("gemini-2.5-pro", ReasoningWish(enabled=False), {"thinkingBudget": 128}, ("reasoning.effort: none",)),
    ("gemini-2.0-flash", ReasoningWish(effort="low"), None, ("reasoning",)),
    ("gemini-2.5-flash", ReasoningWish(summary="auto"), {"includeThoughts": True}, ()),
])  # fmt: skip
def test_thinking_is_said_in_the_models_own_way(model, wish, config, dropped):
    body, found = write(reasoning=wish, model=model)
    assert body.get("generationConfig", {}).get("thinkingConfig") == config
    assert found == dropped


def test_the_rest_is_said_or_told():
    body, dropped = write(
        output=OutputFormat("json_schema", {"type": "object"}, name="n", strict=True), max_tokens=7, parallel_tools=False, user="u",
        metadata={"a": "b"}, cache_key="k", verbosity="low", service_tier="flex", store=False, modalities=("text",),
        sampling=Sampling(min_p=0.1, seed=2**40 + 5, logit_bias={"1": 1.0}, stop=("x",)), family="openai", extra={"web_search_options": {}},
    )  # fmt: skip
    assert body["generationConfig"] == {
        "maxOutputTokens": 7, "seed": 5, "stopSequences": ["x"], "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"}, "responseModalities": ["TEXT"],
    }  # fmt: skip
    assert body["serviceTier"] == "flex"
    assert dropped == (
        "sampling.min_p", "sampling.logit_bias", "output.name", "metadata", "parallel_tools", "user", "cache_key", "verbosity",
        "web_search_options",
    )  # fmt: skip
    assert refused(previous="resp_1").param == "previous_response_id"


def test_what_was_kept_by_its_path_is_said_again_there():
    body, dropped = write(family="gemini", extra={
        "safetySettings": [1], "generationConfig.speechConfig": {"a": 1}, "toolConfig.retrievalConfig": {"b": 2},
        "toolConfig.functionCallingConfig.streamFunctionCallArguments": True, "contents[0].parts[0].videoMetadata": {"fps": 1},
    })  # fmt: skip
    assert body["safetySettings"] == [1]
    assert body["generationConfig"] == {"speechConfig": {"a": 1}}
    assert body["toolConfig"] == {"retrievalConfig": {"b": 2}, "functionCallingConfig": {"streamFunctionCallArguments": True}}
    assert dropped == ("contents[0].parts[0].videoMetadata",)


def test_a_vendors_own_names_are_kept_to():
    target = Target("gemini-3-pro", drop=("seed", "serviceTier"), rename={"maxOutputTokens": "max_out"})
    written = GEMINI.write_request(Conversation("m", (HELLO,), max_tokens=3, sampling=Sampling(seed=1), service_tier="flex"), target)
    body = json.loads(written.body)
    assert body["generationConfig"] == {"max_out": 3}
    assert "serviceTier" not in body


def test_faults_hold_nothing_of_the_prompt():
    found = refused(assistant(ToolCall("a", "f", "{my secret")))
    assert "secret" not in repr(found)
