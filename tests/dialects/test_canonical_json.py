"""Bodies that every parser reads the same have one canonical form; bodies that some parser may read differently have not."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dialects.canonical_json import loaded, written

CHARACTERS = st.characters(exclude_categories=("Cs",))
TEXT, NAME = st.text(CHARACTERS), st.text(CHARACTERS, max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAME, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
OBJECTS = st.dictionaries(NAME, VALUES, max_size=5)


def canonical(body: bytes) -> bytes | None:
    value = loaded(body)
    return None if value is None else written(value)


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        pairs = [(name, shuffled(inner, chance)) for name, inner in value.items()]
        chance.shuffle(pairs)
        return dict(pairs)
    return [shuffled(inner, chance) for inner in value] if isinstance(value, list) else value


@given(OBJECTS, st.randoms(use_true_random=False))
def test_order_space_and_escapes_mean_nothing(value: dict[str, Any], chance: random.Random) -> None:
    plain = json.dumps(value).encode()
    other = json.dumps(shuffled(value, chance), indent=2, ensure_ascii=False).encode()
    assert canonical(plain) == canonical(other) is not None


@given(OBJECTS, OBJECTS)
def test_other_values_have_other_forms(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (canonical(json.dumps(one).encode()) == canonical(json.dumps(other).encode())) is same


UNLIKE = [
    ("1", "1.0"), ("1", '"1"'), ("1", "true"), ("0", "-0"), ("1e2", "100"), ("null", '""'), ("[]", "{}"), ("[1,2]", "[2,1]"),
    ("18446744073709551617", "18446744073709551616"), ("0.1", "0.10000000000000001"), ("1e400", "1e401"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), UNLIKE)
def test_what_some_parser_tells_apart_is_not_the_same(one: str, other: str) -> None:
    forms = [canonical(b'{"a":%b}' % text.encode()) for text in (one, other)]
    assert None not in forms
    assert forms[0] != forms[1]


NONE = [
    b'{"a":1,"a":1}', b'{"b":{"a":1,"a":2}}', b'{"b":[{"a":1,"\\u0061":2}]}', b'{"a":NaN}', b'{"a":Infinity}', b"[]", b"1", b"", b"{",
    b'{"a":"\\ud800"}', b'{"a":"\xff"}', b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a":' + b"[" * 400 + b"]" * 400 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("body", NONE, ids=[body[:20] for body in NONE])
def test_what_parsers_may_read_differently_has_no_form(body: bytes) -> None:
    assert canonical(body) is None
