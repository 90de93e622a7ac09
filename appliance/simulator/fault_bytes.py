"""Faults in the bytes of an answer and in their timing: garbage, huge lines, gzip, trickles, comments, late heads. Pure."""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator

import attrs
import orjson

from appliance.simulator.answer import Answer, Piece, without_header
from appliance.simulator.fault_context import FaultContext
from appliance.simulator.fault_endings import with_length
from appliance.simulator.fault_grammar import Clause
from appliance.simulator.framing import document_json
from appliance.simulator.language import Fields, Language

BLANK = b"\n         \n"  # what OpenRouter sends before a whole document while it waits
GARBAGE = b"<!DOCTYPE html>\n<p>\xff\xfe\x00 this is not an event stream\n\n"
BARE_LF = re.compile(rb"(?<!\r)\n")
GZIP_WINDOW = 31  # zlib's number for a gzip wrapper around a 32 KiB window
BURST_MAX_BYTES = 16_777_216  # of an answer that does not end


def garbage(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """After N events a broken one, `garbage_json` (a data line with half an object) or `garbage_sse` (no event at all), then the rest. A
    whole answer is that garbage and nothing else."""
    events = int(clause.value or 0)
    broken = context.language.broken if clause.kind == "garbage_json" else GARBAGE
    if not answer.stream:
        return replaced(answer, broken)
    data = answer.framing.write(broken, events == 0) if clause.kind == "garbage_json" else broken
    return attrs.evolve(answer, pieces=inserted(answer.pieces, events, data))


def empty(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """The head, and a body of no bytes."""
    del clause, context
    return attrs.evolve(answer, pieces=()) if answer.stream else replaced(answer, b"")


def huge_line(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """One more event after the first that may have one like it, with so many bytes of text on one line; a whole answer has that text as an
    extra field."""
    size = int(clause.value or 0)
    if answer.stream:
        return attrs.evolve(answer, pieces=with_huge_event(answer, size, context.language))
    padding = b'{"padding":"%b",' % (b"x" * size)
    pieces = tuple(p._replace(data=padding + p.data.lstrip()[1:]) for p in answer.pieces)
    return with_length(attrs.evolve(answer, pieces=pieces))


def with_huge_event(answer: Answer, size: int, language: Language) -> Iterator[Piece]:
    placed = False
    for piece in answer.pieces:
        yield piece
        more = None if placed or piece.end else language.stretched(answer.framing.json(piece.data), size)
        if more is not None:
            placed = True
            yield Piece(piece.due_s, answer.framing.event(more))


def no_usage(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """No token counts anywhere."""
    del clause
    return rewritten(answer, lambda value: context.language.without_usage(value, stream=answer.stream))


def finish(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """Another finish reason than the real one."""

    def changed(value: Fields) -> Fields:
        other = context.language.with_finish(value, str(clause.value), stream=answer.stream)
        return value if other is None else other

    return rewritten(answer, changed)


def rewritten(answer: Answer, change: Callable[[Fields], Fields | None]) -> Answer:
    """Every event, or the document, as `change` gives it back; bytes that say nothing else stay as they were, None drops an event."""

    def pieces() -> Iterator[Piece]:
        first = True
        for piece in answer.pieces:
            value = answer.framing.json(piece.data) if answer.stream else document_json(piece.data)
            other = change(value) if value else value
            if other is None:
                continue
            if other != value:
                data = answer.framing.event(other, first=first) if answer.stream else orjson.dumps(other, option=orjson.OPT_INDENT_2)
                piece = piece._replace(data=data)
            first = False
            yield piece

    made = attrs.evolve(answer, pieces=pieces())
    return made if answer.stream else with_length(made)


def comments(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """N keep-alive comments before the first event, `every` so often; blank lines before a whole document. Binary frames have none."""
    del context
    comment = answer.framing.comment if answer.stream else BLANK
    if not comment:
        return answer
    number, every_s = int(clause.value or 0), float(clause.options.get("every") or 0.0)

    def pieces() -> Iterator[Piece]:
        yield from (Piece(i * every_s, comment) for i in range(number))
        yield from (p._replace(due_s=p.due_s + number * every_s) for p in answer.pieces)

    made = attrs.evolve(answer, pieces=pieces())
    return made if answer.stream else with_length(made)


def burst(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """All events in one write."""
    del clause, context

    def pieces() -> Iterator[Piece]:
        gathered: list[Piece] = []
        size = 0
        for piece in answer.pieces:
            gathered.append(piece)
            size += len(piece.data)
            if size > BURST_MAX_BYTES:
                break
        if gathered:
            yield Piece(gathered[0].due_s, b"".join(p.data for p in gathered), sum(p.tokens for p in gathered), gathered[-1].end)

    return attrs.evolve(answer, pieces=pieces())


def crlf(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """Lines end in CR LF, which the event stream format allows as well."""
    del clause, context
    if not answer.stream or not answer.framing.text:
        return answer
    return attrs.evolve(answer, pieces=(p._replace(data=BARE_LF.sub(b"\r\n", p.data)) for p in answer.pieces))


def gzip(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """Content-Encoding: gzip whatever the client accepts; in a stream each event can be decoded when it arrives."""
    del clause, context

    def pieces() -> Iterator[Piece]:
        packer = zlib.compressobj(wbits=GZIP_WINDOW)
        due_s = 0.0
        for piece in answer.pieces:
            due_s = piece.due_s
            yield piece._replace(data=packer.compress(piece.data) + packer.flush(zlib.Z_SYNC_FLUSH))
        yield Piece(due_s, packer.flush())

    made = attrs.evolve(answer, pieces=pieces(), headers=(*answer.headers, (b"content-encoding", b"gzip")))
    return made if answer.stream else with_length(made)


def trickle(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """The body one byte at a time, so far apart."""
    del context
    gap_s = float(clause.value or 0.0)

    def pieces() -> Iterator[Piece]:
        free_s = 0.0
        for piece in answer.pieces:
            for at in range(len(piece.data)):
                free_s = max(free_s + gap_s, piece.due_s)
                yield Piece(free_s, piece.data[at : at + 1], piece.tokens if at == 0 else 0)

    return attrs.evolve(answer, pieces=pieces())


def content_type(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    del context
    return attrs.evolve(answer, headers=((b"content-type", str(clause.value).encode()), *without_header(answer.headers, b"content-type")))


def latency(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """Everything later, the head first of all."""
    del context
    return attrs.evolve(answer, delay_s=answer.delay_s + float(clause.value or 0.0))


def early_head(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """The head at once, the body so much later."""
    del context
    wait_s = float(clause.value or 0.0)
    return attrs.evolve(answer, head_s=0.0, pieces=(p._replace(due_s=p.due_s + wait_s) for p in answer.pieces))


def replaced(answer: Answer, data: bytes) -> Answer:
    first = next(iter(answer.pieces), None)  # only the first: there may be no last
    return with_length(attrs.evolve(answer, pieces=(Piece(first.due_s if first is not None else 0.0, data),)))


def inserted(pieces: Iterable[Piece], events: int, data: bytes) -> Iterator[Piece]:
    """`data` as one more piece after so many events, or before the end mark where there are fewer."""
    placed = False
    for number, piece in enumerate(pieces):
        if not placed and (number >= events or piece.end):
            placed = True
            yield Piece(piece.due_s, data)
        yield piece
