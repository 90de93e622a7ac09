"""Whole answers and streams of deltas say the same; parts that overlap come one after the other where they must."""

import random
from itertools import pairwise

import attrs
from canonical_values import completions, parts
from hypothesis import given
from hypothesis import strategies as st

from appliance.core import sequence
from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.delta import CitationAdded, Delta, Finished, PartEnded, PartStarted, SealAdded, TextAdded
from appliance.core.message import Part, Reasoning, Text, ToolCall
from appliance.core.seal import Seal, unwrap, wrap
from appliance.core.sequence import Sequencer


@given(completions)
def test_an_answer_unfolded_and_folded_is_itself(answer: Completion):
    assert fold(unfold(answer)) == answer


def test_pieces_add_up_and_the_last_usage_counts():
    answer = fold([
        PartStarted(0, Reasoning()), TextAdded(0, "hm"), TextAdded(0, "m"), SealAdded(0, Seal("anthropic", "ab")),
        SealAdded(0, Seal("anthropic", "cd")), PartStarted(1, ToolCall("c1", "f")), PartEnded(0), TextAdded(1, '{"a"'), TextAdded(1, ":1}"),
        PartEnded(1), Finished("tool_use"),
    ])  # fmt: skip
    assert answer.candidates == (Candidate((Reasoning("hmm", seal=Seal("anthropic", "abcd")), ToolCall("c1", "f", '{"a":1}')), "tool_use"),)


def interleaved(whole: list[Part], seed: int) -> list[Delta]:
    """A legal stream of these parts, overlapping at random; parts start in their order."""
    own = (PartStarted, TextAdded, CitationAdded, SealAdded, PartEnded)
    queues = [[one for one in unfold(Completion("i", "m", (Candidate((part,)),))) if isinstance(one, own)] for part in whole]
    chance = random.Random(seed)
    out: list[Delta] = []
    started = 0
    while any(queues):
        open_ones = [number for number in range(started) if queues[number]]
        if started < len(queues) and (not open_ones or chance.random() < 0.5):
            number, started = started, started + 1
        else:
            number = chance.choice(open_ones)
        delta = queues[number].pop(0)
        out.append(attrs.evolve(delta, index=number))
    return [*out, Finished("stop")]


@given(st.lists(parts, max_size=5), st.integers(0, 999))
def test_overlapping_parts_come_one_after_the_other_and_whole(whole: list[Part], seed: int):
    stream = interleaved(whole, seed)
    sequencer = Sequencer()
    out = [one for delta in stream for one in sequencer.feed(delta)]
    assert fold(out) == fold(stream)
    indexed = [one for one in out if not isinstance(one, Finished)]
    for before, after in pairwise(indexed):
        if before.index != after.index:
            assert isinstance(before, PartEnded)
            assert isinstance(after, PartStarted)


def test_parts_that_nobody_ended_are_ended_with_the_answer():
    sequencer = Sequencer()
    stream = [PartStarted(0, Text()), PartStarted(1, Text()), TextAdded(1, "b"), TextAdded(0, "a"), Finished("stop")]
    out = [one for delta in stream for one in sequencer.feed(delta)]
    assert out == [
        PartStarted(0, Text()), TextAdded(0, "a"), PartEnded(0), PartStarted(1, Text()), TextAdded(1, "b"), PartEnded(1), Finished("stop"),
    ]  # fmt: skip


def test_what_waits_is_bounded():
    sequencer = Sequencer()
    sequencer.feed(PartStarted(0, Text()))
    for _ in range(sequence.WAITING_MAX):
        sequencer.feed(TextAdded(1, "x"))
    assert not sequencer.full
    sequencer.feed(TextAdded(1, "x"))
    assert sequencer.full


def test_the_words_that_wait_are_bounded_and_make_room_when_they_have_gone():
    sequencer = Sequencer()
    sequencer.feed(PartStarted(0, Text()))
    most = "x" * (sequence.WAITING_MAX_CHARS // 4)
    for _ in range(4):
        sequencer.feed(TextAdded(1, most))
    assert not sequencer.full
    sequencer.feed(PartEnded(0))
    sequencer.feed(PartStarted(2, Text()))
    for _ in range(4):
        sequencer.feed(TextAdded(2, most))
    assert not sequencer.full
    sequencer.feed(TextAdded(3, "x"))
    assert sequencer.full


@given(st.text(), st.sampled_from(["anthropic", "openai", "gemini"]), st.sampled_from(["anthropic", "openai"]))
def test_a_seal_comes_back_with_its_maker(value: str, maker: str, own: str):
    if not value.startswith("gw1."):
        assert unwrap(wrap(Seal(maker, value), own), own) == Seal(maker, value)


def test_what_only_looks_wrapped_is_taken_as_it_is():
    for text in ("gw1.", "gw1.anthropic", "gw1.anthropic.!!", "gw1..YQ", "gw1.a.\u00ff"):
        assert unwrap(text, "openai") == Seal("openai", text)
