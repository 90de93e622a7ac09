"""The service that keeps the ledger going: it runs the writer's rounds in a thread, and with `durability = "power"` puts the journal on the
disk for whoever waits for that.

The rule: requests never wait for the database. With `durability = "power"` they wait for the disk, many of them for one write.
"""

import attrs
import trio

from appliance.store.embedded import EmbeddedLedger

IDLE_ROUND_S = 1.0
"""Without traffic: the file is looked at, so that one that was taken away is noticed; and with `retention_days`, what is over."""

RETRY_S = 1.0
"""Between two rounds while the database or the journal fails."""


@attrs.define(eq=False)
class LedgerKeeper:
    """Attributes:
    interval_s: the longest that a row waits for its commit.
    powered: with `durability = "power"`.
    """

    ledger: EmbeddedLedger
    interval_s: float
    powered: bool
    _wake: trio.Event = attrs.field(factory=trio.Event)
    _wanted: trio.Event = attrs.field(factory=trio.Event)
    _next: "_Sync" = attrs.field(factory=lambda: _Sync())

    def __attrs_post_init__(self) -> None:
        self.ledger.journal.wake = lambda: self._wake.set()

    async def follow(self) -> None:
        """Service: the writer's rounds."""
        ledger = self.ledger
        rest_s = 0.0
        while True:
            with trio.move_on_after(self.interval_s):
                await self._wake.wait()
                self._wake = trio.Event()
            rest_s += self.interval_s
            if ledger.pending or rest_s >= IDLE_ROUND_S:
                rest_s = 0.0
                await trio.to_thread.run_sync(ledger.commit)
                if ledger.writer.fault is not None:
                    await trio.sleep(RETRY_S)

    async def sync(self) -> None:
        """Service, with `durability = "power"`: one write to the disk for everybody who waits."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            running, self._next = self._next, _Sync()
            self.ledger.flush()  # what is held is of those who wait
            try:
                await trio.to_thread.run_sync(self.ledger.sync)
                running.failure = ""
            except OSError as error:
                running.failure = error.strerror or str(error)
            finally:
                running.done.set()

    async def on_disk(self) -> str:
        """Wait until everything written to the journal so far is on the disk. What went wrong; empty when nothing did."""
        awaited = self._next  # one that runs already may have begun before our entry was written
        self._wanted.set()
        await awaited.done.wait()
        return awaited.failure


@attrs.define(eq=False)
class _Sync:
    """One write to the disk: over when `done`, and what went wrong."""

    done: trio.Event = attrs.field(factory=trio.Event)
    failure: str = "it was broken off"
