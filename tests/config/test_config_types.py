"""Every key of the schema refuses what is not its type, what is out of its bounds, and neighbours it does not know."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import attrs
import pytest

from appliance.config.doors import Listener
from appliance.config.knob import about
from appliance.config.problem import Refusal, Steps, written
from appliance.config.schema import Config
from appliance.config.secret import Secret
from appliance.config.structure import strict_converter, structure, without_none

WRONG: Mapping[Any, list[Any]] = {
    str: [1, True, 1.5, ["x"], {"x": "y"}],
    bool: ["false", 0, 1, 1.0, [True]],
    int: ["1", True, 1.5, float("nan"), [1], 2**63],
    float: ["1.5", False, float("nan"), float("inf"), [1.0], 10**400],
    Secret: [7, True, ["x"]],
    Literal: ["no such choice", 1, True, ["keys"], {}],
    tuple: ["x", 1, {"x": 1}, True],
    Mapping: ["x", 1, ["x"], True],
    dict: [1, True, ["x"], "text"],
    "moment": ["2027-01-01", 20270101, True],
}


def refuse(value: Any) -> Secret:
    if isinstance(value, str):
        return Secret(value)
    raise Refusal("is no secret")


CONVERTER = strict_converter(refuse)


def knobs(kind: Any = Config, at: Steps = ()) -> Iterator[tuple[Steps, "attrs.Attribute[Any]", Any]]:
    """Every key with a path to it, through one sample element of each collection."""
    for field in attrs.fields(kind):
        steps = (*at, field.name)
        inner = without_none(field.type)
        yield steps, field, inner
        if get_origin(inner) is tuple:
            steps, inner = (*steps, 0), get_args(inner)[0]
        elif get_origin(inner) is Mapping:
            steps, inner = (*steps, "sample"), get_args(inner)[1]
        if attrs.has(inner):
            yield from knobs(inner, steps)


def document(steps: Steps, value: Any) -> Any:
    """The smallest document with a value at a path."""
    for step in reversed(steps):
        value = [value] if isinstance(step, int) else {step: value}
    return value


def told(steps: Steps, value: Any) -> set[str]:
    return {written(each.steps) for each in structure(document(steps, value), CONVERTER).findings}


def family(inner: Any) -> Any:
    if get_origin(inner) in (Literal, tuple, Mapping):
        return get_origin(inner)
    return dict if attrs.has(inner) else inner if inner in WRONG else "moment"


EVERY = [pytest.param(steps, field, inner, id=written(steps)) for steps, field, inner in knobs()]


def test_the_walk_reaches_the_whole_schema() -> None:
    assert len(EVERY) > 150
    assert {family(each.values[2]) for each in EVERY} == set(WRONG)


@pytest.mark.parametrize(("steps", "field", "inner"), EVERY)
def test_the_wrong_type_is_refused(steps: Steps, field: Any, inner: Any) -> None:
    for wrong in WRONG[family(inner)]:
        assert written(steps) in told(steps, wrong), wrong


@pytest.mark.parametrize(("steps", "field", "inner"), [each for each in EVERY if about(each.values[1]).low is not None])
def test_bounds_are_inclusive_and_nothing_beyond_them_passes(steps: Steps, field: Any, inner: Any) -> None:
    low, high = about(field).low, about(field).high
    for good in (low, high):
        if good is not None:
            assert written(steps) not in told(steps, inner(good))
    assert written(steps) in told(steps, inner(low - 1))
    if high is not None:
        assert written(steps) in told(steps, inner(high + 1))


TABLES = [each for each in EVERY if family(each.values[2]) is dict]


@pytest.mark.parametrize(("steps", "field", "inner"), TABLES)
def test_an_unknown_key_is_refused_at_every_depth(steps: Steps, field: Any, inner: Any) -> None:
    assert written((*steps, "no_such_key")) in told(steps, {"no_such_key": 1})


@pytest.mark.parametrize(
    "place", [("backends", "sample"), ("routes", 0), ("routes", 0, "targets", 0), ("tenants", "a", "keys", 0), ("experiments", 0)]
)
def test_an_unknown_key_is_refused_in_elements_of_collections(place: Steps) -> None:
    assert written((*place, "no_such_key")) in told(place, {"no_such_key": 1})


def test_a_nearly_right_key_gets_a_hint_and_a_strange_one_the_list() -> None:
    (near,) = structure({"server": {"Drain": 1}}, CONVERTER).findings
    (far,) = structure({"server": {"xyzzy": 1}}, CONVERTER).findings
    assert near.hint == 'did you mean "drain_s"?'
    assert "drain_s" in far.expected


@pytest.mark.parametrize("kind", [Listener])
def test_a_listener_of_another_type_is_told_both_its_forms(kind: type) -> None:
    (finding,) = structure({"server": {"listen": [3]}}, CONVERTER).findings
    assert finding.expected == "a string or a table"


def test_every_default_is_within_its_own_bounds() -> None:
    for steps, field, _ in knobs():
        described, default = about(field), field.default
        if isinstance(default, int | float) and described.low is not None:
            assert described.low <= default <= (described.high or default), written(steps)


def test_every_setting_has_a_reason() -> None:
    assert [written(steps) for steps, field, inner in knobs() if not about(field).why and family(inner) is not dict] == []
