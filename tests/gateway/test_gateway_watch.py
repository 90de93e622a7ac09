"""When an attempt's time is up: a process that stood still looks once more, and one that is always late judges at every second look."""

from typing import Any

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.gateway.proxy import HELD_UP_S, WATCH_S, Proxy


@attrs.define(eq=False)
class Late:
    """An attempt whose time has been up since the beginning, as `watch` sees it."""

    deadline: float = 0.0
    cuts: list[float] = attrs.field(factory=list)

    def out_of_time(self) -> None: ...

    def cut(self, fault: None) -> None:
        del fault
        self.cuts.append(round(trio.current_time(), 3))


@attrs.define(eq=False)
class Asking:
    running: Late
    beside: Late | None = None


async def looked_at(jumps: list[float]) -> list[int]:
    """How often the attempt was cut after each of the times that went by at once."""
    clock: Any = trio.lowlevel.current_clock()
    call, proxy, seen = Asking(Late()), Proxy(None, lambda: 0.0), []  # type: ignore[arg-type]
    proxy.calls.add(call)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy.watch)
        for seconds in jumps:
            await wait_all_tasks_blocked()
            clock.jump(seconds)
            await wait_all_tasks_blocked()
            seen.append(len(call.running.cuts))
        nursery.cancel_scope.cancel()
    return seen


def test_the_look_of_a_process_that_stood_still_is_left_out() -> None:
    held_s = WATCH_S + 2 * HELD_UP_S
    assert trio.run(looked_at, [WATCH_S, held_s, WATCH_S], clock=MockClock()) == [1, 1, 2]


def test_time_is_up_also_where_every_look_is_late() -> None:
    held_s = WATCH_S + 2 * HELD_UP_S
    assert trio.run(looked_at, [held_s] * 4, clock=MockClock()) == [0, 1, 1, 2]
