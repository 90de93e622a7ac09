"""Faults in the bytes of an answer and in their timing: garbage, huge lines, gzip, trickles, comments, late heads. Pure."""

import zlib
from collections.abc import Iterable, Iterator

import attrs
import orjson

from appliance.simulator.answer import Answer, Piece, without_header
from appliance.simulator.event_shape import document_json, event_json, is_done, like_event
from appliance.simulator.fault_endings import with_length
from appliance.simulator.fault_grammar import Clause

COMMENT = b": PROCESSING\n\n"  # what OpenRouter sends while it waits, less its name
BLANK = b"\n         \n"  # and what it sends before a whole document
BROKEN_JSON = b'{"id":"chatcmpl-broken","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"oh'
GARBAGE = b"<!DOCTYPE html>\n<p>\xff\xfe\x00 this is not an event stream\n\n"
GZIP_WINDOW = 31  # zlib's number for a gzip wrapper around a 32 KiB window
BURST_MAX_BYTES = 16_777_216  # of an answer that does not end


def garbage(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """After N events a broken one, `garbage_json` (a data line with half an object) or `garbage_sse` (no event at all), then the rest. A
    whole answer is that garbage and nothing else."""
    del wall_s
    broken = BROKEN_JSON if clause.kind == "garbage_json" else GARBAGE
    if not answer.stream:
        return replaced(answer, broken)
    line = b"data: %b\n\n" % broken if clause.kind == "garbage_json" else broken
    return attrs.evolve(answer, pieces=inserted(answer.pieces, int(clause.value or 0), line))


def empty(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """The head, and a body of no bytes."""
    del clause, wall_s
    return attrs.evolve(answer, pieces=()) if answer.stream else replaced(answer, b"")


def huge_line(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """One more event after the first, with so many bytes of text on one line; a whole answer has that text as an extra field."""
    del wall_s
    size = int(clause.value or 0)
    if answer.stream:
        return attrs.evolve(answer, pieces=with_huge_event(answer.pieces, size))
    padding = b'{"padding":"%b",' % (b"x" * size)
    pieces = tuple(p._replace(data=padding + p.data.lstrip()[1:]) for p in answer.pieces)
    return with_length(attrs.evolve(answer, pieces=pieces))


def with_huge_event(pieces: Iterable[Piece], size: int) -> Iterator[Piece]:
    for number, piece in enumerate(pieces):
        yield piece
        if number == 0:
            yield Piece(piece.due_s, b"data: %b\n\n" % orjson.dumps(like_event(piece.data, {"content": "x" * size})))


def no_usage(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """No token counts anywhere."""
    del clause, wall_s

    def pieces() -> Iterator[Piece]:
        for piece in answer.pieces:
            if not answer.stream:
                yield piece._replace(data=without_usage(piece.data))
            elif not event_json(piece.data).get("usage"):
                yield piece

    made = attrs.evolve(answer, pieces=pieces())
    return made if answer.stream else with_length(made)


def without_usage(document: bytes) -> bytes:
    value = document_json(document)
    if value.pop("usage", None) is None:
        return document
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def finish(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """Another finish reason than the real one."""
    del wall_s

    def changed(data: bytes) -> bytes:
        value = event_json(data) if answer.stream else document_json(data)
        choices = value.get("choices") or []
        if not any(choice.get("finish_reason") for choice in choices):
            return data
        for choice in choices:
            choice["finish_reason"] = clause.value
        return b"data: %b\n\n" % orjson.dumps(value) if answer.stream else orjson.dumps(value, option=orjson.OPT_INDENT_2)

    made = attrs.evolve(answer, pieces=(p._replace(data=changed(p.data)) for p in answer.pieces))
    return made if answer.stream else with_length(made)


def comments(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """N keep-alive comments before the first event, `every` so often; blank lines before a whole document."""
    del wall_s
    number, every_s = int(clause.value or 0), float(clause.options.get("every") or 0.0)

    def pieces() -> Iterator[Piece]:
        yield from (Piece(i * every_s, COMMENT if answer.stream else BLANK) for i in range(number))
        yield from (p._replace(due_s=p.due_s + number * every_s) for p in answer.pieces)

    made = attrs.evolve(answer, pieces=pieces())
    return made if answer.stream else with_length(made)


def burst(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """All events in one write."""
    del clause, wall_s

    def pieces() -> Iterator[Piece]:
        gathered: list[Piece] = []
        size = 0
        for piece in answer.pieces:
            gathered.append(piece)
            size += len(piece.data)
            if size > BURST_MAX_BYTES:
                break
        if gathered:
            yield Piece(gathered[0].due_s, b"".join(p.data for p in gathered), sum(p.tokens for p in gathered))

    return attrs.evolve(answer, pieces=pieces())


def crlf(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """Lines end in CR LF, which the event stream format allows as well."""
    del clause, wall_s
    if not answer.stream:
        return answer
    return attrs.evolve(answer, pieces=(p._replace(data=p.data.replace(b"\n", b"\r\n")) for p in answer.pieces))


def gzip(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """Content-Encoding: gzip whatever the client accepts; in a stream each event can be decoded when it arrives."""
    del clause, wall_s

    def pieces() -> Iterator[Piece]:
        packer = zlib.compressobj(wbits=GZIP_WINDOW)
        due_s = 0.0
        for piece in answer.pieces:
            due_s = piece.due_s
            yield piece._replace(data=packer.compress(piece.data) + packer.flush(zlib.Z_SYNC_FLUSH))
        yield Piece(due_s, packer.flush())

    made = attrs.evolve(answer, pieces=pieces(), headers=(*answer.headers, (b"content-encoding", b"gzip")))
    return made if answer.stream else with_length(made)


def trickle(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """The body one byte at a time, so far apart."""
    del wall_s
    gap_s = float(clause.value or 0.0)

    def pieces() -> Iterator[Piece]:
        free_s = 0.0
        for piece in answer.pieces:
            for at in range(len(piece.data)):
                free_s = max(free_s + gap_s, piece.due_s)
                yield Piece(free_s, piece.data[at : at + 1], piece.tokens if at == 0 else 0)

    return attrs.evolve(answer, pieces=pieces())


def content_type(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    del wall_s
    return attrs.evolve(answer, headers=((b"content-type", str(clause.value).encode()), *without_header(answer.headers, b"content-type")))


def latency(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """Everything later, the head first of all."""
    del wall_s
    return attrs.evolve(answer, delay_s=answer.delay_s + float(clause.value or 0.0))


def early_head(answer: Answer, clause: Clause, wall_s: float) -> Answer:
    """The head at once, the body so much later."""
    del wall_s
    wait_s = float(clause.value or 0.0)
    return attrs.evolve(answer, head_s=0.0, pieces=(p._replace(due_s=p.due_s + wait_s) for p in answer.pieces))


def replaced(answer: Answer, data: bytes) -> Answer:
    first = next(iter(answer.pieces), None)  # only the first: there may be no last
    return with_length(attrs.evolve(answer, pieces=(Piece(first.due_s if first is not None else 0.0, data),)))


def inserted(pieces: Iterable[Piece], events: int, data: bytes) -> Iterator[Piece]:
    """`data` as one more piece after so many events, or before [DONE] where there are fewer."""
    placed = False
    for number, piece in enumerate(pieces):
        if not placed and (number >= events or is_done(piece)):
            placed = True
            yield Piece(piece.due_s, data)
        yield piece
