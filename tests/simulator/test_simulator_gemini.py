"""Google's own SDK, over real sockets, accepts every shape that the simulator sends in Gemini's language; refusals and faults by hand."""

import base64
import math

import httpx
import orjson
import pytest

from appliance.simulator.languages.gemini_signature import call_content, sign

genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
types = genai.types

ASK = "Tell me something."
NEWEST, OLDER = "gemini-3-pro-preview", "gemini-2.5-flash"
CITY = {
    "type": "OBJECT",
    "properties": {"city": {"type": "STRING", "enum": ["Paris", "Rome"]}, "days": {"type": "INTEGER", "minimum": 1}},
    "required": ["city", "days"],
}
WEATHER = {"name": "get_weather", "description": "The weather.", "parameters": CITY}
CLOCK = {"name": "get_time", "parametersJsonSchema": {"type": "object", "properties": {}}}
TOOLS = [{"functionDeclarations": [WEATHER, CLOCK]}]


@pytest.fixture(scope="module")
def client(url):
    return genai.Client(api_key="key", http_options={"base_url": url})


@pytest.fixture(scope="module")
def http(url):
    with httpx.Client(base_url=url, timeout=30, verify=False) as talk:
        yield talk


def post(http, method="generateContent", model="sim", **body):
    if "contents" not in body and method.lower().endswith("generatecontent"):
        body["contents"] = [{"role": "user", "parts": [{"text": ASK}]}]
    return http.post(f"/v1beta/models/{model}:{method}", json=body)


def streamed(http, body=None, model="sim", fault=""):
    body = body or {"contents": [{"parts": [{"text": ASK}]}]}
    headers = {"x-sim-fault": fault} if fault else {}
    return http.post(f"/v1beta/models/{model}:streamGenerateContent?alt=sse", json=body, headers=headers)


def events(response):
    assert response.headers["content-type"].startswith("text/event-stream")
    return [orjson.loads(line[5:]) for line in response.text.splitlines() if line.startswith("data:")]


def test_whole_and_streamed_say_the_same_and_count_the_same(client):
    whole = client.models.generate_content(model="sim", contents=ASK)
    chunks = list(client.models.generate_content_stream(model="sim", contents=ASK))
    assert "".join(c.text or "" for c in chunks) == whole.text
    assert whole.candidates[0].finish_reason == types.FinishReason.STOP
    assert [c.candidates[0].finish_reason for c in chunks][-2:] == [None, types.FinishReason.STOP]
    assert chunks[-1].usage_metadata == whole.usage_metadata
    usage = whole.usage_metadata
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count
    assert len(chunks) == usage.candidates_token_count + 1
    assert (whole.model_version, len(whole.response_id)) == ("sim", 23)


def test_the_same_question_in_openais_language_gets_the_same_words_and_counts(client, http):
    asked = {"model": "sim", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK}]}
    other = http.post("/v1/chat/completions", json=asked).json()
    answer = client.models.generate_content(model="sim", contents=ASK, config={"system_instruction": "Be brief."})
    assert answer.text == other["choices"][0]["message"]["content"]
    assert answer.usage_metadata.prompt_token_count == other["usage"]["prompt_tokens"]
    assert answer.usage_metadata.candidates_token_count == other["usage"]["completion_tokens"]


def test_a_json_array_streams_the_same_responses_as_events_do(http):
    body = {"contents": [{"role": "user", "parts": [{"text": ASK}]}]}
    array = post(http, "streamGenerateContent", **body)
    assert array.headers["content-type"].startswith("application/json")
    assert array.json() == events(streamed(http, body))


def test_thoughts_are_shown_when_asked_for_and_counted_apart_always(client):
    shown = client.models.generate_content(
        model="sim", contents="[[reasoning=12]] [[tokens=5]]", config={"thinking_config": {"include_thoughts": True}}
    )
    thought, said = shown.candidates[0].content.parts
    assert (thought.thought, said.thought) == (True, None)
    usage = shown.usage_metadata
    assert (usage.thoughts_token_count, usage.candidates_token_count) == (12, 5)
    assert usage.total_token_count == usage.prompt_token_count + 17
    hidden = client.models.generate_content(model="sim", contents="[[reasoning=12]] [[tokens=5]]")
    assert [p.text for p in hidden.candidates[0].content.parts] == [said.text]
    assert hidden.usage_metadata == usage
    chunks = list(client.models.generate_content_stream(model="sim", contents="[[reasoning=12]] [[tokens=5]]"))
    assert all(not p.thought for c in chunks for p in c.candidates[0].content.parts)
    assert chunks[-1].usage_metadata == usage


