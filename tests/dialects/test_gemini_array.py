"""The array form of a stream is cut into its objects however it comes, and nothing that comes is too much."""

import json

import pytest
from gemini_values import array
from hypothesis import given
from hypothesis import strategies as st
from json_text import SEEDS, JsonText

from appliance.dialects.gemini_array import ArrayReader

OBJECTS = [{"a": 'x"y\\'}, {"b": ["]", {"c": "}{"}]}, {}, {"é": "\n\\\\"}]


def feed_all(reader: ArrayReader, data: bytes, step: int) -> list[bytes]:
    return [one for place in range(0, len(data), step) for one in reader.feed(data[place : place + step])]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 10_000])
def test_objects_come_out_whole_whatever_the_pieces(step: int):
    reader = ArrayReader(1_000)
    assert [json.loads(one) for one in feed_all(reader, array(*OBJECTS), step)] == OBJECTS
    assert (reader.overflow, reader.garbled, reader.cut) == (False, False, False)


@given(st.lists(SEEDS, max_size=3), st.integers(1, 30))
def test_any_json_is_cut_where_it_ends(seeds: list[int], step: int):
    bodies = [JsonText(seed).object(["a", "b"]).encode() for seed in seeds]
    reader = ArrayReader(1_000_000)
    assert feed_all(reader, b" [ " + b" ,\r\n ".join(bodies) + b" ] ", step) == bodies
    assert not reader.garbled


def test_an_object_alone_is_read():
    assert ArrayReader(100).feed(b'{"error":{"code":400}}') == [b'{"error":{"code":400}}']


@pytest.mark.parametrize("step", [1, 10_000])
@pytest.mark.parametrize("data", [b'[{"a":1},x{"b":2}]', b'[{"a":1}"b"]', b"[{}]<html>", b"[{}\\"])
def test_what_stands_between_objects_and_has_no_place_there_ends_it(data: bytes, step: int):
    reader = ArrayReader(100)
    found = feed_all(reader, data, step)
    assert found[:1] in ([b'{"a":1}'], [b"{}"])
    assert reader.garbled


@pytest.mark.parametrize("step", [1, 64, 10_000])
def test_no_more_than_one_objects_bound_is_held(step: int):
    reader = ArrayReader(200)
    assert feed_all(reader, b'[{"a":"' + b"x" * 5_000 + b'"}]', step) == []
    assert reader.overflow
    assert reader.feed(b'{"b":1}') == []


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"{", b"}", b"[", b"]", b'"', b"\\", b'{"a":"', b'\\"'])))
def test_no_bytes_raise(pieces: list[bytes]):
    whole, single = ArrayReader(50), ArrayReader(50)
    data = b"".join(pieces)
    first = [one for piece in pieces for one in whole.feed(piece)]
    second = [one for at in range(len(data)) for one in single.feed(data[at : at + 1])]
    if not (whole.overflow or single.overflow):
        assert first == second
