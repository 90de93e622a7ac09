"""The journal's bytes: what was written whole is found again, wherever the file ends and whatever lies around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.store.frame import (
    BODY_MAX_BYTES,
    HEAD_BYTES,
    INTEGER_MAX,
    MAGIC,
    OPENED,
    RELEASED,
    SETTLED,
    arrays_of,
    frame,
    scan,
    values_of,
)

ENTRIES = [(OPENED, [1, 1.5, "ä", True, None]), (SETTLED, [1, "x" * 300, [["tenant:a", 0, 7]]]), (RELEASED, [2]), (OPENED, [3, ""])]
FRAMES = [frame(kind, values) for kind, values in ENTRIES]
WHOLE = MAGIC + b"".join(FRAMES)

texts = st.text(max_size=40)
values = st.lists(st.one_of(st.integers(-(2**53), 2**53), texts, st.booleans(), st.none()), max_size=8)
entries = st.lists(st.tuples(st.sampled_from([OPENED, SETTLED, RELEASED]), values), max_size=12)


def read(data: bytes) -> list[tuple[bytes, list[object]]]:
    return [(kind, values_of(payload)) for kind, payload in scan(data).entries]


@given(entries)
def test_what_was_written_is_read(written):
    data = MAGIC + b"".join(frame(kind, one) for kind, one in written)
    assert read(data + bytes(64)) == written
    found = scan(data + bytes(64))
    assert (found.end, found.torn, found.damaged) == (len(data), 0, 0)


def test_of_some_kinds_alone_all_is_checked_and_only_they_are_taken_out():
    found = scan(WHOLE, wanted=SETTLED)
    assert [(kind, values_of(payload)) for kind, payload in found.entries] == [ENTRIES[1]]
    damaged = bytearray(WHOLE)
    damaged[HEAD_BYTES + 12] ^= 1  # in the first entry, an opened one
    found = scan(bytes(damaged), wanted=SETTLED)
    assert [(kind, values_of(payload)) for kind, payload in found.entries] == [ENTRIES[1]]
    assert (found.end, found.torn, found.damaged) == (len(WHOLE), 0, len(FRAMES[0]))


@given(st.lists(st.lists(st.one_of(st.integers(-(2**70), 2**70), texts), max_size=4), max_size=6))
def test_many_arrays_are_read_as_each_alone(written):
    payloads = [payload for one in written for _, payload in scan(MAGIC + frame(SETTLED, one)).entries]
    assert arrays_of(payloads) == [values_of(payload) for payload in payloads]


def test_a_file_that_ends_anywhere_gives_every_entry_before_that():
    ends = [HEAD_BYTES + sum(map(len, FRAMES[:number])) for number in range(len(FRAMES) + 1)]
    for cut in range(HEAD_BYTES, len(WHOLE) + 1):
        whole = sum(cut >= end - padding(number) for number, end in enumerate(ends) if number)
        for data in (WHOLE[:cut], WHOLE[:cut] + bytes(512)):
            assert read(data) == ENTRIES[:whole], cut
        if cut in ends:
            assert scan(WHOLE[:cut] + bytes(512)).torn == 0


def padding(number: int) -> int:
    last = FRAMES[number - 1]
    return len(last) - len(last.rstrip(b"\0"))


def test_every_bit_that_turns_is_noticed_and_costs_its_own_entry_alone():
    begin = HEAD_BYTES + len(FRAMES[0])
    for place in range(begin, begin + len(FRAMES[1]) - padding(2)):
        data = bytearray(WHOLE)
        data[place] ^= 0x10
        found = scan(bytes(data))
        assert [values_of(payload) for _, payload in found.entries] == [ENTRIES[0][1], ENTRIES[2][1], ENTRIES[3][1]], place
        assert found.damaged == len(FRAMES[1])


@given(entries, st.binary(max_size=200), entries)
def test_garbage_between_entries_costs_none_of_them(before, garbage, after):
    garbage += bytes(-len(garbage) % 8)
    data = MAGIC + b"".join(frame(*one) for one in before) + garbage + b"".join(frame(*one) for one in after) + bytes(80)
    found = read(data)
    assert found[: len(before)] == before
    assert found[len(found) - len(after) :] == after
    assert scan(data).damaged + scan(data).torn >= (len(garbage.rstrip(b"\0")) if scan(data).entries[len(before) :] == [] else 0)


@given(st.binary(max_size=4096))
def test_any_bytes_can_be_scanned(data):
    assert scan(MAGIC + data).end >= HEAD_BYTES


def test_a_text_of_a_callers_cannot_pass_for_an_entry():
    inner = frame(SETTLED, [9])
    outer = bytearray(frame(OPENED, [(inner * 3).decode("latin-1"), 0]))
    outer[4] ^= 1  # the outer entry is damaged: its inside is searched
    assert read(MAGIC + bytes(outer) + FRAMES[2]) == [ENTRIES[2]]


@pytest.mark.parametrize("size", [0, 1, 8, 4096])
def test_an_unused_segment_is_empty(size):
    found = scan(MAGIC + bytes(size))
    assert (found.entries, found.end, found.torn, found.damaged) == ([], HEAD_BYTES, 0, 0)


def test_what_json_cannot_say_is_written_all_the_same():
    data = MAGIC + frame(SETTLED, ("\ud800", 10**40, (2**63, ("x", -(10**30))), True))
    assert read(data) == [(SETTLED, ["?", INTEGER_MAX, [INTEGER_MAX, ["x", -INTEGER_MAX]], True])]


def test_numbers_that_sqlite_cannot_hold_are_cut():
    assert read(MAGIC + frame(SETTLED, [2**64 - 1, True])) == [(SETTLED, [INTEGER_MAX, True])]
    assert read(MAGIC + frame(SETTLED, [-(2**63), [("x", 0, 2**63)]])) == [(SETTLED, [-INTEGER_MAX, [["x", 0, INTEGER_MAX]]])]


def test_lengths_beyond_the_bound_are_damage():
    assert scan(MAGIC + frame(SETTLED, ["x" * BODY_MAX_BYTES])).entries == []
