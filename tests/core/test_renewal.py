"""When credentials are fetched again, as a table of what is held."""

import math

import pytest

from appliance.core.renewal import LEAD_S, PAUSE_MAX_S, REFUSALS_APART_S, Held, next_at

NONE = Held()
HOUR = NONE.received(1000.0, 3600.0)

TABLE = [
    ("nothing yet: at once", NONE, -math.inf),
    ("an hour: five minutes before its end", HOUR, 4300.0),
    ("six hours: the same", NONE.received(0.0, 21600.0), 21300.0),
    ("ten minutes: half way", NONE.received(0.0, 600.0), 300.0),
    ("two minutes: half way", NONE.received(0.0, 120.0), 60.0),
    ("the same token again, 200 s before its end: half of what is left", HOUR.received(4400.0, 200.0), 4500.0),
    ("one second: not before a pause", NONE.received(0.0, 1.0), 1.0),
    ("over already: not before a pause", NONE.received(0.0, -50.0), 1.0),
    ("never ends: never", NONE.received(0.0, math.inf), math.inf),
    ("failed once: half a second", NONE.failed(10.0), 10.5),
    ("failed twice", NONE.failed(10.0).failed(20.0), 21.0),
    ("failed while one is held: the same pause", HOUR.failed(4300.0), 4300.5),
    ("one came after failures: they are forgotten", NONE.failed(1.0).failed(2.0).received(1000.0, 3600.0), 4300.0),
]


@pytest.mark.parametrize(("held", "at"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_next_attempt_is(held: Held, at: float) -> None:
    assert next_at(held, 0.0) == at


def test_pauses_after_failures_double_up_to_their_bound() -> None:
    held, pauses = NONE, []
    for number in range(1, 200):
        held = held.failed(float(number))
        pauses.append(next_at(held, 0.999999) - held.tried_at)
    assert [round(pause) for pause in pauses[:5]] == [1, 2, 4, 8, 16]
    assert max(pauses) <= PAUSE_MAX_S
    assert pauses == sorted(pauses)


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999999])
def test_a_successor_is_fetched_before_the_end_whatever_chance_says(draw: float) -> None:
    for life_s in (3.0, 60.0, 300.0, 599.0, 601.0, 3600.0, 43200.0):
        held = NONE.received(0.0, life_s)
        assert 0 < next_at(held, draw) <= life_s - min(LEAD_S, life_s / 2)


def test_what_is_held_stays_usable_until_its_end_though_attempts_fail() -> None:
    held = HOUR.failed(4300.0).failed(4301.0)
    assert held.usable(4599.9)
    assert not held.usable(4600.0)
    assert not NONE.usable(0.0)


def test_refusals_cause_one_attempt_in_a_while() -> None:
    first = HOUR.refused(2000.0)
    assert first is not None
    assert first.refused(2000.0 + REFUSALS_APART_S - 1) is None
    assert first.refused(2000.0 + REFUSALS_APART_S) is not None
