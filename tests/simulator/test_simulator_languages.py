"""What holds for every language that the simulator speaks: the same counts, one end mark, every fault; and no request breaks it."""

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.simulator.answer import Answer, Ending
from appliance.simulator.api_error import ApiError
from appliance.simulator.fault_context import FaultContext
from appliance.simulator.fault_grammar import parse_faults
from appliance.simulator.fault_table import KINDS, SHAPES, apply_faults
from appliance.simulator.language import Call, refusal
from appliance.simulator.languages.table import find_endpoint
from appliance.simulator.model_name import parse_model
from appliance.simulator.request import Request
from appliance.simulator.response_store import ResponseStore
from appliance.simulator.settings import Settings, Speed

SETTINGS = Settings()
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
NAMED = {"name": "get_weather", "description": "Says the weather"}
ASK = "call get_weather in parallel [[say=Looking.]] [[reasoning=9]]"
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK}]
CONVERSE = {
    "system": [{"text": "Be brief."}],
    "messages": [{"role": "user", "content": [{"text": ASK}]}],
    "toolConfig": {"tools": [{"toolSpec": {**NAMED, "inputSchema": {"json": SCHEMA}}}]},
}


@attrs.frozen
class Asked:
    """One question in one language, whole and streamed."""

    path: str
    fields: Mapping[str, Any] = attrs.field(repr=False)
    stream_path: str = ""
    stream_fields: Mapping[str, Any] = attrs.field(factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    query: bytes = b""


STREAMED = {"stream": True}
LANGUAGES = {
    "openai": Asked(
        "/v1/chat/completions",
        {"model": "sim", "messages": CHAT, "tools": [{"type": "function", "function": {**NAMED, "parameters": SCHEMA}}]},
        stream_fields={**STREAMED, "stream_options": {"include_usage": True}},
    ),
    "responses": Asked(
        "/v1/responses",
        {"model": "sim", "input": ASK, "instructions": "Be brief.", "tools": [{"type": "function", **NAMED, "parameters": SCHEMA}]},
        stream_fields=STREAMED,
    ),
    "anthropic": Asked(
        "/v1/messages",
        {
            "model": "sim",
            "max_tokens": 999,
            "system": "Be brief.",
            "messages": [{"role": "user", "content": ASK}],
            "tools": [{**NAMED, "input_schema": SCHEMA}],
        },
        stream_fields=STREAMED,
        headers=((b"anthropic-version", b"2023-06-01"),),
    ),
    "gemini": Asked(
        "/v1beta/models/sim:generateContent",
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [{"role": "user", "parts": [{"text": ASK}]}],
            "tools": [{"functionDeclarations": [{**NAMED, "parametersJsonSchema": SCHEMA}]}],
        },
        "/v1beta/models/sim:streamGenerateContent",
        query=b"alt=sse",
    ),
    "gemini array": Asked(
        "/v1beta/models/sim:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "[[say=One two three.]]"}]}]},
        "/v1beta/models/sim:streamGenerateContent",
    ),
    "cohere": Asked(
        "/v2/chat",
        {"model": "sim", "messages": CHAT, "tools": [{"type": "function", "function": {**NAMED, "parameters": SCHEMA}}]},
        stream_fields=STREAMED,
    ),
    "bedrock": Asked("/model/sim/converse", CONVERSE, "/model/sim/converse-stream"),
}
LANGUAGES = {
    name: asked for name, asked in LANGUAGES.items() if find_endpoint(Request("POST", asked.path, asked.query, asked.headers)) is not None
}
SAME = [name for name in LANGUAGES if name != "gemini array"]


def plan(asked: Asked, fields: Any, *, stream: bool) -> tuple[Answer | ApiError, FaultContext]:
    """What the endpoint makes of these fields, before any fault."""
    path = asked.stream_path if stream and asked.stream_path else asked.path
    request = Request("POST", path, asked.query if stream else b"", asked.headers, raw_path=path.encode())
    found = find_endpoint(request)
    assert found is not None
    language = found.endpoint.language
    if stream and isinstance(fields, dict):
        fields = {**fields, **asked.stream_fields}
    parts = {name: text or "" for name, text in found.match.groupdict().items()}
    model = parse_model(found.endpoint.model(found.match, fields) or "")
    store = ResponseStore(SETTINGS)
    call = Call(request, fields, model, parts, Speed(), language.usual_headers(request), SETTINGS, ("sim",), store)
    return found.endpoint.answer(call), FaultContext(language, 0.0)