@pytest.mark.parametrize(
    ("thinking", "tokens"),
    [
        ({"thinking_level": "low"}, 16),
        ({"thinking_level": "HIGH"}, 64),
        ({"thinking_budget": 0}, None),
        ({"thinking_budget": 4096}, 64),
        ({"thinking_budget": -1}, 32),
    ],
)
def test_levels_and_budgets_of_thinking_say_how_much_is_thought(client, thinking, tokens):
    answer = client.models.generate_content(model=OLDER, contents=ASK, config={"thinking_config": thinking})
    assert answer.usage_metadata.thoughts_token_count == tokens


@pytest.mark.parametrize("model", [NEWEST, OLDER, "sim"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop_of_three_turns_by_the_sdks_own_chat(client, model, stream):
    """The SDK carries ids and signatures by itself; only Gemini 3 numbers its calls."""
    chat = client.chats.create(model=model, config={"tools": TOOLS, "automatic_function_calling": {"disable": True}})

    def send(message):
        """Calls and text of the answer."""
        chunks = list(chat.send_message_stream(message)) if stream else [chat.send_message(message)]
        parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
        return [part.function_call for part in parts if part.function_call], "".join(part.text or "" for part in parts)

    def result(call, said):
        return types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": said}))

    calls, _ = send("Use both get_weather and get_time.")
    assert [c.name for c in calls] == ["get_weather", "get_time"]
    assert calls[0].args["city"] in ("Paris", "Rome")
    assert calls[1].args == {}
    assert all(bool(c.id) == (model == NEWEST) for c in calls)
    (call,), _ = send([result(calls[0], "fine"), result(calls[1], "[[calls=1]]")])
    assert send([result(call, "sunny")]) == ([], "The tool answered: sunny")


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"mode": "ANY"}, ["get_weather"]),
        ({"mode": "ANY", "allowedFunctionNames": ["get_time"]}, ["get_time"]),
        ({"mode": "NONE"}, None),
        ({"mode": "AUTO"}, None),
    ],
)
def test_the_calling_mode_decides_who_is_called(client, config, names):
    wished = {"tools": TOOLS, "tool_config": {"function_calling_config": config}, "automatic_function_calling": {"disable": True}}
    answer = client.models.generate_content(model="sim", contents="Hello.", config=wished)
    assert (answer.function_calls and [c.name for c in answer.function_calls]) == names


def test_a_schema_in_either_language_is_obeyed(client):
    wished = {"response_mime_type": "application/json"}
    own = client.models.generate_content(model="sim", contents=ASK, config={**wished, "response_schema": CITY})
    assert orjson.loads(own.text)["city"] in ("Paris", "Rome")
    schema = {"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"], "additionalProperties": False}
    plain = client.models.generate_content(model="sim", contents=ASK, config={**wished, "response_json_schema": schema})
    assert orjson.loads(plain.text) == {"n": 7}
    assert set(orjson.loads(client.models.generate_content(model="sim", contents=ASK, config=wished).text)) == {"answer"}


def test_limits_stops_candidates_and_log_probabilities(client):
    def ask(**config):
        return client.models.generate_content(model="sim", contents="[[say=one two three four]]", config=config)

    cut = ask(max_output_tokens=2)
    assert (cut.candidates[0].finish_reason, cut.text) == (types.FinishReason.MAX_TOKENS, "one two")
    stopped = ask(stop_sequences=[" three"])
    assert (stopped.candidates[0].finish_reason, stopped.text) == (types.FinishReason.STOP, "one two")
    assert [c.index for c in ask(candidate_count=3).candidates] == [0, 1, 2]
    result = ask(response_logprobs=True, logprobs=2).candidates[0].logprobs_result
    assert [c.token for c in result.chosen_candidates] == ["one", " two", " three", " four"]
    assert all(len(t.candidates) == 2 for t in result.top_candidates)
    cut_thinking = client.models.generate_content(model="sim", contents="[[reasoning=30]]", config={"max_output_tokens": 8})
    assert (cut_thinking.usage_metadata.thoughts_token_count, cut_thinking.text) == (8, "")


def test_pictures_and_documents_count(client):
    def count(*parts):
        return client.models.count_tokens(model="sim", contents=[ASK, *parts]).total_tokens

    picture = types.Part.from_bytes(data=b"\xfb\xff\xfe", mime_type="image/png")
    assert count(picture) == count() + 765
    assert count(types.Part.from_uri(file_uri="https://example.com/a.pdf", mime_type="application/pdf")) == count() + 1500


