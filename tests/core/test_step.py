"""The retry policy as a table: history in, next step out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.fault import FAULTS, Fault, FaultKind
from appliance.core.step import Pause, RetryPolicy, Surface, Tried, Try, next_step

POLICY = RetryPolicy(attempts=4, backoff_s=1, backoff_max_s=3, budget_s=30)
SERVER = Fault(FaultKind.SERVER_ERROR, "x", upstream_status=500)
LIMITED = Fault(FaultKind.UPSTREAM_RATE_LIMITED, "x", upstream_status=429, retry_after_s=5)
REFUSED = Fault(FaultKind.CONNECT, "x")
KEY = Fault(FaultKind.AUTHENTICATION, "x", upstream_status=401)
CALLERS = Fault(FaultKind.INVALID_REQUEST, "x", upstream_status=400)
MISSING = Fault(FaultKind.UPSTREAM_NOT_FOUND, "x", upstream_status=404)
BUSY = Fault(FaultKind.BACKEND_BUSY, "x")
TOTAL = Fault(FaultKind.TOTAL_TIMEOUT, "x")

TABLE = [
    # name, history, available, elapsed, expected
    ("the first available is tried", [], [True, True], 0, Try(0)),
    ("one whose breaker is open is passed over", [], [False, True], 0, Try(1)),
    ("a fault goes to the next at once", [(0, SERVER)], [True, True], 0, Try(1)),
    ("an unreachable one, too", [(0, REFUSED)], [True, True], 0, Try(1)),
    ("alone, it is asked again after a pause", [(0, SERVER)], [True], 0, Pause(0.5, 0)),
    ("the pause doubles", [(0, SERVER), (0, SERVER)], [True], 0, Pause(1.0, 0)),
    ("up to its maximum", [(0, SERVER), (0, SERVER), (0, SERVER)], [True], 0, Pause(1.5, 0)),
    ("it is at least what the upstream asked for", [(0, LIMITED)], [True], 0, Pause(5, 0)),
    ("the one that asks for less is repeated first", [(0, LIMITED), (1, SERVER)], [True, True], 0, Pause(0.5, 1)),
    ("a refused key goes elsewhere", [(0, KEY)], [True, True], 0, Try(1)),
    ("and is never repeated", [(0, KEY)], [True], 0, Surface(KEY)),
    ("but with another key of the backend, at once", [(0, KEY, True)], [True, True], 0, Try(0)),
    ("so is one at its limit", [(1, LIMITED, True)], [True, True], 0, Try(1)),
    ("until no key is left", [(0, KEY, True), (0, KEY)], [True, True], 0, Try(1)),
    ("within the attempts", [(0, KEY, True)] * 4, [True], 0, Surface(KEY)),
    ("and the time", [(0, LIMITED, True)], [True], 30, Surface(LIMITED)),
    ("not where the backend may not be asked any more", [(0, KEY, True)], [False, True], 0, Try(1)),
    ("a missing model goes elsewhere", [(0, MISSING)], [True, True], 0, Try(1)),
    ("a full backend goes elsewhere", [(0, BUSY)], [True, True], 0, Try(1)),
    ("and is not asked again", [(0, BUSY)], [True], 0, Surface(BUSY)),
    ("after a refused key elsewhere the other one is repeated", [(0, KEY), (1, SERVER)], [True, True], 0, Pause(0.5, 1)),
    ("the caller's own fault is told", [(0, CALLERS)], [True, True], 0, Surface(CALLERS)),
    ("attempts are bounded", [(0, SERVER), (1, SERVER), (0, SERVER), (1, SERVER)], [True, True], 0, Surface(SERVER)),
    ("time is bounded", [(0, SERVER)], [True, True], 30, Surface(SERVER)),
    ("a pause beyond the time is not begun", [(0, LIMITED)], [True], 26, Surface(LIMITED)),
    ("one that opened its breaker meanwhile is not repeated", [(0, SERVER)], [False], 0, Surface(SERVER)),
    ("a spent total time is told", [(0, TOTAL)], [True, True], 0, Surface(TOTAL)),
]


@pytest.mark.parametrize(("history", "available", "elapsed", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_next_step(history, available, elapsed, expected):
    assert next_step([Tried(*one) for one in history], available, POLICY, elapsed, 0.0) == expected


def test_nobody_available_is_told_as_such():
    step = next_step([], [False, False], POLICY, 0, 0)
    assert isinstance(step, Surface)
    assert step.fault.kind is FaultKind.NO_BACKEND


def test_statuses_follow_the_operators_lists():
    only_503 = RetryPolicy(on=frozenset({503}), fallback_on=frozenset({500}))
    assert next_step([Tried(0, SERVER)], [True], only_503, 0, 0) == Surface(SERVER)
    assert next_step([Tried(0, SERVER)], [True, True], only_503, 0, 0) == Try(1)
    assert next_step([Tried(0, LIMITED)], [True, True], only_503, 0, 0) == Surface(LIMITED)
    assert next_step([Tried(0, REFUSED)], [True, True], only_503, 0, 0) == Surface(REFUSED)


faults = st.builds(
    Fault, st.sampled_from(sorted(FaultKind)), st.just("x"), upstream_status=st.none() | st.integers(200, 599),
    retry_after_s=st.none() | st.floats(0, 100),
)  # fmt: skip


@given(st.lists(faults, min_size=1, max_size=30), st.lists(st.booleans(), min_size=1, max_size=5), st.floats(0, 0.999), st.integers(1, 6))
def test_it_always_ends_within_its_attempts_and_time(stream, available, draw, attempts):
    policy = RetryPolicy(attempts=attempts)
    history, elapsed, faults_left = [], 0.0, iter(stream)
    for _ in range(100):
        step = next_step(history, available, policy, elapsed, draw)
        if isinstance(step, Surface):
            break
        if isinstance(step, Pause):
            assert elapsed + step.seconds < policy.budget_s
            elapsed += step.seconds
        assert available[step.candidate]
        fault = next(faults_left, None)
        if fault is None:
            break
        history.append(Tried(step.candidate, fault))
    assert len(history) <= attempts


def test_every_kind_of_fault_has_its_row():
    assert set(FAULTS) == set(FaultKind)
    assert all(400 <= row.status < 600 for row in FAULTS.values())
