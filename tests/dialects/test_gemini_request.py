"""A Gemini caller's request as a conversation: every field in either spelling, results with their calls, faults with their path."""

import json

import pytest

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Foreign, Media, Message, Reasoning, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.gemini import GEMINI
from appliance.dialects.gemini_seal import written_seal

USER = {"role": "user", "parts": [{"text": "Hello"}]}


def read(*contents, **fields) -> Conversation:
    found = GEMINI.read_request({"contents": list(contents) or [USER], **fields})
    assert isinstance(found, Conversation), found
    return found


def model(*parts):
    return {"role": "model", "parts": list(parts)}


def user(*parts):
    return {"role": "user", "parts": list(parts)}


def called(name, **members):
    return {"functionCall": {"name": name, "args": {"a": 1}, **members}}


def answered(name, response, **members):
    return {"functionResponse": {"name": name, "response": response, **members}}


def test_the_googles_own_shortest_form_is_read():
    found = GEMINI.read_request({"contents": {"parts": {"text": "Hello"}}, "system_instruction": {"parts": {"text": "Be brief."}}})
    assert found.messages == (Message("system", (Text("Be brief."),)), Message("user", (Text("Hello"),)))


@pytest.mark.parametrize("spelling", ["camel", "snake"])
def test_both_spellings_of_every_field_mean_the_same(spelling: str):
    whole = {
        "contents": [user({"inlineData": {"mimeType": "image/png", "data": "aGk="}}, {"fileData": {"fileUri": "gs://b/f.pdf"}})],
        "systemInstruction": {"parts": [{"text": "s"}]},
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object", "additional_properties": 1}}]}],
        "generationConfig": {
            "maxOutputTokens": 5, "topP": 0.5, "topK": 40.0, "stopSequences": ["x"], "candidateCount": 2,
            "responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}, "presencePenalty": 1, "frequencyPenalty": 0.5,
            "responseLogprobs": True, "logprobs": 3, "responseModalities": ["TEXT"], "thinkingConfig": {"thinkingBudget": 100,
            "includeThoughts": True}, "seed": 1, "temperature": 0,
        },
    }  # fmt: skip
    fields = whole if spelling == "camel" else _snake(whole)
    found = GEMINI.read_request(fields)
    assert isinstance(found, Conversation), found
    assert found.extra == {}
    assert found.messages[1].parts == (
        Media("image", "image/png", "aGk="), Media("document", "application/pdf", url="gs://b/f.pdf"),
    )  # fmt: skip
    assert found.tools == (Tool("f", parameters={"type": "object", "additional_properties": 1}),)
    assert found.tool_choice == ToolChoice("named", "f")
    assert found.output == OutputFormat("json_schema", {"type": "object"})
    assert found.reasoning == ReasoningWish(budget_tokens=100, shown=True)
    assert found.sampling == Sampling(
        0, 0.5, 40, None, ("x",), 1, 1, 0.5, logprobs=True, top_logprobs=3, candidates=2,
    )  # fmt: skip
    assert (found.max_tokens, found.modalities, found.family) == (5, ("text",), "gemini")


def _snake(value):
    if isinstance(value, dict):
        names = {name: "".join("_" + c.lower() if c.isupper() else c for c in name) for name in value}
        return {names[name]: _snake(one) for name, one in value.items()}
    return [_snake(one) for one in value] if isinstance(value, list) else value


def test_results_find_their_calls_by_id_then_by_name_then_by_order():
    found = read(
        USER, model(called("f", id="x"), called("g"), called("f"), called("h")),
        user(answered("f", {"output": "third"}), answered("g", {"result": 2}), answered("f", {"error": "bad"}, id="x"), answered("?", {})),
    )  # fmt: skip
    calls = found.messages[1].parts
    assert calls[0].id == "x"
    assert len({call.id for call in calls}) == 4
    by_id = {result.call_id: result for result in found.messages[2].parts}
    # The first result takes the first open `f`, which is x; the one that names x finds it taken and takes the other.
    assert by_id["x"].parts == (Text("third"),)
    assert by_id[calls[1].id].parts == (Text("2"),)
    assert by_id[calls[2].id] == ToolResult(calls[2].id, (Text("bad"),), "f", is_error=True)
    assert by_id[calls[3].id].parts == ()