def test_tokens_are_counted_as_they_are_billed(client, http):
    billed = client.models.generate_content(model="sim", contents=ASK).usage_metadata.prompt_token_count
    assert client.models.count_tokens(model="sim", contents=ASK).total_tokens == billed
    inner = {"model": "models/sim", "contents": [{"parts": [{"text": ASK}]}], "systemInstruction": {"parts": [{"text": "Be brief."}]}}
    assert post(http, "countTokens", generateContentRequest=inner).json()["totalTokens"] == billed + 6


def test_embeddings_are_unit_vectors_one_for_each_text(client):
    found = client.models.embed_content(model="gemini-embedding-001", contents=["a", "b", "a"], config={"output_dimensionality": 64})
    first, second, third = (e.values for e in found.embeddings)
    assert (len(first), first == third, first == second) == (64, True, False)
    assert math.isclose(math.fsum(v * v for v in first), 1, abs_tol=1e-5)
    assert len(client.models.embed_content(model="gemini-embedding-001", contents="a").embeddings[0].values) == 3072


def test_one_embedding_has_its_own_method(http):
    made = post(http, "embedContent", "gemini-embedding-2", content={"parts": [{"text": "a b"}]}).json()
    assert (len(made["embedding"]["values"]), made["usageMetadata"]) == (3072, {"promptTokenCount": 2})
    assert "usageMetadata" not in post(http, "embedContent", "gemini-embedding-001", content={"parts": [{"text": "a b"}]}).json()


def test_models_are_listed_in_pages_and_found(client, http):
    assert [m.name for m in client.models.list(config={"page_size": 2})] == ["models/sim", "models/sim-reasoner", "models/sim-embed"]
    model = client.models.get(model="gemini-2.5-flash")
    assert (model.name, model.thinking, model.input_token_limit) == ("models/gemini-2.5-flash", True, 1_048_576)
    assert "models" in http.get("/v1/models", headers={"x-goog-api-key": "k"}).json()
    assert http.get("/v1/models").json()["object"] == "list"


def test_what_was_sent_before_is_cached_by_the_models_that_do_so(client):
    long = "word " * 1500
    said = [types.UserContent(long), types.ModelContent("Yes."), types.UserContent("More?")]
    cached = client.models.generate_content(model=OLDER, contents=said).usage_metadata
    assert 1500 < cached.cached_content_token_count < cached.prompt_token_count
    assert client.models.generate_content(model="gemini-1.5-flash", contents=said).usage_metadata.cached_content_token_count is None


# What the service refuses


def refused(response, status=400, name="INVALID_ARGUMENT"):
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["status"]) == (status, status, name)
    return error


