"""Faults that answer with an error: statuses, their headers and bodies, errors inside a 200, inside a stream. Pure.

Every function here takes the answer that would have been given and returns the one that is.
"""

from collections import deque
from collections.abc import Iterator
from email.utils import formatdate

import attrs
import orjson

from appliance.simulator.answer import Answer, Headers, Piece, whole, without_header
from appliance.simulator.fault_context import FaultContext
from appliance.simulator.fault_endings import after_events
from appliance.simulator.fault_grammar import Clause
from appliance.simulator.framing import JSON_TYPE
from appliance.simulator.language import Language, Named, refusal

HTML = b"<html>\r\n<head><title>%b</title></head>\r\n<body>\r\n<center><h1>%b</h1></center>\r\n</body>\r\n</html>\r\n"
NAMED: dict[str, Named] = {"context_length": "context_length", "content_filter": "content_filter", "quota": "quota"}
ELSEWHERE = b"/sim/elsewhere"  # where a 3xx points: nothing is there


def status(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """`503`, `429=3s;retry_as=date`, `502;body=html`; also the named 400s and 429."""
    language = context.language
    code = clause.options.get("status")
    error = language.named_error(NAMED[clause.kind]) if clause.kind in NAMED else language.error_for(int(code or 500))
    wanted = clause.options.get("code")
    if isinstance(wanted, str):
        error = attrs.evolve(error, code=wanted) if language.code_field == "code" else attrs.evolve(error, type=wanted)
    wait_s = clause.value if isinstance(clause.value, float) else None
    error = attrs.evolve(error, message=error.message.replace("{retry}", f"{wait_s or 1:g}s"))
    headers = () if error.retry_in_body and "retry_as" not in clause.options else retry_headers(wait_s, clause, context.wall_s)
    if 300 <= error.status < 400:
        headers += ((b"location", ELSEWHERE),)
    made = refusal(attrs.evolve(error, headers=headers, retry_s=wait_s), language, answer.headers)
    if error.status == 200 and answer.stream:
        return attrs.evolve(answer, pieces=whole_stream(answer, language.envelope(error, "")))
    match clause.options.get("body", "json"):
        case "html":
            title = f"{error.status} {error.message}".encode()
            made = rebodied(made, b"text/html", HTML % (title, title))
        case "empty":
            made = rebodied(made, JSON_TYPE, b"")
    return made


def whole_stream(answer: Answer, event: object) -> tuple[Piece, ...]:
    """A stream of this event and the answer's own end mark, where that is no event with words."""
    pieces = [Piece(0.0, answer.framing.write(orjson.dumps(event), True))]
    last = deque(answer.pieces, maxlen=1)
    return (*pieces, *(piece for piece in last if piece.end and not answer.framing.json(piece.data)))


def rebodied(answer: Answer, content_type: bytes, body: bytes) -> Answer:
    rest = without_header(without_header(answer.headers, b"content-type"), b"content-length")
    made = whole(body, answer.status, rest)
    return attrs.evolve(made, headers=((b"content-type", content_type), *without_header(made.headers, b"content-type")))


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


def error_200(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """An error object where the answer should be, with status 200."""
    error = context.language.error_for(int(clause.options.get("status") or 500))
    made = refusal(error, context.language, answer.headers)
    kept = without_header(without_header(answer.headers, b"content-type"), b"content-length")
    return attrs.evolve(made, status=200, headers=made.headers[:2] + kept)


def error_event(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """After N events an error event, then the stream ends as HTTP says, without its end mark. A whole answer becomes an error inside a
    200."""
    if not answer.stream:
        return error_200(answer, clause, context)
    language = context.language
    error = language.error_for(int(clause.options.get("status") or 500))
    style = str(clause.options.get("style", "openai"))

    def pieces() -> Iterator[Piece]:
        due_s = 0.0
        shown: tuple[bytes, ...] = ()
        for piece in after_events(answer.pieces, int(clause.value or 0)):
            due_s, shown = piece.due_s, (shown[0] if shown else piece.data, piece.data)
            yield piece
        yield Piece(due_s, language.error_event(error, answer.framing, shown, style, request_id(answer, language)))

    return attrs.evolve(answer, pieces=pieces())


def request_id(answer: Answer, language: Language) -> str:
    return next((value.decode() for name, value in answer.headers if name == language.id_header), "")
