"""The embedded cache: its bound in bytes as the allocator sees it, whose entries go first, and walls between tenants."""

import gc
import random
import tracemalloc
from array import array

import pytest

from appliance.gateway.cache import ENTRY_OVERHEAD_BYTES, EmbeddedCache, Entry
from appliance.gateway.nearness import Question, unit

ROOM = 10 * (ENTRY_OVERHEAD_BYTES + 100)


def entry(body: bytes = b"x" * 100, until: float = 100.0, question: Question | None = None) -> Entry:
    return Entry(body, b"application/json", False, "m", 0.0, until, question=question)


def question(frame: bytes, *values: float) -> Question:
    vector = unit(values)
    assert vector is not None
    return Question(frame, vector)


async def test_a_key_leads_only_to_its_own_tenants_answer() -> None:
    cache = EmbeddedCache(ROOM, 10)
    await cache.put("a", b"k", entry(b"a's"))
    await cache.put("b", b"k", entry(b"b's"))
    found = [await cache.get(tenant, b"k", 1.0) for tenant in ("a", "b", "c")]
    assert [one and one.body for one in found] == [b"a's", b"b's", None]
    assert await cache.flush("a") == 1
    assert await cache.get("a", b"k", 1.0) is None
    assert await cache.get("b", b"k", 1.0) is not None


async def test_the_longest_unused_goes_first_whosever_it_is() -> None:
    cache = EmbeddedCache(ROOM, 10)
    for number in range(10):
        await cache.put(f"t{number % 2}", b"%d" % number, entry())
    assert await cache.get("t0", b"0", 1.0) is not None
    await cache.put("t1", b"new", entry())
    assert await cache.get("t0", b"0", 1.0) is not None
    assert await cache.get("t1", b"1", 1.0) is None
    assert (cache.status().entries, cache.status().evictions) == (10, 1)


async def test_an_entry_whose_time_is_over_is_gone_when_it_is_met() -> None:
    cache = EmbeddedCache(ROOM, 10)
    await cache.put("a", b"k", entry(until=5.0))
    assert await cache.get("a", b"k", 4.999) is not None
    assert await cache.get("a", b"k", 5.0) is None
    assert (cache.size_bytes, cache.status().expired, cache.by_tenant()) == (0, 1, {})


async def test_what_has_no_room_is_not_kept_and_drives_nothing_out() -> None:
    cache = EmbeddedCache(ROOM, 10)
    await cache.put("a", b"k", entry())
    await cache.put("a", b"large", entry(b"x" * ROOM))
    assert await cache.get("a", b"large", 1.0) is None
    assert await cache.get("a", b"k", 1.0) is not None


async def test_a_smaller_bound_holds_at_once_and_tenants_that_are_gone_are_forgotten() -> None:
    cache = EmbeddedCache(ROOM, 10)
    for number in range(10):
        await cache.put(f"t{number}", b"k", entry())
    cache.fit(ROOM // 2, 10)
    assert cache.status().entries == 5
    cache.forget_tenants({"t9", "t8"})
    assert sorted(cache.by_tenant()) == ["t8", "t9"]
    cache.fit(0, 10)
    assert (cache.size_bytes, cache.status().entries) == (0, 0)
    await cache.put("a", b"k", entry(b""))
    assert cache.status().entries == 0


async def test_memory_stays_under_the_bound_whatever_is_put_in() -> None:
    chance, bound = random.Random(7), 2_000_000
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        cache, most = EmbeddedCache(bound, 500), 0
        for number in range(20_000):
            key = chance.randbytes(32)
            asked = question(chance.randbytes(32), *(chance.random() for _ in range(8)))
            tenant = f"tenant-{chance.randrange(2_000)}"
            size = chance.choice((0, 0, 20, 200, 2_000))
            await cache.put(tenant, key, Entry(bytes(size), b"%d" % number, True, f"m{number}", 0.0, 1.0, b"d%d" % number, 1, asked))
            if number % 500 == 499:
                assert cache.size_bytes <= bound
                assert cache.size_bytes == sum(size for _, size in cache.by_tenant().values())
                most = max(most, tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    assert bound / 4 < most <= bound


async def test_the_nearest_question_of_the_same_frame_and_tenant_is_found_from_the_threshold_on() -> None:
    cache = EmbeddedCache(1_000_000, 10)
    await cache.put("a", b"1", entry(b"one", question=question(b"f", 1, 0)))
    await cache.put("a", b"2", entry(b"two", question=question(b"f", 1, 1)))
    await cache.put("a", b"3", entry(b"three", question=question(b"f", 1, 0, 0)))  # of another model's length
    asked = unit((1, 0.9))
    assert asked is not None
    found = await cache.near("a", b"f", asked, 0.9, 1.0)
    assert found is not None
    assert found.body == b"two"
    assert await cache.near("a", b"f", asked, 0.9999, 1.0) is None
    assert await cache.near("a", b"g", asked, 0.9, 1.0) is None
    assert await cache.near("b", b"f", asked, 0.9, 1.0) is None
    assert await cache.near("a", b"f", asked, 0.9, 100.0) is None  # its time is over


@pytest.mark.parametrize("values", [(), (0.0, 0.0), (float("inf"), 1.0), (float("nan"),)])
def test_what_has_no_direction_is_no_vector(values: tuple[float, ...]) -> None:
    assert unit(values) is None


async def test_of_one_frame_no_more_are_kept_than_are_compared() -> None:
    cache = EmbeddedCache(1_000_000, 3)
    for number in range(5):
        await cache.put("a", b"%d" % number, entry(question=question(b"f", 1, number)))
    assert cache.status().entries == 3
    assert await cache.get("a", b"1", 1.0) is None
    assert isinstance(question(b"f", 3, 4).vector, array)