def good(name: str, stream: bool) -> tuple[Answer, FaultContext]:
    answer, context = plan(LANGUAGES[name], LANGUAGES[name].fields, stream=stream)
    assert isinstance(answer, Answer), answer
    return answer, context


def figures(name: str, stream: bool) -> tuple[int, int]:
    """Prompt and completion tokens that are billed."""
    answer, _ = good(name, stream)
    return answer.prompt_tokens, sum(piece.tokens for piece in answer.pieces)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", SAME)
def test_the_same_question_costs_the_same_in_every_language_whole_and_streamed(name, stream):
    assert figures(name, stream) == figures("openai", False)


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_stream_ends_with_its_end_mark_and_has_no_other(name):
    marks = [piece.end for piece in good(name, True)[0].pieces]
    last = 2 if name == "bedrock" else 1  # messageStop, and metadata, which a client of Bedrock waits for
    assert marks == [False] * (len(marks) - last) + [True] * last


WRITTEN = {
    "status": "503",
    "finish": "finish=odd_reason",
    "content_type": "content_type=a/b",
    "latency": "latency=1s",
    "huge_line": "huge_line=9k",
}
# What has nothing to act on: no end mark, lines or second piece in a document, no comments between binary frames.
IDLE = {("no_done", False), ("crlf", False), ("burst", False)}
IDLE_OF = {"gemini": {("crlf", True)}, "gemini array": {("crlf", True)}, "bedrock": {("crlf", True), ("comments", True)}}


def sent(answer: Answer) -> tuple[Any, ...]:
    """All that a client can see of an answer, as far as it is not endless."""
    pieces = [piece for piece, _ in zip(answer.pieces, range(400), strict=False)]
    return answer.status, answer.headers, answer.head, answer.ending, answer.delay_s, answer.head_s, pieces


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("name", LANGUAGES)
def test_every_fault_means_something_in_every_language(name, kind):
    clauses = parse_faults(WRITTEN.get(kind, kind), SHAPES)
    assert isinstance(clauses, tuple)
    for stream in (False, True):
        answer, context = good(name, stream)
        changed = apply_faults(answer, clauses, context)
        idle = (kind, stream) in IDLE | IDLE_OF.get(name, set())
        assert (sent(changed) == sent(good(name, stream)[0])) == idle, stream
        refused = refusal(context.language.error_for(500), context.language)
        assert sent(apply_faults(refused, clauses, context))


COUNTS = re.compile(rb'(?i)(input|prompt|output|completion|candidates|total)_?token(s|count)?" ?: ?[0-9]')


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", LANGUAGES)
def test_counts_and_end_mark_can_be_taken_away(name, stream):
    answer, context = good(name, stream)
    assert COUNTS.search(b"".join(piece.data for piece in answer.pieces))
    uncounted = apply_faults(good(name, stream)[0], parse_faults("no_usage", SHAPES), context)
    assert not COUNTS.search(b"".join(piece.data for piece in uncounted.pieces))
    unended = apply_faults(good(name, stream)[0], parse_faults("no_done", SHAPES), context)
    assert not any(piece.end for piece in unended.pieces)


@pytest.mark.parametrize("name", LANGUAGES)
def test_an_error_event_tells_the_languages_own_error(name):
    answer, context = good(name, True)
    error = context.language.error_for(503)
    for events in (0, 3):
        changed = apply_faults(good(name, True)[0], parse_faults(f"error_event={events};status=503", SHAPES), context)
        pieces = list(changed.pieces)
        assert [p.data for p in pieces[:-1]] == [p.data for p, _ in zip(good(name, True)[0].pieces, range(events), strict=False)]
        assert error.message.encode() in pieces[-1].data
    assert answer.stream


@pytest.mark.parametrize("name", LANGUAGES)
def test_whole_answers_keep_the_length_that_they_announce(name):
    for kind in KINDS:
        answer, context = good(name, False)
        changed = apply_faults(answer, parse_faults(WRITTEN.get(kind, kind), SHAPES), context)
        announced = dict(changed.headers).get(b"content-length")
        if announced is not None and changed.ending in (Ending.COMPLETE, Ending.DROP):
            assert sum(len(piece.data) for piece in changed.pieces) == int(announced), kind


