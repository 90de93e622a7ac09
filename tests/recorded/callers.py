"""Callers of the gateway in every language it accepts: what they ask, and what they make of the answer.

The fields of `Caller` are the whole of what may differ from a recording, by the caller's language, and why.
"""

import json
from collections.abc import Callable, Mapping
from urllib.parse import quote

import attrs
from recorded import wire_anthropic, wire_chat, wire_completion, wire_gemini, wire_responses
from recorded.said import Call, Counts, Json, Said

ENDINGS = {
    "stop": "stop", "length": "length", "tool_calls": "tool_use",  # chat
    "completed": "stop",  # Responses
    "end_turn": "stop", "tool_use": "tool_use", "refusal": "refusal",  # Anthropic and Bedrock
    "STOP": "stop", "MAX_TOKENS": "length",  # Gemini and, the second one, Cohere
    "COMPLETE": "stop", "TOOL_CALL": "tool_use",
}  # fmt: skip
"""A recording's word for why the answer ended → ours, for every word that is in a recording. A call that the caller is to run always ends
as tool use: Responses, Gemini and some vendors of chat completions have no word for it."""


@attrs.frozen
class Caller:
    """One language.

    Attributes:
        family: whose recordings pass verbatim.
        path, body: of a request for a model.
        events: cuts a streamed answer into its events' JSON. whole, streamed: what they say.
        endings: our word for why an answer ended → this language's.
        errors: the language's word for an HTTP status. error: that word and the message, in an error's body or a stream's last event.
        joint: between thoughts that were apart, where the language has one place for all of them.
        cache_writes: tokens written to a cache are told apart.
        no_usage: what stands where a backend told none, in a stream: zeros in Responses, whose clients break without counts; Messages
            demand both totals, and start with an estimate of the input.
        free_text: tools with free text exist; elsewhere they are functions.
        told_refusal: a refusal's words have a place of their own; elsewhere they are text.
        only_text: there is no place for calls and thoughts.
    """

    name: str
    family: str
    path: Callable[[str, bool], str]
    body: Callable[[str, bool], Json]
    events: Callable[[str], list[Json]]
    whole: Callable[[Json], Said]
    streamed: Callable[[list[Json]], Said]
    endings: Mapping[str, str]
    errors: Mapping[int, str]
    error: Callable[[Json], tuple[str, str]]
    joint: str = ""
    cache_writes: bool = False
    no_usage: Counts | None = None
    free_text: bool = False
    told_refusal: bool = True
    only_text: bool = False

    def shown(self, truth: Said) -> Said:
        """The truth as far as this language shows it."""
        ending = ENDINGS[truth.ending]
        if truth.calls and ending == "stop":
            ending = "tool_use"
        if truth.refusal and ending == "refusal":
            ending = "refusal in words"
        told = self.told_refusal
        if self.only_text:
            truth = attrs.evolve(truth, thoughts=(), calls=())
        return Said(
            truth.text if told else truth.text + truth.refusal,
            (self.joint.join(truth.thoughts),) if truth.thoughts else (),
            tuple(one if self.free_text or not isinstance(one.arguments, str) else wrapped(one) for one in truth.calls),
            truth.refusal if told else "",
            self.endings[ending],
            self.no_usage if truth.usage is None else counted(truth.usage, self.cache_writes),
        )

    def claim(self, said: Said, truth: Said) -> Said:
        """What the caller was told, in the same form. An id is compared where the recording has one; made ones must only be told apart."""
        ids = [call.id for call in said.calls]
        assert all(ids), "a call without an id"
        assert len(set(ids)) == len(ids), "two calls of one id"
        given = [call.id for call in truth.calls] if len(truth.calls) == len(ids) else ids
        calls = tuple(attrs.evolve(call, id=call.id if known else "") for call, known in zip(said.calls, given, strict=True))
        thoughts = ("".join(said.thoughts),) if said.thoughts else ()
        usage = None if said.usage is None else counted(said.usage, self.cache_writes)
        return attrs.evolve(said, thoughts=thoughts, calls=calls, usage=usage)


def wrapped(call: Call) -> Call:
    """A free-text tool where the language knows only functions: its one parameter."""
    return attrs.evolve(call, arguments={"input": call.arguments})


def counted(counts: Counts, cache_writes: bool) -> Counts:
    """None told and zero are the same here: most languages leave zeros out, and some always write them."""
    written = (counts.cache_write or 0) if cache_writes else None
    return Counts(counts.input, counts.output, counts.cached or 0, written, counts.reasoning or 0)


def chat_body(model: str, stream: bool) -> Json:
    return {**openai_body(model, stream), "messages": [{"role": "user", "content": "Hi"}]}