def test_made_ids_stay_the_same_when_the_history_comes_back_longer():
    short = read(USER, model(called("f"), called("f")))
    long = read(USER, model(called("f"), called("f")), user(answered("f", {}), answered("f", {})), model(called("f")))
    first = [part.id for part in short.messages[1].parts]
    assert first == [part.id for part in long.messages[1].parts]
    assert [part.call_id for part in long.messages[2].parts] == first
    assert long.messages[3].parts[0].id not in first


def test_each_run_of_results_is_a_message_of_its_own():
    found = read(USER, model(called("f")), user(answered("f", {"output": "r"}), {"text": "and now?"}))
    assert [message.role for message in found.messages] == ["user", "assistant", "tool", "user"]


def test_a_result_may_hold_pictures_and_any_object():
    picture = {"inlineData": {"mimeType": "image/png", "data": "-_8=", "displayName": "p.png"}}
    found = read(USER, model(called("f")), user(answered("f", {"temp": 20, "unit": "C"}, parts=[picture])))
    assert found.messages[2].parts[0].parts == (Text('{"temp":20,"unit":"C"}'), Media("image", "image/png", "+/8=", name="p.png"))


def test_signatures_stay_with_their_parts():
    call = {"functionCall": {"name": "f"}, "thoughtSignature": "abcd"}
    found = read(USER, model({"text": "t", "thought": True}, call, {"text": "b", "thoughtSignature": "ef=="}))
    thought, call, text = found.messages[1].parts
    assert thought == Reasoning("t", summary=True)
    assert (call.seal, call.arguments) == (Seal("gemini", "abcd"), "")
    assert text == Text("b", seal=Seal("gemini", "ef=="))


def test_a_streams_history_is_whole_again():
    """google-genai's chats keep each chunk's content, the last with an empty text and the signature."""
    chunks = [
        model({"text": "hm", "thought": True}), model({"text": "m", "thought": True}), model({"text": "The "}), model({"text": "answer"}),
        model({"text": "", "thoughtSignature": "abcd"}), model({"text": ""}), model(called("f")), model({"text": ""}),
    ]  # fmt: skip
    found = read(USER, *chunks, user(answered("f", {})))
    parts = found.messages[1].parts
    assert parts[:2] == (Reasoning("hmm", summary=True), Text("The answer", seal=Seal("gemini", "abcd")))
    assert isinstance(parts[2], ToolCall)
    assert len(parts) == 3


def test_thoughts_of_another_maker_come_back_as_they_were():
    seal, other = Seal("anthropic", "sig"), Seal("anthropic", "redacted")
    found = read(
        USER,
        model({"text": "words", "thought": True}),
        model({"text": "", "thought": True, "thought_signature": written_seal(seal)}),
        model({"text": "", "thought": True, "thought_signature": written_seal(other, hidden=True)}),
        model({"text": "x", "thoughtSignature": "skip_thought_signature_validator"}),
    )
    assert found.messages[1].parts == (Reasoning("words", seal=seal), Reasoning(seal=other, hidden=True), Text("x"))


def test_a_seal_without_words_is_not_taken_for_the_signature_of_words_before_it():
    other = Seal("anthropic", "redacted")
    parts = model({"text": "words", "thought": True}, {"text": "", "thought": True, "thoughtSignature": written_seal(other, hidden=True)})
    assert read(USER, parts).messages[1].parts == (Reasoning("words", summary=True), Reasoning(seal=other, hidden=True))


def test_parts_of_other_kinds_are_kept_whole():
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    assert read(USER, model(code)).messages[1].parts == (Foreign("gemini", "executableCode", code),)
    picture = {"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thought": True}
    assert read(USER, model(picture)).messages[1].parts == (Foreign("gemini", "thought", picture),)


