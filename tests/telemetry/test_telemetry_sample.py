"""Which requests are kept for good: a share of all, and of those that went wrong as many a minute as may be."""

import random
from itertools import pairwise
from typing import Any

import pytest
from telemetry_samples import attempt, request

from appliance.core.fault import FaultKind
from appliance.core.record import RequestRecord
from appliance.telemetry.sample import Sample


def kept_of(records: list[RequestRecord], share: float, troubled_max: int = 0) -> list[RequestRecord]:
    kept: list[RequestRecord] = []
    sample = Sample(share, troubled_max, random.Random(7).random, kept.append)
    for one in records:
        sample.offer(one)
    return kept


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (1.0, 20_000, 20_000), (0.01, 130, 270), (0.5, 9_500, 10_500)])
def test_the_share_that_is_kept_is_the_one_that_is_asked_for(share: float, low: int, high: int) -> None:
    assert low <= len(kept_of([request(attempt())] * 20_000, share)) <= high


def test_the_sample_has_no_rhythm() -> None:
    records = [request(attempt(), id=f"{number:x}") for number in range(5_000)]
    places = [int(one.id, 16) for one in kept_of(records, 0.1)]
    assert len({after - before for before, after in pairwise(places)}) > 10


def troubled(wall_time: float, **more: Any) -> RequestRecord:
    return request(attempt(kind=FaultKind.SERVER_ERROR), kind=FaultKind.SERVER_ERROR, status=502, wall_time=wall_time, **more)


def test_of_what_goes_wrong_so_many_a_minute_are_kept_and_no_more() -> None:
    kept = kept_of([troubled(60.0 * minute + second) for minute in range(3) for second in range(50)], 0.0, troubled_max=20)
    assert [one.wall_time for one in kept] == [60.0 * minute + second for minute in range(3) for second in range(20)]


def test_a_request_that_needed_a_second_attempt_is_kept_and_one_that_went_well_is_not() -> None:
    well, rescued = request(attempt()), request(attempt("alpha", FaultKind.SERVER_ERROR), attempt("beta"))
    assert kept_of([well, rescued], 0.0, troubled_max=20) == [rescued]


def test_whoever_is_nobodys_caller_pushes_out_nobody() -> None:
    scanner = [request(kind=FaultKind.UNAUTHORIZED, status=401, tenant="none") for _ in range(100)]
    real = troubled(1.7e9)
    assert kept_of([*scanner, real], 0.0, troubled_max=5) == [real]


def test_what_is_in_the_sample_does_not_use_up_the_room_of_what_went_wrong() -> None:
    assert len(kept_of([troubled(1.0)] * 10, 1.0, troubled_max=0)) == 10
