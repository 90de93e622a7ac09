"""The scanner sees what a JSON parser sees, and takes time in proportion to the bytes whatever they are."""

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_text import OBJECTS

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.json_scan import holds_more, load_object, locate, members, repeated

NAMES = {name: f'"{name}"'.encode() for name in ("model", "stream", "n")}


def _pairs(body: bytes) -> list[tuple[str, Any]]:
    outermost: list[list[tuple[str, Any]]] = []

    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        outermost.append(pairs)
        return dict(pairs)

    json.loads(body, object_pairs_hook=hook)
    return outermost[-1]


@settings(max_examples=600, deadline=None)
@given(OBJECTS)
def test_members_are_those_of_the_json_module(body: bytes) -> None:
    found = members(body)
    assert found is not None
    assert [(one.key, json.loads(body[one.value_start : one.value_end])) for one in found] == _pairs(body)
    assert all(json.loads(body[one.key_start : one.key_end]) == one.key for one in found)


@settings(max_examples=600, deadline=None)
@given(OBJECTS, st.sampled_from(["model", "stream", "n", "x-y", "é", "a/b", ""]))
def test_locate_finds_every_spelling_at_the_top_and_none_below(body: bytes, name: str) -> None:
    fields = orjson.loads(body)
    found = locate(body, name, fields)
    assert [json.loads(body[one.value_start : one.value_end]) for one in found] == [value for key, value in _pairs(body) if key == name]


def test_a_name_with_a_slash_is_found_behind_its_escape_too() -> None:
    body = b'{"x":{"a/b":1},"a\\/b":2}'
    assert [body[one.value_start : one.value_end] for one in locate(body, "a/b", orjson.loads(body))] == [b"2"]


@settings(max_examples=600, deadline=None)
@given(OBJECTS)
def test_repeated_tells_what_the_json_module_would_drop(body: bytes) -> None:
    keys = [key for key, _ in _pairs(body)]
    twice = {name for name in NAMES if keys.count(name) > 1}
    found = repeated(body, orjson.loads(body), NAMES)
    assert (found in twice) if twice else (found is None)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | OBJECTS.flatmap(lambda body: st.integers(0, len(body)).map(lambda cut: body[:cut])))
def test_any_bytes_are_walked_without_an_error(body: bytes) -> None:
    members(body)
    repeated(body, {"model": 1, "n": 2}, NAMES)
    locate(body, "model", {"model": 1})
    assert isinstance(load_object(body), (dict, Fault))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"[1]", "an array"),
        (b'"x"', "a string"),
        (b"null", "null"),
        (b"true", "a boolean"),
        (b"1", "a number"),
        (b'{"a":NaN}', "line 1 column 6"),
        (b'{"a":\n1,}', "line 2 column 2"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "depth"),
        (b'{"a":1}{"b":2}', "after"),
    ],
)
def test_what_is_no_json_object_is_refused_with_the_place_and_the_remedy(body: bytes, said: str) -> None:
    fault = load_object(body)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.BAD_REQUEST
    assert said in fault.message
    assert "send" in fault.message


HOSTILE = {
    "brackets": lambda size: b'{"a":' + b"[" * size,
    "pairs": lambda size: b'{"a":[' + b"[]," * size + b'[]],"model":1,"model":2}',
    "nested past the pattern": lambda size: b'{"a":[' + b"[[[[[[[[1]]]]]]]]," * size + b'1],"model":1,"model":2}',
    "open string": lambda size: b'{"model":"' + b'\\"' * size,
    "backslashes": lambda size: b'{"model":"' + b"\\" * size,
    "quotes": lambda size: b'{"model":' + b'"' * size,
    "spaces": lambda size: b'{"model"' + b" " * size,
    "keys": lambda size: b"{" + b'"model":1,' * size,
    "mixed": lambda size: b'{"a":[' + b'{"b":[{"c":"' * size,
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_time_grows_with_the_length_alone(shape: str) -> None:
    def cost(size: int) -> float:
        body = HOSTILE[shape](size)
        best = float("inf")
        for _ in range(3):
            started = time.thread_time()
            members(body)
            repeated(body, {"model": 1}, NAMES)
            best = min(best, time.thread_time() - started)
        return best

    small, large = cost(1_000), cost(30_000)
    # 30 times the bytes: 30 times the time when linear, 900 when quadratic. The constant forgives the clock.
    assert large < 300 * small + 0.01


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ({"messages": [{"role": "user"}] * 98}, False),  # with the body and the list 100
        ({"messages": [{"role": "user"}] * 99}, True),
        ({"messages": [[[[]]]] * 40}, True),
        ({"input": [1] * 990}, False),
        ({"input": [1] * 1000}, True),
        ({"a": "{" * 5000, "b": "[,"}, False),
    ],
)
def test_objects_lists_and_values_are_counted_up_to_a_bound(fields: dict[str, object], more: bool) -> None:
    assert holds_more(orjson.dumps(fields), fields, 100) is more


def test_what_is_too_short_to_hold_so_much_is_not_counted() -> None:
    assert not holds_more(b" " * 200, {"a": [[]] * 1000}, 100)