def test_every_unknown_field_is_told_with_its_path(http):
    tool = {"functionDeclarations": [{"name": "f", "parameters": {**CITY, "additionalProperties": False, "$schema": "x"}}]}
    error = refused(post(http, tools=[tool], generationConfig={"max_tokens": 5}, messages=[]))
    (details,) = error["details"]
    assert details["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert [v.get("field") for v in details["fieldViolations"]] == [
        "tools[0].function_declarations[0].parameters",
        "tools[0].function_declarations[0].parameters",
        "generation_config",
        None,
    ]
    assert details["fieldViolations"][0]["description"] == (
        "Invalid JSON payload received. Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters': "
        "Cannot find field."
    )
    assert error["message"].splitlines()[3] == 'Invalid JSON payload received. Unknown name "messages": Cannot find field.'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]}, "Please use a valid role: user, model."),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({"contents": [{"parts": [{"thought": True}]}]}, "must have one initialized field"),
        ({"contents": [{"parts": [{"text": "a", "inlineData": {"mimeType": "image/png", "data": "AA=="}}]}]}, "is already set"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "?"}}]}]}, "Base64 decoding failed"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/gif", "data": "AA=="}}]}]}, "Unsupported MIME type: image/gif"),
        ({"generationConfig": {"maxOutputTokens": "many"}}, "(TYPE_INT32), \"many\""),
        ({"generationConfig": {"stopSequences": "one"}}, "Invalid value at 'generation_config.stop_sequences'"),
        ({"generationConfig": {"temperature": 3}}, "generation_config.temperature: must be in the range"),
        ({"generationConfig": {"responseSchema": CITY}}, "only allowed when response_mime_type"),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 9, "thinkingLevel": "LOW"}}}, "thinking budget and thinking level"),
        ({"tools": [{"functionDeclarations": [{"name": "1"}]}]}, "Invalid function name"),
        ({"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": ["string"]}}]}]}, "Proto field is not repeating"),
        ({"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}]}, "should be non-empty for OBJECT type"),
        ({"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "ARRAY"}}]}]}, "parameters.items: missing field."),
        ({"tools": TOOLS, "toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["get_time"]}}}, "mode is ANY"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_in_the_services_words(http, body, told):
    assert told in refused(post(http, **body))["message"]


def called(*names, signature=None):
    parts = [{"functionCall": {"name": name, "args": {"a": 1, "b": 2}}} for name in names]
    if signature is not None:
        parts[0]["thoughtSignature"] = signature
    return {"role": "model", "parts": parts}


def answered(*names):
    return {"role": "user", "parts": [{"functionResponse": {"name": name, "response": {"output": "x"}}} for name in names]}


USER = {"role": "user", "parts": [{"text": ASK}]}
GOOD = sign(call_content("f", {"b": 2, "a": 1}))


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        ([USER, called("f", "g"), answered("f")], "number of function response parts is equal to"),
        ([USER, called("f"), USER], "number of function response parts is equal to"),
        ([USER, answered("f")], "function response turn comes immediately after a function call turn"),
        ([USER, called("f")], "function response turn comes immediately after a function call turn"),
        ([called("f"), answered("f")], "function call turn comes immediately after a user turn"),
        ([USER, {**called("f"), "role": "user"}, answered("f")], "turn comes immediately after"),
        ([USER, called("f"), answered("g")], "does not match any function call"),
    ],
)
def test_calls_and_their_responses_stand_together(http, contents, told):
    assert told in refused(post(http, contents=contents))["message"]


def test_the_newest_models_refuse_a_lost_signature_in_the_current_turn_only(http):
    lost = [USER, called("f", "g"), answered("f", "g")]
    message = refused(post(http, model=NEWEST, contents=lost))["message"]
    assert message.startswith("Function call is missing a thought_signature in functionCall parts.")
    assert "function call `default_api:f` , position 2" in message
    assert post(http, model=NEWEST, contents=[*lost, USER]).status_code == 200
    assert post(http, model=OLDER, contents=lost).status_code == 200
    kept = [USER, called("f", "g", signature=GOOD), answered("f", "g")]
    assert post(http, model=NEWEST, contents=kept).status_code == 200
    assert "position 4" in refused(post(http, model=NEWEST, contents=[*kept, called("f"), answered("f")]))["message"]


def test_a_signature_that_is_not_the_calls_own_is_refused_by_every_model(http):
    def message(signature, model=OLDER):
        return refused(post(http, model=model, contents=[USER, called("f", signature=signature), answered("f")]))["message"]

    raw = base64.b64decode(GOOD)
    assert message(base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()) == "Corrupted thought signature."
    assert message(sign(call_content("g", {"a": 1, "b": 2}))) == "Thought signature is not valid for this function call."
    assert message("c29tZWJvZHkgZWxzZQ==", NEWEST) == "Corrupted thought signature."
    for fine in (GOOD, GOOD.replace("+", "-").replace("/", "_").rstrip("="), "skip_thought_signature_validator"):
        assert post(http, model=NEWEST, contents=[USER, called("f", signature=fine), answered("f")]).status_code == 200


def test_keys_are_taken_from_the_header_the_query_or_a_token(url):
    from appliance.simulator.settings import Settings
    from tests.simulator.conftest import served

    with served(Settings(require_key="right")) as at, httpx.Client(base_url=at, verify=False) as http:
        path, body = "/v1beta/models/sim:generateContent", {"contents": [USER]}
        assert http.post(path, json=body, headers={"x-goog-api-key": "right"}).status_code == 200
        assert http.post(path + "?key=right", json=body).status_code == 200
        vertex = "/v1/projects/p/locations/l/publishers/google/models/sim:generateContent"
        assert http.post(vertex, json=body, headers={"authorization": "Bearer right"}).status_code == 200
        assert "Method doesn't allow unregistered callers" in refused(http.post(path, json=body), 403, "PERMISSION_DENIED")["message"]
        error = refused(http.post(path, json=body, headers={"x-goog-api-key": "wrong"}))
        assert error["details"][0]["reason"] == "API_KEY_INVALID"


def test_vertex_counts_what_stands_at_the_top_and_declares_no_ids_of_calls(http):
    path = "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash"
    said = {"contents": [USER], "systemInstruction": {"parts": [{"text": "Be brief."}]}, "tools": TOOLS}
    other = post(http, "countTokens", "gemini-2.5-flash", generateContentRequest={"model": "models/m", **said}).json()
    assert http.post(f"{path}:countTokens", json=said).json() == other
    assert "generateContentRequest" in refused(http.post(f"{path}:countTokens", json={"generateContentRequest": said}))["message"]
    call = {"role": "model", "parts": [{"functionCall": {"id": "1", "name": "f", "args": {}}}]}
    error = refused(http.post(f"{path}:generateContent", json={"contents": [USER, call, answered("f")]}))
    assert "Unknown name \"id\" at 'contents[1].parts[0].function_call'" in error["message"]


# Faults


def test_the_sdk_reads_the_envelope_of_every_status(client):
    names = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 500: "INTERNAL", 503: "UNAVAILABLE"}
    for status, name in names.items():
        with pytest.raises(genai.errors.APIError) as raised:
            client.models.generate_content(model=f"sim+{status}", contents=ASK)
        assert (raised.value.code, raised.value.status) == (status, name)


def test_how_long_to_wait_is_told_in_the_body_alone(http):
    response = post(http, model="sim+429=3s")
    error = refused(response, 429, "RESOURCE_EXHAUSTED")
    assert error["details"][-1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"}
    assert error["details"][0]["violations"][0]["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel"
    assert "retry-after" not in response.headers
    assert post(http, model="sim+429=3s;retry_as=seconds").headers["retry-after"] == "3"
    day = refused(post(http, model="sim+quota"), 429, "RESOURCE_EXHAUSTED")
    assert day["details"][0]["violations"][0]["quotaId"] == "GenerateRequestsPerDayPerProjectPerModel"


def test_a_blocked_prompt_is_an_answer_without_candidates(client, http):
    blocked = client.models.generate_content(model="sim+content_filter", contents=ASK)
    assert (blocked.prompt_feedback.block_reason, blocked.candidates) == (types.BlockedReason.PROHIBITED_CONTENT, None)
    (event,) = events(streamed(http, fault="content_filter"))
    assert (event["promptFeedback"]["blockReason"], "candidates" in event) == ("PROHIBITED_CONTENT", False)
    (element,) = post(http, "streamGenerateContent", "sim+content_filter").json()
    assert element == event


def test_an_error_in_a_stream_is_an_event_of_its_own_or_an_element(client, http):
    *before, last = events(streamed(http, fault="error_event=3;status=503"))
    assert (len(before), last["error"]["status"]) == (3, "UNAVAILABLE")
    elements = post(http, "streamGenerateContent", "sim+error_event=3;status=503").json()
    assert (len(elements), elements[-1]["error"]["code"]) == (4, 503)
    assert post(http, "streamGenerateContent", "sim+503").json()[0]["error"]["code"] == 503
    with pytest.raises(genai.errors.APIError):
        list(client.models.generate_content_stream(model="sim+error_event=3;status=503", contents=ASK))


def test_faults_change_events_as_they_change_openais(http):
    whole = events(streamed(http))
    assert [e["candidates"][0].get("finishReason") for e in events(streamed(http, fault="no_done"))] == [None] * (len(whole) - 1)
    assert events(streamed(http, fault="truncate=2")) == whole[:2]
    assert post(http, "streamGenerateContent", "sim+no_done").text.rstrip().endswith("}")
    assert all("usageMetadata" not in e for e in events(streamed(http, fault="no_usage")))
    assert events(streamed(http, fault="finish=content_filter"))[-1]["candidates"][0]["finishReason"] == "SAFETY"
    assert events(streamed(http, fault="finish=RECITATION"))[-1]["candidates"][0]["finishReason"] == "RECITATION"
    huge = events(streamed(http, fault="huge_line=100k"))
    assert (len(huge), len(huge[1]["candidates"][0]["content"]["parts"][0]["text"])) == (len(whole) + 1, 102_400)
    assert 'data: {"candidates": [{"content": {"parts": [{"text": "oh\r\n' in streamed(http, fault="garbage_json=1").text
    assert events(streamed(http, fault="gzip+trickle=0ms")) == whole
    assert post(http, model="sim+no_usage").json().keys() == {"candidates", "modelVersion", "responseId"}