def test_googles_own_schemas_become_json_schema():
    own = {
        "type": "OBJECT", "required": ["b"], "propertyOrdering": ["b", "a"], "properties": {
            "a": {"type": "STRING", "nullable": True, "format": "enum", "enum": ["x"]},
            "b": {"type": "ARRAY", "items": {"type": "INTEGER", "nullable": True}, "minItems": "1", "example": [1]},
            "property_ordering": {"any_of": [{"type": "NUMBER"}, {"type": "NULL"}]},
        },
    }  # fmt: skip
    found = read(tools=[{"functionDeclarations": [{"name": "f", "description": "d", "parameters": own}]}])
    schema = found.tools[0].parameters
    assert schema == {
        "type": "object", "required": ["b"], "properties": {
            "b": {"type": "array", "items": {"type": ["integer", "null"]}, "minItems": 1, "examples": [[1]]},
            "a": {"anyOf": [{"type": "string", "enum": ["x"]}, {"type": "null"}]},
            "property_ordering": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
    }  # fmt: skip
    assert next(iter(schema["properties"])) == "b"
    found = read(generationConfig={"responseMimeType": "application/json", "responseSchema": own})
    assert found.output == OutputFormat("json_schema", schema)


@pytest.mark.parametrize(("calling", "choice", "strict"), [
    ({"mode": "AUTO"}, ToolChoice("auto"), None),
    ({"mode": "any"}, ToolChoice("required"), None),
    ({"mode": "ANY", "allowedFunctionNames": ["a", "b"]}, ToolChoice("required", allowed=("a", "b")), None),
    ({"mode": "ANY", "allowedFunctionNames": ["a"]}, ToolChoice("named", "a"), None),
    ({"mode": "NONE"}, ToolChoice("none"), None),
    ({"mode": "VALIDATED"}, ToolChoice("auto"), True),
    ({"mode": "VALIDATED", "allowed_function_names": ["a"]}, ToolChoice("auto", allowed=("a",)), True),
    ({"mode": "MODE_UNSPECIFIED"}, None, None),
    ({}, None, None),
])  # fmt: skip
def test_modes_of_calling_are_choices_of_tools(calling, choice, strict):
    found = read(tools=[{"functionDeclarations": [{"name": "a"}]}], toolConfig={"functionCallingConfig": calling})
    assert found.tool_choice == choice
    assert found.tools[0].strict == strict


def test_googles_own_tools_are_server_tools():
    found = read(tools=[{"google_search": {}}, {"codeExecution": {}, "functionDeclarations": [{"name": "f"}]}])
    assert [(tool.name, tool.server, tool.raw) for tool in found.tools] == [
        ("googleSearch", True, {"googleSearch": {}}), ("codeExecution", True, {"codeExecution": {}}), ("f", False, {}),
    ]  # fmt: skip


def test_what_has_no_place_is_kept_by_its_path():
    found = read(
        user({"fileData": {"fileUri": "https://youtu.be/x"}, "videoMetadata": {"fps": 5}}),
        safety_settings=[{"category": "HARM"}], cachedContent="cachedContents/1", labels={"team": "a"}, serviceTier="FLEX", store=False,
        generationConfig={"speechConfig": {"languageCode": "de"}, "mediaResolution": "MEDIA_RESOLUTION_LOW",
                          "responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a"]}},
        toolConfig={"retrievalConfig": {"languageCode": "de"}, "functionCallingConfig": {"streamFunctionCallArguments": True}},
        tools=[{"functionDeclarations": [{"name": "f", "response": {"type": "STRING"}, "behavior": "BLOCKING"}]}],
    )  # fmt: skip
    assert found.extra == {
        "contents[0].parts[0].videoMetadata": {"fps": 5},
        "safetySettings": [{"category": "HARM"}],
        "cachedContent": "cachedContents/1",
        "generationConfig.speechConfig": {"languageCode": "de"},
        "generationConfig.mediaResolution": "MEDIA_RESOLUTION_LOW",
        "generationConfig.responseMimeType": "text/x.enum",
        "generationConfig.responseSchema": {"type": "STRING", "enum": ["a"]},
        "toolConfig.retrievalConfig": {"languageCode": "de"},
        "toolConfig.functionCallingConfig.streamFunctionCallArguments": True,
        "tools[0].functionDeclarations[0].response": {"type": "STRING"},
        "tools[0].functionDeclarations[0].behavior": "BLOCKING",
    }
    assert (found.metadata, found.service_tier, found.store) == ({"team": "a"}, "flex", False)
    assert found.messages[0].parts == (Media("video", "video/*", url="https://youtu.be/x"),)


