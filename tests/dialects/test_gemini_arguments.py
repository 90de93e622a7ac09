"""Arguments that come path by path are the JSON that a model wrote, in its order."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dialects.gemini_arguments import Arguments, OutOfOrder


def text_of(*pieces) -> str:
    growing = Arguments()
    return "".join([growing.add(piece) for piece in pieces]) + growing.end()


def word(path, text, more=False):
    return {"jsonPath": path, "stringValue": text, **({"willContinue": True} if more else {})}


def pieces_of(value, path="$"):
    """As Vertex streams a value: strings in halves and an empty last, all else at once."""
    if isinstance(value, dict):
        for name, one in value.items():
            step = f".{name}" if name.isalnum() else f"[{json.dumps(name)}]"
            yield from pieces_of(one, path + step)
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from pieces_of(one, f"{path}[{place}]")
    elif isinstance(value, str):
        half = len(value) // 2
        yield from (word(path, value[:half], True), word(path, value[half:], True), word(path, ""))
    elif isinstance(value, bool):
        yield {"jsonPath": path, "boolValue": value}
    elif value is None:
        yield {"jsonPath": path, "nullValue": "NULL_VALUE"}
    else:
        yield {"jsonPath": path, "numberValue": value}


names = st.text(min_size=1, max_size=5)
leaves = st.none() | st.booleans() | st.integers(-99, 99) | st.floats(-1, 1) | st.text(max_size=8)
values = st.recursive(leaves, lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(names, inner, min_size=1, max_size=3))


@given(st.dictionaries(names, values, min_size=1, max_size=3))
def test_what_was_streamed_by_paths_is_the_same_json(args):
    assert json.loads(text_of(*pieces_of(args))) == args


def test_members_keep_their_order():
    args = {"z": {"b": 1, "a": [{"y": "1", "x": True}, 2]}, "a": "t"}
    assert text_of(*pieces_of(args)) == json.dumps(args, separators=(",", ":"))


def test_each_piece_goes_out_as_it_comes():
    growing = Arguments()
    assert growing.add(word("$.city", "Bos", True)) == '{"city":"Bos'
    assert growing.add(word("$.city", 'ton"', True)) == 'ton\\"'
    assert growing.add(word("$.city", "")) == '"'
    assert growing.add({"jsonPath": "$.days[0]", "numberValue": 2}) == ',"days":[2'
    assert growing.end() == "]}"


def test_a_string_that_nobody_ended_is_ended():
    assert text_of(word("$.a", "x", True), word("$.b", "y", True)) == '{"a":"x","b":"y"}'


def test_no_arguments_are_no_text():
    assert text_of() == ""


def test_elements_that_were_left_out_are_null():
    assert text_of({"jsonPath": "$.a[2]", "numberValue": 1}) == '{"a":[null,null,1]}'


@pytest.mark.parametrize("pieces", [
    [word("$.a.x", "1"), word("$.b", "2"), word("$.a.y", "3")],
    [word("$.a[1]", "1"), word("$.a[0]", "2")],
    [word("$.a", "1"), word("$.a", "2")],
    [word("$.a.b", "1"), word("$.a[0]", "2")],
    [word("$[0]", "1")],
    [word("$", "1")],
    [word("a.b", "1")],
    [word("$.a[*]", "1")],
    [word("$..a", "1")],
    [{"stringValue": "1"}],
    [{"jsonPath": 7}],
    [word("$" + ".a" * 200, "1")],
    [word("$.a[999999]", "1")],
])  # fmt: skip
def test_what_cannot_be_written_any_more_is_out_of_order(pieces):
    with pytest.raises(OutOfOrder):
        text_of(*pieces)