JUNK_KEYS = st.sampled_from(["type", "role", "content", "text", "id", "name"])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3) | st.sampled_from(["user", "assistant", "tool", "text", "object"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(JUNK_KEYS, inner, max_size=3),
    max_leaves=5,
)


def spots(value: Any) -> list[Callable[[Any], None]]:
    """A way to put something else in each place of a JSON value."""
    found: list[Callable[[Any], None]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append(lambda junk, key=key: value.__setitem__(key, junk))
        found += spots(inner)
    return found


USED = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "x"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}], "is_error": False}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}, "cache_control": {"type": "x"}}
PAPER = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
FUNCTION = {"type": "function", "function": {**NAMED, "parameters": SCHEMA}}
CALLED = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
# As much as a request can hold.
FULL = {
    "openai": {
        "model": "sim",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "y", "detail": "low"}}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "a", **FUNCTION}]},
            {"role": "tool", "tool_call_id": "a", "content": "rain"},
        ],
        "tools": [FUNCTION, {"type": "custom", "custom": {"name": "c"}}],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        "stop": ["x"],
        "logprobs": True,
        "prompt_cache_key": "k",
    },
    "responses": {
        "model": "sim",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": "y", "detail": "low"}]},
            CALLED,
            {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "rain"}]},
            {"type": "custom_tool_call", "call_id": "call_2", "name": "c", "input": "z"},
            {"type": "custom_tool_call_output", "call_id": "call_2", "output": "rain"},
            {"role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
        ],
        "tools": [{"type": "function", **NAMED, "parameters": SCHEMA, "strict": True}, {"type": "custom", "name": "c"}, {"type": "mcp"}],
        "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "c"}]},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "metadata": {"a": "b"},
    },
    "anthropic": {
        "model": "sim",
        "max_tokens": 2000,
        "system": [{"type": "text", "text": "x"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}, PICTURE]},
            {"role": "assistant", "content": [{"type": "text", "text": "x"}, USED]},
            {"role": "user", "content": [RESULT, PAPER]},
        ],
        "tools": [{**NAMED, "input_schema": SCHEMA, "strict": True}, {"type": "bash_20250124", "name": "bash"}],
        "tool_choice": {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "thinking": {"type": "disabled"},
        "stop_sequences": ["x"],
        "metadata": {"user_id": "u"},
    },
}


@pytest.mark.parametrize("name", FULL)
def test_as_much_as_a_request_can_hold_is_answered(name):
    assert isinstance(plan(LANGUAGES[name], FULL[name], stream=False)[0], Answer)


@pytest.mark.parametrize("name", SAME)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_request_with_anything_anywhere_is_answered_or_refused(name, data):
    asked = LANGUAGES[name]
    fields = copy.deepcopy(dict(FULL.get(name, asked.fields)))
    for _ in range(data.draw(st.integers(1, 3))):
        places = spots(fields)
        places[data.draw(st.integers(0, len(places) - 1))](data.draw(JUNK))
    for stream in (False, True):
        made, context = plan(asked, fields, stream=stream)
        answer = refusal(made, context.language) if isinstance(made, ApiError) else made
        assert list(zip(answer.pieces, range(3000), strict=False))


REFUSALS = {
    "openai": (b'"finish_reason":"stop"', b'"refusal":"No'),
    "responses": (b'"status":"completed"', b'"refusal":"No'),
    "anthropic": (b'"stop_reason":"refusal"', b'"text":"No'),
    "gemini": (b'"finishReason":"SAFETY"', b'"text":"No'),
    "bedrock": (b'"stopReason":"content_filtered"', b'"text":"No'),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_told_as_the_language_tells_it_and_calls_nothing(name, stream):
    asked = LANGUAGES[name]
    fields = orjson.loads(orjson.dumps(asked.fields).replace(ASK.encode(), b"call get_weather [[refuse=No, never.]]"))
    answer, _ = plan(asked, fields, stream=stream)
    assert isinstance(answer, Answer)
    body = b"".join(piece.data for piece in answer.pieces)
    body = body if stream else orjson.dumps(orjson.loads(body))
    assert all(told in body for told in REFUSALS[name])
    assert not re.search(rb"(call|toolu|tooluse)_\w{20}|functionCall", body)
