"""A recording as the provider would have sent it: the framing that its language uses, told by the look of its first event. Pure.

| first event | framing |
|---|---|
| OpenAI chat or completion chunk | `data:` lines, then `[DONE]` |
| an object with `type` (Anthropic, Responses, Cohere) | `event: TYPE` and `data:` |
| Gemini (`candidates`) | `data:` with CR LF, no end mark |
| Bedrock (one key that names the event) | AWS event stream frames, binary |
"""

from collections.abc import Iterator

from appliance.simulator.answer import Answer, Headers, Piece, streamed, whole
from appliance.simulator.framing import AWS, CRLF, DATA, NAMED, Framing, document_json
from appliance.simulator.recordings import Recording
from appliance.simulator.settings import Speed

DONE = b"data: [DONE]\n\n"
# The events by which clients know that a stream is whole.
END_TYPES = ("message_stop", "message-end", "response.completed", "response.incomplete", "response.failed")


def recording_to_wire(recording: Recording, speed: Speed, headers: Headers) -> Answer:
    """Paced as if every event were one token; tokens are billed as none, since the recording says what they were."""
    if recording.whole is not None:
        return whole(recording.whole, recorded_status(recording.whole), headers, due_s=speed.first_token_s)
    if recording.events is not None:
        framing = framing_of(recording.events[0]) if recording.events else DATA
        return streamed(event_pieces(recording.events, framing, speed), framing, headers)
    return streamed(raw_pieces(recording.stream or b"", speed), DATA, headers)


def recorded_status(body: bytes) -> int:
    """The recordings have no status: an error object's own number where it has one (Gemini), else 400."""
    value = document_json(body)
    error = value.get("error")
    if not error or value.get("object") == "response":  # a failed Response is an answer
        return 200
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else 400


def framing_of(event: bytes) -> Framing:
    value = document_json(event)
    if "type" in value:
        return NAMED
    if "candidates" in value or "usageMetadata" in value:
        return CRLF
    if len(value) == 1 and isinstance(next(iter(value.values())), dict):
        return AWS
    return DATA


def event_pieces(events: tuple[bytes, ...], framing: Framing, speed: Speed) -> Iterator[Piece]:
    for number, event in enumerate(events):
        ends = framing is NAMED and document_json(event).get("type") in END_TYPES
        yield Piece(speed.due_s(number), framing.write(event, number == 0), end=ends)
    if framing is DATA:
        yield Piece(speed.due_s(len(events)), DONE, end=True)


def raw_pieces(stream: bytes, speed: Speed) -> Iterator[Piece]:
    for number, event in enumerate(part for part in stream.split(b"\n\n") if part.strip()):
        yield Piece(speed.due_s(number), event + b"\n\n", end=event.strip() == DONE.strip())
