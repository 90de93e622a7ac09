"""/admin/stats, the quantiles behind it, and the event loop's lag."""

import json
import random
from functools import partial

import pytest
import trio
from telemetry_samples import EVERY_KIND, LIVE, STREAM, SUCCESS, attempt, folded, request
from trio.testing import MockClock

from appliance.core.fault import FaultKind
from appliance.telemetry.cells import Cells
from appliance.telemetry.histogram import Histogram, quantile
from appliance.telemetry.live import LiveState
from appliance.telemetry.loop_lag import watch_lag
from appliance.telemetry.stats import stats, stats_steps


def test_the_sums_are_those_of_the_cells() -> None:
    shown = stats(folded(*EVERY_KIND), LIVE, wall_time=1_060.0)
    total = shown["total"]
    assert total["requests"] == len(EVERY_KIND)
    assert total["succeeded"] + total["errors"] + total["refused"] + total["client_gone"] == len(EVERY_KIND)
    assert (total["client_gone"], total["errors"], total["refused"]) == (2, 2, 4)
    for table in ("backends", "routes", "tenants", "models"):
        assert sum(row["requests"] for row in shown[table].values()) == len(EVERY_KIND)
    assert shown["uptime_s"] == 60.0
    assert shown["in_flight"] == 6
    assert json.loads(json.dumps(shown)) == shown


def test_every_configured_backend_is_shown_with_its_state() -> None:
    shown = stats(Cells(), LIVE, wall_time=0.0)
    assert shown["backends"]["beta"]["healthy"] is False
    assert shown["backends"]["beta"]["breaker"] == "open"
    assert shown["backends"]["alpha"]["duration_ms"] == {"p50": None, "p95": None, "p99": None}
    assert stats(Cells(), LiveState(), wall_time=5.0)["uptime_s"] is None


def test_quantiles_of_a_backend_are_within_its_buckets() -> None:
    cells = folded(*[request(attempt(), took=0.3) for _ in range(98)], *[request(attempt(), took=20.0) for _ in range(2)], STREAM)
    shown = stats(cells, LIVE, wall_time=0.0)["backends"]["alpha"]
    assert 250 < shown["duration_ms"]["p50"] <= 500
    assert 10_240 < shown["duration_ms"]["p99"] <= 20_480
    assert 80 < shown["ttft_ms"]["p50"] <= 100


def test_summing_many_cells_pauses() -> None:
    cells = folded(*[request(attempt(), tenant=f"t{number}") for number in range(1_000)])
    assert sum(1 for _ in stats_steps(cells, LIVE, 0.0)) >= 20


def test_a_quantile_is_never_far_from_the_exact_one() -> None:
    draw = random.Random(3)
    edges = tuple(number / 10 for number in range(1, 101))
    histogram = Histogram(edges)
    values = sorted(draw.expovariate(0.5) for _ in range(5_000))
    for value in values:
        histogram.observe(value)
    for share in (0.01, 0.5, 0.9, 0.95, 0.99):
        assert quantile(edges, histogram.counts, share) == pytest.approx(values[int(share * 5_000)], abs=0.11)


def test_a_quantile_past_the_last_edge_is_the_last_edge_and_of_nothing_is_none() -> None:
    histogram = Histogram((1.0, 2.0))
    assert quantile(histogram.edges, histogram.counts, 0.5) is None
    histogram.observe(50.0)
    assert quantile(histogram.edges, histogram.counts, 0.5) == 2.0


def test_a_value_on_an_edge_belongs_to_the_bucket_below() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 2.1):
        histogram.observe(value)
    assert histogram.counts == [1, 2, 1]
    assert histogram.count == 4
    assert histogram.sum == pytest.approx(6.6)


async def test_lag_is_how_much_later_than_asked_a_timer_fired() -> None:
    clock = MockClock()
    late = iter([0.0, 0.0, 0.3, 0.0])
    lag = Histogram((0.01, 0.1, 1.0))

    async def sleep(seconds: float) -> None:
        extra = next(late, None)
        if extra is None:
            scope.cancel()
            extra = 0.0
        clock.jump(seconds + extra)
        await trio.lowlevel.checkpoint()

    with trio.CancelScope() as scope:
        await watch_lag(lag, sleep, clock.current_time)
    assert lag.counts == [3, 0, 1, 0]
    assert lag.sum == pytest.approx(0.3)


async def test_lag_is_measured_on_a_real_loop_until_cancelled() -> None:
    lag = Histogram((1.0,))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(watch_lag, lag, trio.sleep, trio.current_time, interval_s=0.01))
            while lag.count < 3:  # noqa: ASYNC110 - what is counted tells nobody
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


def test_the_samples_are_what_they_say() -> None:
    assert SUCCESS.fault is None
    assert {record.fault.kind for record in EVERY_KIND if record.fault} >= {FaultKind.CLIENT_GONE, FaultKind.UNAUTHORIZED}
