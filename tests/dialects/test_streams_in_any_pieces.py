"""However a stream is cut it says the same; however it is spoilt nothing raises, and what comes of it is still a legal stream of deltas.

For every reader. Spoilt streams are recorded ones with events lost, repeated, swapped and changed inside: near enough to real ones to get
past the first check.
"""

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded.files import WHY_NOT, WIRE, Recording
from recorded_streams import ANSWERS, DOORS, EVENT_MAX_BYTES, SPOKEN, as_stream, framed, reply_to
from spoiling import spoilt

from appliance.core.assembly import fold
from appliance.core.completion import Completion
from appliance.core.delta import Delta, Finished, PartEnded, PartStarted, Started, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.dialects.stream_taps import TranslatingTap

STREAMS = [one for one in ANSWERS if one.streamed]
BYTEWISE_MAX_BYTES = 12_000
"""Longer streams are cut at random only: their events are no other than those of shorter ones."""

FORMS = {**{family: family for family in SPOKEN}, "array": "gemini"}
"""The forms that streams are read in, and whose they are."""

needs_recordings = pytest.mark.skipif(not WIRE.is_dir(), reason=WHY_NOT)
each_stream = pytest.mark.parametrize("recording", STREAMS, ids=lambda one: one.label)


def pieces_of(data: bytes, seed: int) -> list[bytes]:
    """The stream cut at random: between mostly short pieces, now and then a long one."""
    chance = random.Random(seed)
    cuts, place = [0], 0
    while place < len(data):
        place += chance.choice([1, 2, 3, 7, 30, 200, 3_000])
        cuts.append(min(place, len(data)))
    return [data[start:end] for start, end in pairwise(cuts)]


def read(family: str, pieces: Sequence[bytes]) -> tuple[list[Delta], Any]:
    reader = SPOKEN[family].stream_reader(EVENT_MAX_BYTES, "b")
    deltas = [delta for piece in pieces for delta in reader.feed(piece)]
    return [*deltas, *reader.end()], reader


def told(family: str, door: str, pieces: Sequence[bytes]) -> tuple[bytes, TranslatingTap]:
    """What a caller is sent of it."""
    codec = DOORS[door]
    tap = TranslatingTap(SPOKEN[family].stream_reader(EVENT_MAX_BYTES, "b"), codec.stream_writer(reply_to(door, Completion("", "m", ()))))
    return b"".join(tap.feed(piece) for piece in pieces) + tap.end(), tap


@needs_recordings
@each_stream
def test_a_recorded_stream_gives_the_same_deltas_in_any_pieces(recording: Recording) -> None:
    data = as_stream(recording)
    whole, reader = read(recording.family, [data])
    assert (reader.fault, reader.finished) == (None, True)
    assert_legal(whole)
    cut = [pieces_of(data, seed) for seed in range(3)]
    if len(data) <= BYTEWISE_MAX_BYTES:
        cut.append([data[place : place + 1] for place in range(len(data))])
    for pieces in cut:
        assert read(recording.family, pieces)[0] == whole


@needs_recordings
@each_stream
def test_a_caller_is_sent_the_same_bytes_in_any_pieces(recording: Recording) -> None:
    """All of them: what comes behind the end of the words, such as usage, comes through even when it comes alone."""
    data = as_stream(recording)
    for door in DOORS:
        whole, tap = told(recording.family, door, [data])
        assert (tap.fault, tap.finished) == (None, True)
        for pieces in (pieces_of(data, 1), [event for event in events_alone(recording.family, data) if event]):
            sent, cut = told(recording.family, door, pieces)
            assert (sent, cut.answer().usage) == (whole, tap.answer().usage)


def events_alone(family: str, data: bytes) -> list[bytes]:
    if family == "bedrock":
        out, place = [], 0
        while place < len(data):
            size = int.from_bytes(data[place : place + 4], "big")
            out.append(data[place : place + size])
            place += size
        return out
    return [event + b"\n\n" for event in data.split(b"\n\n")[:-1]]


def assert_legal(deltas: Sequence[Delta]) -> None:
    """As core.delta has it."""
    started: dict[int, int] = {}
    opened: set[tuple[int, int]] = set()
    over: set[int] = set()
    for place, delta in enumerate(deltas):
        if isinstance(delta, Started):
            assert place == 0
        elif not isinstance(delta, UsageKnown):
            candidate: int = delta.candidate
            assert candidate not in over, "something after the end"
            if isinstance(delta, Finished):
                assert not [one for one in opened if one[0] == candidate], "a part that nobody ended"
                over.add(candidate)
            elif isinstance(delta, PartStarted):
                assert delta.index == started.get(candidate, 0), "parts are numbered in the order they start"
                started[candidate] = delta.index + 1
                opened.add((candidate, delta.index))
            elif isinstance(delta, PartEnded):
                opened.remove((candidate, delta.index))
            elif hasattr(delta, "index"):
                assert (candidate, delta.index) in opened, "more of a part that is not open"


@needs_recordings
@pytest.mark.parametrize("form", sorted(FORMS))
@given(seed=st.integers(0, 2**32))
@settings(max_examples=150)
def test_a_spoilt_stream_never_raises_and_is_legal_as_far_as_it_goes(form: str, seed: int) -> None:
    chance, family = random.Random(seed), FORMS[form]
    recording = chance.choice([one for one in STREAMS if one.family == family])
    events = [event for event in spoilt(recording.events(), chance) if family != "bedrock" or good_frame(event)]
    data = framed(form, [event if isinstance(event, dict) else {} for event in events])
    if chance.random() < 0.3:  # and the bytes as well
        place = chance.randrange(len(data) + 1)
        data = data[:place] + chance.randbytes(chance.randint(0, 3)) + data[place + chance.randint(0, 3) :]
    deltas, reader = read(family, [data])
    assert reader.finished or reader.fault is not None
    assert_legal(deltas)
    assert read(family, pieces_of(data, seed))[0] == deltas
    for door, codec in DOORS.items():
        written(codec, door, deltas, reader.fault)


def good_frame(event: Any) -> bool:
    return isinstance(event, dict) and len(event) == 1 and isinstance(next(iter(event)), str)


def written(codec: Any, door: str, deltas: list[Delta], fault: Fault | None) -> None:
    """No writer chokes on what a reader makes of a spoilt stream, and each event of what it writes is JSON."""
    answer = fold(deltas)
    reply = reply_to(door, answer)
    json.loads(codec.write_answer(answer, reply))
    writer = codec.stream_writer(reply)
    data = writer.write(deltas) + (writer.end() if fault is None else writer.error(fault, "req"))
    if door == "array":
        json.loads(data)
        return
    for block in data.decode().split("\n\n"):
        line = block.split("\n")[-1]
        if line and line != "data: [DONE]":
            json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("family", sorted(SPOKEN))
@given(pieces=st.lists(st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b"{}", b"[", b"]", b"event: x\n", b"\r\n", b": x"])))
@settings(max_examples=100)
def test_any_bytes_never_raise(family: str, pieces: list[bytes]) -> None:
    deltas, reader = read(family, pieces)
    assert reader.fault is not None
    assert reader.fault.kind in (FaultKind.PROTOCOL, FaultKind.STREAM_CUT, FaultKind.STREAM_ERROR)
    assert_legal(deltas)
