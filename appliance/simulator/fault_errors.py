"""Faults that answer with an error: statuses, their headers and bodies, errors inside a 200, inside a stream. Pure.

Every function here takes the answer that would have been given and returns the one that is.
"""

from collections.abc import Iterator
from email.utils import formatdate

import attrs
import orjson

from appliance.simulator.answer import Answer, Headers, Piece, whole, without_header
from appliance.simulator.api_error import CONTENT_FILTER, CONTEXT_LENGTH, QUOTA, ApiError, error_for
from appliance.simulator.event_shape import after_events, like_event
from appliance.simulator.fault_grammar import Clause

HTML = b"<html>\r\n<head><title>%b</title></head>\r\n<body>\r\n<center><h1>%b</h1></center>\r\n</body>\r\n</html>\r\n"
NAMED = {"context_length": CONTEXT_LENGTH, "content_filter": CONTENT_FILTER, "quota": QUOTA}
ELSEWHERE = b"/sim/elsewhere"  # where a 3xx points: nothing is there


def status(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """`503`, `429=3s;retry_as=date`, `502;body=html`; also the named 400s and 429."""
    code = clause.options.get("status")
    error = NAMED[clause.kind] if clause.kind in NAMED else error_for(int(code or 500))
    wanted = clause.options.get("code")
    if isinstance(wanted, str):
        error = attrs.evolve(error, code=wanted)
    wait_s = clause.value if isinstance(clause.value, float) else None
    error = attrs.evolve(error, message=error.message.replace("{retry}", f"{wait_s or 1:g}s"))
    headers = retry_headers(wait_s, clause, wall_s) + tuple(h for h in answer.headers if h[0] == b"x-request-id")
    if 300 <= error.status < 400:
        headers += ((b"location", ELSEWHERE),)
    body = clause.options.get("body", "json")
    if body == "html":
        title = f"{error.status} {error.message}".encode()
        made = whole(HTML % (title, title), error.status, headers)
        return attrs.evolve(made, headers=((b"content-type", b"text/html"), *without_header(made.headers, b"content-type")))
    return whole(b"" if body == "empty" else error.body(), error.status, headers)


def retry_headers(wait_s: float | None, clause: Clause, wall_s: float) -> Headers:
    """`Retry-After` in seconds (a fraction where the wait is one) or as a date, or `retry-after-ms`, which the OpenAI SDK prefers."""
    headers: Headers = ()
    if wait_s is not None:
        match clause.options.get("retry_as", "seconds"):
            case "ms":
                headers = ((b"retry-after-ms", b"%d" % round(wait_s * 1000)),)
            case "date":
                headers = ((b"retry-after", formatdate(wall_s + wait_s, usegmt=True).encode()),)
            case _:
                headers = ((b"retry-after", f"{wait_s:g}".encode()),)
    should = clause.options.get("should_retry")
    return (*headers, (b"x-should-retry", str(should).encode())) if should else headers


def error_200(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """An error object where the answer should be, with status 200."""
    del wall_s
    error = error_for(int(clause.options.get("status") or 500))
    made = whole(error.body(), 200, ())
    kept = without_header(without_header(answer.headers, b"content-type"), b"content-length")
    return attrs.evolve(made, headers=made.headers + kept)


def error_event(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """After N events an error event, then the stream ends as HTTP says, without [DONE]. A whole answer becomes an error inside a 200."""
    if not answer.stream:
        return error_200(answer, clause, wall_s)
    error = error_for(int(clause.options.get("status") or 500))
    style = str(clause.options.get("style", "openai"))

    def pieces() -> Iterator[Piece]:
        due_s, event = 0.0, b""
        for piece in after_events(answer.pieces, int(clause.value or 0)):
            due_s, event = piece.due_s, piece.data
            yield piece
        yield Piece(due_s, error_bytes(error, style, event))

    return attrs.evolve(answer, pieces=pieces())


def error_bytes(error: ApiError, style: str, event: bytes) -> bytes:
    """`openai`: a bare error object; `event`: the same under `event: error`; `openrouter`: in a chunk whose finish reason is "error"."""
    if style == "openrouter":
        chunk = like_event(event, {"content": ""}, finish="error")
        chunk["error"] = {"code": error.status, "message": error.message}
        return b"data: %b\n\n" % orjson.dumps(chunk)
    line = b"data: %b\n\n" % orjson.dumps(error.envelope())
    return b"event: error\n" + line if style == "event" else line
