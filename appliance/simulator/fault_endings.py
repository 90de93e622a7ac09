"""Faults in how an answer ends or fails to: hang, reset, cut, truncated, stalled, dropped, endless. Pure.

One rule for `hang`, `reset` and `cut`: without a value it happens instead of the head; with N the head is sent, then N events, then it
happens (of a whole answer: N = 0 the head alone, any other N the head and half of the body).
"""

from collections.abc import Iterable, Iterator
from itertools import count

import attrs

from appliance.simulator.answer import Answer, Ending, Piece, without_header
from appliance.simulator.fault_context import FaultContext
from appliance.simulator.fault_grammar import Clause

ENDINGS = {"hang": Ending.HANG, "reset": Ending.RESET, "cut": Ending.CUT}
ENDLESS_LOOK_MAX = 16  # events looked at for one with words; recordings say of none that it has any
ENDLESS_WHOLE_BYTES = 1024  # of white space at a time, which JSON allows around a document


def ends(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """`hang`, `reset`, `cut`."""
    del context
    ending = ENDINGS[clause.kind]
    if not isinstance(clause.value, int):
        return attrs.evolve(answer, head=False, pieces=(), ending=ending)
    return attrs.evolve(answer, pieces=beginning(answer, clause.value), ending=ending)


def truncate(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """After N events the message ends properly, without the end mark. Of a whole answer there is half, with a Content-Length that
    agrees."""
    del context
    made = attrs.evolve(answer, pieces=beginning(answer, int(clause.value or 0)))
    return made if answer.stream else with_length(made)


def beginning(answer: Answer, events: int) -> Iterator[Piece]:
    if answer.stream:
        yield from after_events(answer.pieces, events)
        return
    for piece in answer.pieces if events else ():
        yield Piece(piece.due_s, piece.data[: len(piece.data) // 2], piece.tokens)


def after_events(pieces: Iterable[Piece], events: int) -> Iterator[Piece]:
    """The first `events` events; an answer that has fewer is given whole but for its end mark."""
    for number, piece in enumerate(pieces):
        if number >= events or piece.end:
            return
        yield piece


def with_length(answer: Answer) -> Answer:
    """A whole answer whose Content-Length agrees with its pieces again. One that announces none may be endless, and stays as it is."""
    if all(name != b"content-length" for name, _ in answer.headers):
        return answer
    pieces = tuple(answer.pieces)
    size = sum(len(p.data) for p in pieces)
    headers = (*without_header(answer.headers, b"content-length"), (b"content-length", b"%d" % size))
    return attrs.evolve(answer, pieces=pieces, headers=headers)


def no_done(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    del clause, context
    return attrs.evolve(answer, pieces=(p for p in answer.pieces if not p.end))


def stall(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """After N events nothing for a while, then the rest; with N = 0 the head goes out and the first event waits."""
    del context
    events, pause_s = int(clause.value or 0), float(clause.options.get("for") or 1.0)

    def pieces() -> Iterator[Piece]:
        for number, piece in enumerate(answer.pieces):
            yield piece if number < events else piece._replace(due_s=piece.due_s + pause_s)

    early = answer.head_s if events else 0.0
    return attrs.evolve(answer, pieces=pieces(), head_s=early)


def endless(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """The first event with words (else the second) for ever at the model's pace; of a whole answer white space for ever after the
    document."""
    del clause, context

    def pieces() -> Iterator[Piece]:
        start: list[Piece] = []
        at = None
        for piece in answer.pieces:
            start.append(piece)
            if at is not None or len(start) > ENDLESS_LOOK_MAX:
                break
            at = len(start) - 1 if piece.tokens and answer.stream else None
        start = [p for p in start if not p.end]
        if not start:
            return
        at = min(1, len(start) - 1) if at is None else at
        last = start[at]
        yield from start[: at + 1]
        gap_s = max(start[min(at + 1, len(start) - 1)].due_s - last.due_s, 0.001)
        for n in count(1):
            data = last.data if answer.stream else b" " * ENDLESS_WHOLE_BYTES
            yield Piece(last.due_s + n * gap_s, data, last.tokens if answer.stream else 0)

    return attrs.evolve(answer, pieces=pieces(), headers=without_header(answer.headers, b"content-length"))


def drop(answer: Answer, clause: Clause, context: FaultContext) -> Answer:
    """A good answer over a connection that is then closed although nothing announced it: the pooled connection goes stale.

    An answer that ends otherwise already keeps its own end."""
    del context
    if answer.ending is not Ending.COMPLETE:
        return answer
    return attrs.evolve(answer, ending=Ending.DROP, drop_s=float(clause.value or 0.0))