def openai_body(model: str, stream: bool) -> Json:
    return {"model": model, "stream": stream, **({"stream_options": {"include_usage": True}} if stream else {})}


def gemini_path(model: str, stream: bool, form: str) -> str:
    return f"/v1beta/models/{quote(model, safe='')}:" + (f"streamGenerateContent{form}" if stream else "generateContent")


def sse(text: str) -> list[Json]:
    """Events whose data is one line; the name, where there is one, is the data's type."""
    found: list[Json] = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines or lines[-1] == "data: [DONE]":
            continue
        found.append(json.loads(lines[-1].removeprefix("data: ")))
        if lines[0].startswith("event: "):
            assert lines[0] == f"event: {found[-1]['type']}", block
    return found


def responses_streamed(events: list[Json]) -> Said:
    said = wire_responses.streamed(events)
    assert wire_responses.added(events, "output_text") == said.text
    assert wire_responses.added(events, "reasoning_summary_text") + wire_responses.added(events, "reasoning_text") == "".join(said.thoughts)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert wire_responses.whole(events[-1]["response"]) == said, "the last event holds another answer than the ones before"
    return said


def openai_error(body: Json) -> tuple[str, str]:
    """Responses say it as an `error` event, or as `response.failed` once items were begun."""
    if body.get("type") == "response.failed":
        return "server_error", body["response"]["error"]["message"]
    return body["error"]["type"], body["error"]["message"]


def anthropic_error(body: Json) -> tuple[str, str]:
    assert body["type"] == "error"
    return body["error"]["type"], body["error"]["message"]


OPENAI_ERRORS = {400: "invalid_request_error", 429: "rate_limit_error", 502: "server_error"}
ANTHROPIC_ERRORS = {400: "invalid_request_error", 429: "rate_limit_error", 502: "api_error"}
GEMINI_ERRORS = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 502: "UNAVAILABLE"}


def _gemini(name: str, form: str, events: Callable[[str], list[Json]]) -> Caller:
    return Caller(
        name, "gemini", lambda model, stream: gemini_path(model, stream, form),
        lambda _model, _stream: {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
        events, wire_gemini.whole, wire_gemini.streamed,
        {"stop": "STOP", "length": "MAX_TOKENS", "tool_use": "STOP", "refusal": "SAFETY", "refusal in words": "SAFETY"},
        GEMINI_ERRORS, lambda body: (body["error"]["status"], body["error"]["message"]), told_refusal=False,
    )  # fmt: skip


CALLERS = (
    Caller(
        "chat", "chat", lambda _model, _stream: "/v1/chat/completions", chat_body, sse, wire_chat.whole, wire_chat.streamed,
        {"stop": "stop", "length": "length", "tool_use": "tool_calls", "refusal": "content_filter", "refusal in words": "stop"},
        OPENAI_ERRORS, openai_error, joint="\n\n", cache_writes=True, free_text=True,
    ),
    Caller(
        "responses", "responses", lambda _model, _stream: "/v1/responses",
        lambda model, stream: {"model": model, "input": "Hi", "stream": stream}, sse, wire_responses.whole, responses_streamed,
        {"stop": "completed", "length": "incomplete: max_output_tokens", "tool_use": "completed",
         "refusal": "incomplete: content_filter", "refusal in words": "completed"},
        OPENAI_ERRORS, openai_error, cache_writes=True, free_text=True, no_usage=Counts(0, 0, 0, 0, 0),
    ),
    Caller(
        "messages", "anthropic", lambda _model, _stream: "/v1/messages",
        lambda model, stream: {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], "stream": stream},
        sse, wire_anthropic.whole, wire_anthropic.streamed,
        {"stop": "end_turn", "length": "max_tokens", "tool_use": "tool_use", "refusal": "refusal", "refusal in words": "refusal"},
        ANTHROPIC_ERRORS, anthropic_error, cache_writes=True, no_usage=Counts(1, 0, 0, 0, 0),
    ),
    _gemini("gemini", "?alt=sse", sse),
    _gemini("array", "", json.loads),
    Caller(
        "completions", "completion", lambda _model, _stream: "/v1/completions",
        lambda model, stream: {**openai_body(model, stream), "prompt": "Hi", "max_tokens": 100}, sse, wire_completion.whole,
        wire_completion.streamed,
        {"stop": "stop", "length": "length", "tool_use": "stop", "refusal": "content_filter", "refusal in words": "content_filter"},
        OPENAI_ERRORS, openai_error, cache_writes=True, told_refusal=False, only_text=True,
    ),
)  # fmt: skip
"""An array is a form of streams only; a whole answer has one form in Gemini's language."""

CONVERSING = tuple(one for one in CALLERS if not one.only_text)
"""Those who are told all of an answer."""