@pytest.mark.parametrize(("fields", "path"), [
    ({}, "contents"),
    ({"contents": []}, "contents"),
    ({"contents": "hi"}, "contents"),
    ({"contents": [{"role": "system", "parts": []}]}, "contents[0].role"),
    ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
    ({"contents": [{"parts": ["x"]}]}, "contents[0].parts[0]"),
    ({"contents": [{"parts": [{"text": "x", "thought": "yes"}]}]}, "contents[0].parts[0].thought"),
    ({"contents": [model({"functionCall": {"args": {}}})]}, "contents[0].parts[0].functionCall.name"),
    ({"contents": [model({"functionCall": {"name": "f", "args": "{}"}})]}, "contents[0].parts[0].functionCall.args"),
    ({"contents": [user({"functionResponse": {"name": "f", "response": "x"}})]}, "contents[0].parts[0].functionResponse.response"),
    ({"contents": [user({"functionResponse": {"name": "f", "parts": [{"text": "x"}]}})]}, "contents[0].parts[0].functionResponse.parts[0]"),
    ({"contents": [user({"inlineData": {"data": "aGk="}})]}, "contents[0].parts[0].inlineData.mimeType"),
    ({"contents": [USER], "systemInstruction": "be brief"}, "systemInstruction"),
    ({"contents": [USER], "generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
    ({"contents": [USER], "generation_config": {"stop_sequences": "x"}}, "generationConfig.stopSequences"),
    ({"contents": [USER], "generationConfig": {"thinkingConfig": {"thinkingLevel": "EXTREME"}}},
     "generationConfig.thinkingConfig.thinkingLevel"),
    ({"contents": [USER], "toolConfig": {"functionCallingConfig": {"mode": "ALL"}}}, "toolConfig.functionCallingConfig.mode"),
    ({"contents": [USER], "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
    ({"contents": [USER], "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"properties": {"a": 1}}}]}]},
     "tools[0].functionDeclarations[0].parameters.properties.a"),
    ({"contents": [USER], "labels": {"a": 1}}, "labels.a"),
])  # fmt: skip
def test_what_is_wrong_is_refused_with_its_path(fields, path):
    found = GEMINI.read_request(fields)
    assert isinstance(found, Fault)
    assert (found.kind, found.param) == (FaultKind.BAD_REQUEST, path)
    assert "be brief" not in found.message


def test_schemas_nested_without_end_are_refused():
    schema: dict = {"type": "STRING"}
    for _ in range(500):
        schema = {"type": "ARRAY", "items": schema}
    found = GEMINI.read_request({"contents": [USER], "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]})
    assert isinstance(found, Fault)
    assert "nested" in found.message


def test_a_history_of_many_thousand_chunks_is_read_in_good_time():
    """Not the square of its length: 20,000 chunks, calls and results take well under the minute that a square would."""
    contents = [USER, *[model({"text": "abc "}) for _ in range(20_000)]]
    contents += [model(*[called("f") for _ in range(20_000)]), user(*[answered("f", {}) for _ in range(20_000)])]
    found = read(*json.loads(json.dumps(contents)))
    assert len(found.messages[1].parts[0].text) == 80_000
    assert len({part.call_id for part in found.messages[2].parts}) == 20_000


def test_numbers_among_enums_and_types_that_are_not_told():
    parameters = {"type": "OBJECT", "properties": {
        "n": {"type": "INTEGER", "format": "enum", "enum": ["1", "2"]}, "x": {"type": "NUMBER", "enum": ["1.5", "inf", "b"]},
        "s": {"type": "STRING", "enum": ["1"]}, "any": {"type": "TYPE_UNSPECIFIED", "description": "d"},
    }}  # fmt: skip
    found = GEMINI.read_request({
        "contents": [{"parts": [{"text": "x"}]}], "tools": [{"functionDeclarations": [{"name": "f", "parameters": parameters}]}],
    })  # fmt: skip
    assert found.tools[0].parameters["properties"] == {
        "n": {"type": "integer", "enum": [1, 2]}, "x": {"type": "number", "enum": [1.5, "inf", "b"]},
        "s": {"type": "string", "enum": ["1"]}, "any": {"description": "d"},
    }  # fmt: skip
