"""The service beside the ledger: rows reach the database by themselves, and with durability = power requests wait for the disk together."""

import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from store.ledger_place import ledger_at, stored
from store.ledger_rows import opened, row

from appliance.gateway import ledger_keeper
from appliance.gateway.ledger_keeper import LedgerKeeper
from appliance.store import writer

WAIT_S = 30.0


@asynccontextmanager
async def kept(path: Path, **settings: Any) -> AsyncIterator[LedgerKeeper]:
    ledger = ledger_at(path, **settings)
    assert ledger.start() is None
    keeper = LedgerKeeper(ledger, settings.get("commit_interval_s", 0.01), True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.follow)
        nursery.start_soon(keeper.sync)
        yield keeper
        nursery.cancel_scope.cancel()
    ledger.close()


async def until(look: Any) -> None:
    with trio.fail_after(WAIT_S):
        while not look():  # noqa: ASYNC110 - what is looked at is another thread's
            await trio.sleep(0.005)


async def test_rows_reach_the_database_by_themselves(tmp_path):
    async with kept(tmp_path / "one.db") as keeper:
        for number in range(3):
            keeper.ledger.open(opened(number))
            keeper.ledger.settle(row(number))
            await until(lambda number=number: keeper.ledger.status().rows == number + 1)
    assert len(stored(tmp_path / "one.db", "id")) == 3


async def test_a_journal_that_turns_over_does_not_wait_for_the_interval(tmp_path):
    async with kept(tmp_path / "one.db", commit_interval_s=60, journal_segments_max=3) as keeper:
        for number in range(600):
            assert keeper.ledger.open(opened(number)) is None, number
            keeper.ledger.settle(row(number))
            await until(lambda: keeper.ledger.journal.spare is not None)
        assert keeper.ledger.journal.next_number > 3


async def test_a_failure_is_tried_again_until_it_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "LOCK_WAIT_S", 0.01)
    monkeypatch.setattr(ledger_keeper, "RETRY_S", 0.01)
    async with kept(tmp_path / "one.db") as keeper:
        holder = sqlite3.connect(tmp_path / "one.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        keeper.ledger.open(opened(1))
        keeper.ledger.settle(row(1))
        await until(lambda: keeper.ledger.status().errors >= 3)
        holder.close()
        await until(lambda: keeper.ledger.status().rows == 1)
        assert keeper.ledger.status().fault is None


async def test_many_wait_for_one_write_and_none_for_one_that_began_before_its_own_entry(tmp_path, monkeypatch):
    begun, go_on, synced = threading.Event(), threading.Event(), []
    fdatasync = os.fdatasync

    def slowly(fd: int) -> None:
        synced.append(fd)
        begun.set()
        assert go_on.wait(WAIT_S)
        fdatasync(fd)

    async with kept(tmp_path / "one.db") as keeper:
        monkeypatch.setattr(os, "fdatasync", slowly)
        journal, written = keeper.ledger.journal, []

        async def request(number: int) -> None:
            keeper.ledger.open(opened(number))
            at = journal.current.at
            assert await keeper.on_disk() == ""
            assert journal.current.synced >= at
            written.append(number)

        with trio.fail_after(WAIT_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(request, 0)
                await until(begun.is_set)
                for number in range(1, 20):
                    nursery.start_soon(request, number)
                await trio.sleep(0.05)
                assert written == []
                go_on.set()
        assert len(written) == 20
        assert len(synced) == 2, "one for the first, one for everybody else"


def failing(error: Exception) -> Callable[[int], None]:
    def fdatasync(_: int) -> None:
        raise error

    return fdatasync


async def test_who_waits_for_a_disk_that_fails_hears_of_it(tmp_path, monkeypatch):
    async with kept(tmp_path / "one.db") as keeper:
        with monkeypatch.context() as patched, trio.fail_after(WAIT_S):
            patched.setattr(os, "fdatasync", failing(OSError(5, "Input/output error")))
            keeper.ledger.open(opened(1))
            assert await keeper.on_disk() == "Input/output error"
        assert await keeper.on_disk() == "", "and the next one is not blamed for it"


async def test_a_bug_leaves_nobody_believing_that_it_is_on_the_disk(tmp_path, monkeypatch):
    heard: list[str] = []

    async def ask() -> None:
        async with kept(tmp_path / "one.db") as keeper:
            monkeypatch.setattr(os, "fdatasync", failing(ZeroDivisionError()))
            keeper.ledger.open(opened(1))
            with trio.CancelScope(shield=True), trio.move_on_after(WAIT_S):
                heard.append(await keeper.on_disk())

    with pytest.raises(ExceptionGroup):
        await ask()
    assert heard == ["it was broken off"]


async def test_who_waits_for_the_disk_waits_for_ends_that_are_held_too(tmp_path):
    async with kept(tmp_path / "one.db") as keeper:
        ledger = keeper.ledger
        ledger.defer = lambda _: True  # the pass is not over yet
        ledger.settle(row(1))
        assert ledger.journal.held
        with trio.fail_after(WAIT_S):
            assert await keeper.on_disk() == ""
        segment = ledger.journal.current
        assert segment is not None
        assert not ledger.journal.held
        assert segment.synced == segment.at
