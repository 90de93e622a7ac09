"""JSON that broke off anywhere is whole again with what had come of it."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dialects.json_prefix import LEVELS_MAX, completed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=4), st.booleans(), st.booleans(), st.data())
def test_wherever_it_ends_it_can_be_read(value, escaped, spaced, data):
    whole = json.dumps(value, ensure_ascii=escaped, indent=1 if spaced else None).encode()
    for end in data.draw(st.lists(st.integers(1, len(whole)), min_size=1, max_size=20)):
        json.loads(completed(whole[:end]))
    assert completed(whole) == whole


CUT = [
    (b'{"a": "b', {"a": "b"}),
    (b'{"a": "b"', {"a": "b"}),
    (b'{"a": "b",', {"a": "b"}),
    (b'{"a": "b", "c', {"a": "b", "c": None}),
    (b'{"a": "b", "c"', {"a": "b", "c": None}),
    (b'{"a": "b", "c":', {"a": "b", "c": None}),
    (b'{"a": 12', {"a": None}),  # which may be half of 123
    (b'{"a": 12 ', {"a": 12}),
    (b'{"a": tru', {"a": None}),
    (b'{"a": [{"b": "c"}, {', {"a": [{"b": "c"}, {}]}),
    (b'{"a": "b\\"', {"a": 'b"'}),
    (b'{"a": "b\\', {"a": "b"}),
    (b'{"a": "b\\\\', {"a": "b\\"}),
    (b'{"a": "b\\u4f', {"a": "b"}),
    (b'{"a": "b\\\\u4f', {"a": "b\\u4f"}),
    ('{"a": "bé'.encode()[:-1], {"a": "b"}),
    (b"{", {}),
]


@pytest.mark.parametrize(("beginning", "value"), CUT)
def test_what_had_come_is_kept(beginning, value):
    assert orjson.loads(completed(beginning)) == value


@pytest.mark.parametrize("text", [b"", b"<html>", b"data: {", b'{"a" 1', b'[}{"a": "b', b"}", b'"'])
def test_what_is_no_json_is_not_made_into_any(text):
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(completed(text))


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_what_is_too_deep_for_its_readers_gets_no_end(opening):
    for levels in (LEVELS_MAX + 1, 100_000):
        assert completed(opening * levels) == opening * levels
    orjson.loads(completed(opening * (LEVELS_MAX - 1)))
