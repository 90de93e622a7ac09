"""Cohere's language as its documentation and its recorded answers show it; a caller of it by hand, since its SDK is no dependency."""

import base64
import math
import struct
from pathlib import Path

import httpx
import orjson
import pytest

from appliance.simulator.settings import Settings

RECORDED = Path(__file__).parents[2].parent / "shared" / "recordings" / "wire" / "cohere"
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recordings beside the project")

ASK = "Tell me something."
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
UNASKED = ("id", "logprobs")


@pytest.fixture(scope="module")
def http(url):
    with httpx.Client(base_url=url, timeout=30, verify=False) as talk:
        yield talk


def chat(http, text=ASK, *, fault="", model="sim", messages=None, **fields):
    body = {"model": model, "messages": messages or [{"role": "user", "content": text}], **fields}
    return http.post("/v2/chat", json=body, headers={"x-sim-fault": fault} if fault else {})


def events(response):
    """Each event's JSON; its name in the stream is its type."""
    assert response.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in response.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append(orjson.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def folded(found):
    """The document that a stream says, as a client puts it together."""
    message = {"role": "assistant"}
    contents, calls = [], []
    for event in found:
        delta = (event.get("delta") or {}).get("message") or {}
        match event["type"]:
            case "content-start":
                assert event["index"] == len(contents)
                contents.append(dict(delta["content"]))
            case "content-delta":
                ((field, text),) = delta["content"].items()
                contents[event["index"]][field] += text
            case "tool-plan-delta":
                message["tool_plan"] = message.get("tool_plan", "") + delta["tool_plan"]
            case "tool-call-start":
                assert event["index"] == len(calls)
                calls.append(delta["tool_calls"])
            case "tool-call-delta":
                calls[event["index"]]["function"]["arguments"] += delta["tool_calls"]["function"]["arguments"]
    message |= {name: value for name, value in (("tool_calls", calls), ("content", contents)) if value}
    return {"message": message, **found[-1]["delta"]}


def shape(value):
    """Which fields there are, at any depth; of lists the first item's."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


@pytest.mark.parametrize("text", [ASK, "[[reasoning=5]]", "[[say=I will.]] Call get_weather and get_time, both.", "[[say=]]"])
def test_whole_and_streamed_say_the_same(http, text):
    whole = chat(http, text, tools=[WEATHER, CLOCK]).json()
    found = events(chat(http, text, tools=[WEATHER, CLOCK], stream=True))
    assert (found[0]["type"], found[-1]["type"]) == ("message-start", "message-end")
    assert found[0]["id"] == whole["id"]
    told = folded(found)
    if text == "[[say=]]":
        told["message"]["content"] = [{"type": "text", "text": ""}]
    assert told == {name: value for name, value in whole.items() if name not in UNASKED}


def test_the_same_question_in_openais_language_gets_the_same_words_and_counts(http):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK}]
    other = http.post("/v1/chat/completions", json={"model": "sim", "messages": messages}).json()
    answer = chat(http, messages=messages).json()
    assert answer["message"]["content"] == [{"type": "text", "text": other["choices"][0]["message"]["content"]}]
    counts = {"input_tokens": other["usage"]["prompt_tokens"], "output_tokens": other["usage"]["completion_tokens"]}
    assert answer["usage"]["tokens"] == counts
    assert answer["usage"]["billed_units"] == {**counts, "input_tokens": counts["input_tokens"] - 9}


@recorded
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("cohere-text", {}),
        ("cohere-reasoning", {"thinking": {"type": "enabled"}}),
        ("cohere-tool-call", {"text": "[[say=I will.]] Call get_weather and get_time, both.", "tools": [WEATHER, CLOCK]}),
        ("cohere-max-tokens", {"max_tokens": 3}),
    ],
)
def test_a_whole_answer_has_the_shape_of_a_recorded_one(http, name, fields):
    theirs, ours = orjson.loads((RECORDED / f"{name}.json").read_bytes()), chat(http, **fields).json()
    assert shape(ours) == shape(theirs)
    assert ours["finish_reason"] == theirs["finish_reason"]


@recorded
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("cohere-text", {}),
        ("cohere-reasoning", {"thinking": {"type": "enabled"}}),
        ("cohere-tool-call", {"text": "[[say=I will.]] Call get_weather and get_weather, both.", "tools": [WEATHER]}),
    ],
)
def test_a_stream_has_the_events_of_a_recorded_one_in_their_order(http, name, fields):
    def steps(found):
        told = [(event["type"], shape(event)) for event in found]
        return [step for i, step in enumerate(told) if i == 0 or step != told[i - 1]]

    theirs = [orjson.loads(line) for line in (RECORDED / f"{name}.chunks.txt").read_bytes().splitlines() if line.strip()]
    assert steps(events(chat(http, stream=True, **fields))) == steps(theirs)


def test_a_tool_loop_of_three_turns(http):
    messages = [{"role": "user", "content": "Use both get_weather and get_time."}]
    answer = chat(http, messages=messages, tools=[WEATHER, CLOCK]).json()
    calls = answer["message"]["tool_calls"]
    assert (answer["finish_reason"], [c["function"]["name"] for c in calls]) == ("TOOL_CALL", ["get_weather", "get_time"])
    assert all(c["id"].startswith(c["function"]["name"] + "_") for c in calls)
    messages += [answer["message"], *({"role": "tool", "tool_call_id": c["id"], "content": "[[calls=1]]"} for c in calls)]
    (call,) = chat(http, messages=messages, tools=[WEATHER, CLOCK]).json()["message"]["tool_calls"]
    document = {"type": "document", "document": {"data": {"weather": "sunny"}}}
    messages += [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": call["id"], "content": [document]}]
    answer = chat(http, messages=messages, tools=[WEATHER, CLOCK]).json()
    assert (answer["finish_reason"], answer["message"]["content"][0]["text"]) == ("COMPLETE", 'The tool answered: {"weather":"sunny"}')


@pytest.mark.parametrize(
    ("fields", "reason", "said"),
    [
        ({"max_tokens": 2}, "MAX_TOKENS", "one two"),
        ({"stop_sequences": [" three"]}, "STOP_SEQUENCE", "one two"),
        ({"tools": [WEATHER], "tool_choice": "NONE"}, "COMPLETE", "one two three get_weather"),
        ({"thinking": {"type": "disabled"}, "model": "sim-reasoner"}, "COMPLETE", "one two three get_weather"),
    ],
)
def test_bounds_stops_and_choices(http, fields, reason, said):
    answer = chat(http, "[[say=one two three get_weather]]", **fields).json()
    assert (answer["finish_reason"], answer["message"]["content"]) == (reason, [{"type": "text", "text": said}])


def test_required_calls_a_tool_and_json_obeys_the_schema(http):
    assert chat(http, tools=[CLOCK], tool_choice="REQUIRED").json()["message"]["tool_calls"][0]["function"]["name"] == "get_time"
    schema = {"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"]}
    text = chat(http, response_format={"type": "json_object", "json_schema": schema}).json()["message"]["content"][0]["text"]
    assert orjson.loads(text) == {"n": 7}


def test_log_probabilities_stand_beside_the_text(http):
    (whole,) = chat(http, "[[say=a b]]", logprobs=True).json()["logprobs"]
    assert (whole["text"], len(whole["token_ids"]), len(whole["logprobs"])) == ("a b", 2, 2)
    found = events(chat(http, "[[say=a b]]", logprobs=True, stream=True))
    assert [e["logprobs"]["text"] for e in found if e["type"] == "content-delta"] == ["a", " b"]


CALL = {"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
USER, ASSISTANT = {"role": "user", "content": ASK}, {"role": "assistant", "tool_calls": [CALL]}
TOOL = {"role": "tool", "tool_call_id": "c1"}


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"max_completion_tokens": 5}, 422, "unknown field: parameter 'max_completion_tokens' is not a valid field."),
        ({"temperature": "hot"}, 422, "parameter 'temperature' is of the wrong type"),
        ({"p": 1.0}, 400, "p must be between 0.01 and 0.99"),
        ({"frequency_penalty": 0.5, "presence_penalty": 0.5}, 400, "cannot specify both"),
        ({"stop_sequences": ["a"] * 6}, 400, "stop_sequences"),
        ({"tools": [CLOCK], "tool_choice": "get_time"}, 400, "tool_choice must be one of REQUIRED or NONE"),
        ({"tool_choice": "REQUIRED"}, 400, "tool_choice can only be specified if tools are"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "parameters must be a JSON schema"),
        ({"tools": [{**CLOCK, "strict": True}]}, 422, "unknown field: parameter 'strict'"),
        ({"tools": [CLOCK], "response_format": {"type": "json_object"}}, 400, "response_format is not supported with tools"),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, 400, "thinking.type"),
        ({"messages": [USER, {"role": "system", "content": "a"}, USER]}, 400, "system turn must be the first in the list"),
        ({"messages": [USER, {"role": "assistant", "content": "a"}]}, 400, "message must be at least 1 token long"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "message must not be empty in a turn"),
        ({"messages": [{"role": "developer", "content": "a"}]}, 400, "messages[0].role must be one of"),
        ({"messages": [USER, ASSISTANT, USER]}, 400, "there is none for: c1"),
        ({"messages": [USER, {**TOOL, "content": "x"}]}, 400, "tool call id not found"),
        ({"messages": [USER, ASSISTANT, {**TOOL, "content": "x", "name": "f"}]}, 422, "unknown field: parameter 'messages[2].name'"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_in_the_services_words(http, fields, status, told):
    response = chat(http, **fields)
    assert (response.status_code, set(response.json())) == (status, {"id", "message"})
    assert told in response.json()["message"]


def test_embeddings_come_in_every_kind_that_is_asked_for(http):
    kinds = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    body = {"model": "embed-v4.0", "texts": ["a b", "c"], "input_type": "search_document", "output_dimension": 256}
    made = http.post("/v2/embed", json={**body, "embedding_types": kinds}).json()
    assert (made["texts"], made["meta"]["billed_units"], made["response_type"]) == (["a b", "c"], {"input_tokens": 3}, "embeddings_by_type")
    vectors = {kind: both[0] for kind, both in made["embeddings"].items()}
    assert {kind: len(vector) for kind, vector in vectors.items() if kind != "base64"} == {
        "float": 256, "int8": 256, "uint8": 256, "binary": 32, "ubinary": 32,
    }  # fmt: skip
    assert math.isclose(math.fsum(v * v for v in vectors["float"]), 1, abs_tol=1e-5)
    assert list(struct.unpack("<256f", base64.b64decode(vectors["base64"]))) == pytest.approx(vectors["float"])
    assert [u - 128 for u in vectors["ubinary"]] == vectors["binary"]
    assert all(-127 <= v <= 127 for v in vectors["int8"])
    assert (vectors["ubinary"][0] >= 128) == (vectors["float"][0] > 0)


@recorded
def test_embeddings_and_rankings_have_the_shape_of_recorded_ones(http):
    embedded = http.post("/v2/embed", json={"model": "embed-v4.0", "texts": ["a", "b"], "input_type": "search_query"}).json()
    assert shape(embedded) == shape(orjson.loads((RECORDED / "cohere-embedding.json").read_bytes()))
    ranked = http.post("/v2/rerank", json={"model": "rerank-v3.5", "query": "a", "documents": ["b", "a"]}).json()
    assert shape(ranked) == shape(orjson.loads((RECORDED / "reranking-cohere-reranking.1.json").read_bytes()))


def test_documents_are_ranked_by_the_words_they_share_with_the_query(http):
    body = {"model": "rerank-v3.5", "query": "capital of France", "documents": ["cats", "Paris is the capital of France", "France"]}
    made = http.post("/v2/rerank", json=body).json()
    assert [r["index"] for r in made["results"]] == [1, 2, 0]
    assert made["meta"]["billed_units"] == {"search_units": 1}
    assert [r["index"] for r in http.post("/v2/rerank", json={**body, "top_n": 1}).json()["results"]] == [1]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("embed", {"texts": ["a"]}, "valid input_type must be provided"),
        ("embed", {"texts": ["a"], "images": ["b"], "input_type": "search_query"}, "input_type must be image"),
        ("embed", {"input_type": "search_query"}, "exactly one of texts, images or inputs"),
        ("embed", {"texts": ["a"], "input_type": "search_query", "output_dimension": 100}, "output_dimension"),
        ("embed", {"texts": ["a"] * 97, "input_type": "search_query"}, "at most 96"),
        ("rerank", {"query": " ", "documents": ["a"]}, "query must not be empty or be only whitespace"),
        ("rerank", {"query": "a", "documents": []}, "list of documents must not be empty"),
        ("rerank", {"query": "a", "documents": ["a"], "return_documents": True}, "unknown field"),
    ],
)
def test_mistaken_embeddings_and_rankings_are_refused(http, path, body, told):
    response = http.post(f"/v2/{path}", json={"model": "m", **body})
    assert told in response.json()["message"]
    assert response.status_code in (400, 422)


def test_models_are_listed_for_cohere_callers(http):
    names = [m["name"] for m in http.get("/v1/models", headers={"x-client-name": "test"}).json()["models"]]
    assert names == ["sim", "sim-reasoner", "sim-embed"]
    assert [m["endpoints"] for m in http.get("/v1/models?page_size=20").json()["models"]][-1] == ["embed"]


async def test_keys_are_bearer_tokens(start):
    async with start(Settings(require_key="right")) as sim, sim.http() as http:
        body = {"model": "sim", "messages": [USER]}
        assert (await http.post("/v2/chat", json=body, headers={"authorization": "Bearer right"})).status_code == 200
        for headers, told in (({"authorization": "Bearer wrong"}, "invalid api token"), ({"x-api-key": "right"}, "no api key supplied")):
            response = await http.post("/v2/chat", json=body, headers=headers)
            assert (response.status_code, response.json()["message"]) == (401, told)


def test_faults_change_events_as_they_change_openais(http):
    whole = events(chat(http, stream=True))

    def faulty(fault):
        return events(chat(http, stream=True, fault=fault))

    assert faulty("no_done") == whole[:-1]
    assert faulty("truncate=3") == whole[:3]
    assert "usage" not in faulty("no_usage")[-1]["delta"]
    assert faulty("finish=length")[-1]["delta"]["finish_reason"] == "MAX_TOKENS"
    error = faulty("error_event=4;status=503")
    assert (error[:4], error[4]["delta"]["finish_reason"], len(error)) == (whole[:4], "ERROR", 5)
    assert faulty("error_event=4;style=event")[-1].keys() >= {"type", "message"}
    huge = faulty("huge_line=64k")
    assert (len(huge), len(huge[3]["delta"]["message"]["content"]["text"])) == (len(whole) + 1, 65_536)
    assert '"delta":{"message":{"content":{"text":"oh\n\n' in chat(http, stream=True, fault="garbage_json=1").text
    assert faulty("gzip+burst") == whole
    for status, told in ((429, "Please wait and try again later"), (500, "internal server error"), (498, "invalid api token")):
        response = chat(http, fault=str(status))
        assert response.status_code == status
        assert told in response.json()["message"]
    assert chat(http, fault="429=3s").headers["retry-after"] == "3"
    assert "too many tokens" in chat(http, fault="context_length").json()["message"]
    assert "1000 API calls / month" in chat(http, fault="quota").json()["message"]
    assert chat(http, fault="finish=content_filter").json()["finish_reason"] == "ERROR"
