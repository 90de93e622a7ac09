"""The service that brings tenants and keys made at run time into force, and writes down when keys were used.

The rule: whoever changes them writes to the store, this process too; the gateway takes what it reads there. A store that cannot be read
changes nothing.
"""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

from appliance.config.schema import Config
from appliance.gateway.gateway import Gateway
from appliance.gateway.plan import KeyPlan, compile_keys, with_tenancy
from appliance.gateway.tenancy import Memory, Tenancy, tenancy_of
from appliance.store.audit import Note
from appliance.store.database import open_database
from appliance.store.fault import StoreFault, fault_of
from appliance.store.tenancy_desk import Desk
from appliance.store.tenancy_reader import TenancyReader
from appliance.store.writer import Say

LOOK_EVERY_S = 0.4
"""So that a change made elsewhere holds within a second."""

USED_EVERY_S = 10.0
"""How late `last_used_at` may be; a kill loses as much."""

AT_ONCE = 4
"""Looks and changes of operators that run at the same time; others wait."""

CALLERS_AT_ONCE = 2
"""The same of callers who ask for their usage, so that operators never wait for them."""

T = TypeVar("T")


@attrs.define(eq=False)
class TenancyKeeper:
    """Attributes:
    reader: has read once, at start.
    changing: held by whoever brings another tenancy or configuration into force.
    """

    gateway: Gateway
    reader: TenancyReader
    say: Say
    changing: trio.Lock = attrs.field(factory=trio.Lock)
    _memory: Memory = attrs.field(factory=dict)
    _said: tuple[str, ...] = ()
    _operators: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(AT_ONCE))
    _callers: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(CALLERS_AT_ONCE))

    async def run(self) -> None:
        """Service: look for changes, and write down uses."""
        noted_at = trio.current_time()
        while True:
            await trio.sleep(LOOK_EVERY_S)
            await self.refresh()
            if trio.current_time() - noted_at >= USED_EVERY_S:
                noted_at = trio.current_time()
                await self.note_used()

    async def refresh(self) -> None:
        """Bring into force what the store has now."""
        async with self.changing:
            await self._refresh()

    async def note_used(self) -> None:
        """Write down when keys were used; what cannot be written is kept for the next time."""
        async with self.changing:
            used, self.gateway.used = self.gateway.used, {}
            last = self.reader.last
            used = {} if last is None else {key.id: used[key.id] for key in last.keys if key.id in used}
            if used and await trio.to_thread.run_sync(self.reader.note_used, used) is not None:
                self.gateway.used = {**used, **self.gateway.used}

    async def close(self) -> None:
        """The end of a run, after the last request."""
        await self.note_used()
        self.reader.close()

    async def under(self, config: Config) -> Tenancy:
        """Who may call under another configuration. For whoever holds `changing`."""
        return await trio.to_thread.run_sync(tenancy_of, config, self.reader.last, self._memory)

    async def at_desk(self, actor: str, act: Callable[[Desk], T], *, changes: bool) -> T | StoreFault:
        """Do something with tenants and keys for an operator; what it changes is in force when this returns."""
        config, now = self.gateway.plan.config, self.gateway.wall_clock()

        def work(connection: sqlite3.Connection) -> T:
            return act(Desk(connection, config, Note(actor, now)))

        done = await trio.to_thread.run_sync(self._opened, work, limiter=self._operators)
        if changes:
            await self.refresh()
        return done

    async def for_caller(self, look: Callable[[sqlite3.Connection], T]) -> T | StoreFault:
        """Look something up that a caller asks for."""
        return await trio.to_thread.run_sync(self._opened, look, limiter=self._callers)

    def say_problems(self) -> None:
        """To the log: what of the store does not count. Each time that it is something else."""
        tenancy = self.gateway.plan.tenancy
        problems = tenancy.problems
        if self.reader.replaced:
            words = "the store was begun anew, without tenants and keys: those that were known work until the next start or change"
            problems = (*problems, f"{words}; nobody is let in without a key; restore a backup")
        elif not tenancy.known:
            problems = ("tenants and keys in the store are not known, since it cannot be read: only those of the file may call",)
        if problems != self._said:
            self._said = problems
            for problem in problems:
                self.say("warning", "tenancy_problem", problem=problem)

    async def _refresh(self) -> None:
        gateway = self.gateway
        found = await trio.to_thread.run_sync(self.reader.look)
        if found is not None and not isinstance(found, StoreFault):
            tenancy, keys = await trio.to_thread.run_sync(self._compiled, gateway.plan.config)
            gateway.swap(with_tenancy(gateway.plan, tenancy, keys))
            self.say("info", "tenancy_changed", tenants=len(tenancy.tenants), keys=len(keys), anonymous=gateway.plan.anonymous is not None)
        self.say_problems()

    def _opened(self, act: Callable[[sqlite3.Connection], T]) -> T | StoreFault:
        """In a thread, on a connection of its own."""
        connection = open_database(self.reader.path)
        if isinstance(connection, StoreFault):
            return connection
        try:
            return act(connection)
        except sqlite3.Error as error:
            return fault_of(error, str(self.reader.path))
        finally:
            connection.close()

    def _compiled(self, config: Config) -> tuple[Tenancy, dict[bytes, KeyPlan]]:
        tenancy = tenancy_of(config, self.reader.last, self._memory)
        return tenancy, compile_keys(tenancy)
