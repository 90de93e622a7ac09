"""The bound on requests in flight to one backend: fair, bounded, and whole under cancellation."""

import pytest
import trio

from appliance.gateway.slots import Slots


async def use(slots: Slots, order: list[int], number: int, hold: trio.Event) -> None:
    if not slots.take():
        refusal = await slots.wait()
        assert not refusal
    order.append(number)
    await hold.wait()
    slots.give()


async def test_waiters_get_slots_in_the_order_they_came(autojump_clock):
    slots, order, hold = Slots(1, 10, 60), [], trio.Event()
    hold.set()
    assert slots.take()
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(use, slots, order, number, hold)
            await trio.testing.wait_all_tasks_blocked()
        slots.give()
    assert order == [0, 1, 2, 3, 4]
    assert slots.taken == 0


async def test_a_newcomer_does_not_overtake_a_waiter(autojump_clock):
    slots, order, hold = Slots(1, 10, 60), [], trio.Event()
    assert slots.take()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, slots, order, 1, hold)
        await trio.testing.wait_all_tasks_blocked()
        slots.give()
        assert not slots.take()
        hold.set()
    assert slots.take()


async def test_the_queue_is_bounded_and_says_so():
    slots = Slots(1, 0, 60)
    assert slots.take()
    assert "wait already" in await slots.wait()


async def test_the_wait_is_bounded_and_says_so(autojump_clock):
    slots = Slots(1, 5, 3)
    assert slots.take()
    assert "within 3 s" in await slots.wait()
    assert slots.waiting == 0


@pytest.mark.parametrize("ticks", range(8))
async def test_cancelled_anywhere_it_leaves_no_slot_taken(ticks):
    slots = Slots(1, 10, 60)
    assert slots.take()

    async def wait_and_use() -> None:
        if not await slots.wait():
            try:
                await trio.lowlevel.checkpoint()
            finally:
                slots.give()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_and_use)
        for tick in range(ticks):
            await trio.lowlevel.checkpoint()
            if tick == 3:
                slots.give()
        nursery.cancel_scope.cancel()
    if ticks <= 3:
        slots.give()
    assert (slots.taken, slots.waiting) == (0, 0)
    assert slots.take()


async def test_a_thousand_that_gave_up_are_forgotten(autojump_clock):
    slots = Slots(1, 10, 1)
    assert slots.take()
    for _ in range(1000):
        await slots.wait()
    assert len(slots._waiters) <= 21
