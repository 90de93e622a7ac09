"""What goes back to the client, as a plan: head, pieces with the time each is due, and how it ends. Pure.

The rule: a fault is a change of this plan, never something that happens beside it.
"""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import attrs
import orjson

from appliance.simulator.framing import DATA, JSON_TYPE, Framing

Headers = tuple[tuple[bytes, bytes], ...]


class Ending(Enum):
    """How an answer ends once its pieces are out."""

    COMPLETE = "the message ends as HTTP says"
    CUT = "the connection is closed (FIN) with the message unfinished"
    RESET = "the connection is reset (RST)"
    HANG = "nothing more is sent until the client leaves, or hang_max_s"
    DROP = "the message is complete, then the kept-alive connection is closed without a word"


class Piece(NamedTuple):
    """Bytes of the body. `due_s` counts from the end of the request, `tokens` is what they bill. `end`: the event by which a client knows
    that the stream is whole (`[DONE]`, message_stop, response.completed …)."""

    due_s: float
    data: bytes
    tokens: int = 0
    end: bool = False


@attrs.frozen
class Answer:
    """One planned answer.

    Attributes:
        headers: all of them, Content-Type first; Content-Length too where the answer is whole.
        pieces: may be endless and is read once; for a stream each piece is one whole event.
        stream: server-sent events (or another stream format) rather than one document.
        framing: how the events of a stream are framed.
        head: whether a head is sent at all.
        head_s: send the head at this time even if no piece is due yet; None lets it leave with the first piece.
        delay_s: added to every due time.
        drop_s: how long after its end Ending.DROP closes the connection.
        prompt_tokens: billed when the head goes out.
    """

    status: int
    headers: Headers
    pieces: Iterable[Piece]
    stream: bool = False
    framing: Framing = DATA
    head: bool = True
    head_s: float | None = None
    delay_s: float = 0.0
    drop_s: float = 0.0
    ending: Ending = Ending.COMPLETE
    prompt_tokens: int = 0


def whole(
    value: object, status: int = 200, headers: Headers = (), *, due_s: float = 0.0, tokens: int = 0, prompt_tokens: int = 0
) -> Answer:
    """One JSON document, bytes as they are. The service prints its documents indented; so does this."""
    body = value if isinstance(value, bytes) else orjson.dumps(value, option=orjson.OPT_INDENT_2)
    head = ((b"content-type", JSON_TYPE), (b"content-length", b"%d" % len(body)), *headers)
    return Answer(status, head, (Piece(due_s, body, tokens),), prompt_tokens=prompt_tokens)


def streamed(pieces: Iterable[Piece], framing: Framing, headers: Headers = (), *, prompt_tokens: int = 0) -> Answer:
    """A stream of events with status 200."""
    head = ((b"content-type", framing.content_type), *headers)
    return Answer(200, head, pieces, stream=True, framing=framing, prompt_tokens=prompt_tokens)


def without_header(headers: Headers, name: bytes) -> Headers:
    return tuple((n, v) for n, v in headers if n != name)
