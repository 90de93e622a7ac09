"""Supervised services: a failure is restarted after a bounded, jittered pause, counted, and touches nobody else."""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
import structlog
import trio
from trio.testing import MockClock

from appliance.services import BACKOFF_MAX_S, BACKOFF_MIN_S, STEADY_S, Services


def services_in(nursery: trio.Nursery, restarts: dict[str, int], draw: Callable[[], float] = lambda: 0.0) -> Services:
    return Services(nursery, restarts, draw, structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[]))


async def test_a_service_that_fails_is_started_again_and_counted(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    restarts: dict[str, int] = {}
    runs = []

    async def frail() -> None:
        runs.append(trio.current_time())
        if len(runs) < 4:
            raise OSError("a provider's list of models is not JSON")
        await trio.sleep_forever()

    services = services_in(nursery, restarts)
    services.start("health:one", frail)
    assert restarts == {"health:one": 0}, "its zero is seen before anything happens"
    await trio.sleep(10)
    assert len(runs) == 4
    assert restarts == {"health:one": 3}
    assert services.running() == {"health:one"}


async def test_pauses_double_up_to_their_bound_and_are_spread_by_chance(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    def pauses_of(starts: list[float]) -> list[float]:
        return [later - earlier for earlier, later in pairwise(starts)]

    for draw in (lambda: 0.0, lambda: 0.999999, random.Random(4).random):
        starts: list[float] = []

        async def hopeless(starts: list[float] = starts) -> None:
            starts.append(trio.current_time())
            raise ValueError("never")

        services = services_in(nursery, {}, draw)
        services.start("hopeless", hopeless)
        await trio.sleep(300)
        services.stop("hopeless")
        pauses = pauses_of(starts)
        for number, pause_s in enumerate(pauses):
            bound_s = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2**number)
            assert bound_s / 2 - 1e-6 <= pause_s <= bound_s + 1e-6
        assert pauses[-1] >= BACKOFF_MAX_S / 2 - 1e-6
    assert len({round(pause_s, 4) for pause_s in pauses}) > 5, "chance spreads them"


async def test_a_service_that_ran_long_starts_again_soon(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    starts: list[float] = []

    async def steady() -> None:
        starts.append(trio.current_time())
        if len(starts) > 8:  # after a run of quick failures it is well for a while
            await trio.sleep(STEADY_S)
        raise ValueError("again")

    services_in(nursery, {}).start("steady", steady)
    await trio.sleep(400)
    late = [later - earlier - STEADY_S for earlier, later in pairwise(starts[8:])]
    assert late
    assert all(pause_s <= BACKOFF_MIN_S for pause_s in late)


async def test_one_failure_touches_no_other_service_and_not_the_nursery(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    beats = []

    async def heart() -> None:
        while True:
            beats.append(trio.current_time())
            await trio.sleep(1)

    async def group() -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(trio.sleep_forever)
            await trio.sleep(1)
            raise RuntimeError("with a task beside it")

    restarts: dict[str, int] = {}
    services = services_in(nursery, restarts)
    services.start("heart", heart)
    services.start("group", group)
    await trio.sleep(20.5)
    assert len(beats) == 21
    assert restarts["heart"] == 0
    assert restarts["group"] >= 3
    assert not nursery.cancel_scope.cancel_called


async def test_a_service_that_returns_is_done(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    restarts: dict[str, int] = {}
    services = services_in(nursery, restarts)
    services.start("brief", trio.lowlevel.checkpoint)
    await trio.sleep(1)
    assert services.running() == frozenset()
    assert restarts == {"brief": 0}
    services.start("brief", trio.sleep_forever)
    await trio.sleep(1)
    assert services.running() == {"brief"}


async def test_the_same_name_runs_once_and_may_share_its_count(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    runs: list[int] = []
    restarts: dict[str, int] = {}

    async def once() -> None:
        runs.append(1)
        await trio.sleep_forever()

    services = services_in(nursery, restarts)
    services.start("pool:one:7f00", once, counted_as="pool:one")
    services.start("pool:one:7f00", once, counted_as="pool:one")
    services.start("pool:one:7f01", once, counted_as="pool:one")
    await trio.sleep(1)
    assert len(runs) == 2
    assert restarts == {"pool:one": 0}


@pytest.mark.parametrize("alone", [True, False])
async def test_stopping_ends_a_service_for_good_even_one_that_fails_on_its_way_out(
    nursery: trio.Nursery, autojump_clock: MockClock, alone: bool
) -> None:
    ended = []

    async def clumsy() -> None:
        try:
            if alone:
                await trio.sleep_forever()
            async with trio.open_nursery() as inner:
                inner.start_soon(trio.sleep_forever)
                inner.start_soon(fails_when_cancelled)
        finally:
            ended.append(trio.current_time())

    async def fails_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("the socket was closed already")

    restarts: dict[str, int] = {}
    services = services_in(nursery, restarts)
    services.start("clumsy", clumsy)
    await trio.sleep(1)
    services.stop("clumsy")
    await trio.sleep(100)
    assert len(ended) == 1
    assert services.running() == frozenset()
    assert not nursery.cancel_scope.cancel_called
    services.stop("clumsy")  # nobody there: nothing happens
