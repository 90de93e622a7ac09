"""One account whose credentials are temporary: what is held of it, the service that renews it, and requests that wait for the first.

The rule: nothing here is asked for by a request. The service fetches; a request takes what is held, or waits for an attempt that is under
way or about to begin, but never for the pause after one that failed: another backend may do.
"""

import math
from collections.abc import Awaitable, Callable

import attrs
import trio

from appliance.core.fault import Fault, FaultKind
from appliance.core.renewal import Held, next_at
from appliance.gateway.account_client import Reach, Source
from appliance.providers.account import Grant, Trouble

Fetch = Callable[[], Awaitable[Grant | Trouble]]
Note = Callable[[Grant | Trouble, Held], None]
"""Told after each attempt, for the log: what came, and what is held now."""


@attrs.define(eq=False)
class Account:
    """One account's credentials. It may outlive the backend that it was made for: a reload hands it on where its source stays the same.

    Attributes:
        source, reach: where they come from and how that is reached; two accounts of the same are one.
        fetch: one attempt, bounded in time.
        draw: the source of chance, in [0, 1).
        grant: what is held; previous: what was held before, which requests under way may still carry.
        trouble: what the last attempt met with; None after a good one and before the first.
    """

    source: Source
    reach: Reach
    fetch: Fetch
    draw: Callable[[], float]
    held: Held = attrs.field(factory=Held)
    grant: Grant | None = None
    previous: Grant | None = None
    trouble: Trouble | None = None
    _asking: bool = False
    _told: trio.Event = attrs.field(factory=trio.Event)
    _wake: trio.Event = attrs.field(factory=trio.Event)

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What no answer may repeat."""
        return (*(() if self.grant is None else self.grant.secrets), *(() if self.previous is None else self.previous.secrets))

    async def keep(self, note: Note) -> None:
        """Service: fetches, and fetches again in time, for as long as the account is in use."""
        while True:
            pause_s = next_at(self.held, self.draw()) - trio.current_time()
            self._wake = trio.Event()
            if pause_s > 0:
                with trio.move_on_after(pause_s):
                    await self._wake.wait()
            self._asking = True
            try:
                found = await self.fetch()
            finally:
                self._asking = False
            self._take(found)
            note(found, self.held)

    def _take(self, found: Grant | Trouble) -> None:
        now = trio.current_time()
        if isinstance(found, Trouble):
            self.held, self.trouble = self.held.failed(now), found
        else:
            if self.grant is not None and self.grant.key != found.key:
                self.previous = self.grant
            self.held, self.grant, self.trouble = self.held.received(now, found.lifetime_s), found, None
        told, self._told = self._told, trio.Event()
        told.set()

    def usable(self) -> Grant | None:
        """What is held, unless it has ended."""
        return self.grant if self.held.usable(trio.current_time()) else None

    async def get(self, backend: str, within_s: float) -> Grant | Fault:
        """What a request of this moment is proven with.

        Args:
            within_s: how long it may wait for the first.
        """
        grant = self.usable()
        if grant is not None:
            return grant
        if self._asking or self.trouble is None:
            with trio.move_on_after(within_s):
                await self._told.wait()
            grant = self.usable()
            if grant is not None:
                return grant
        return credentials_fault(backend, self.trouble, within_s)

    async def another(self, refused: Grant, within_s: float) -> Grant | None:
        """A backend refused a grant that should still be good: the one that has replaced it, or a successor fetched now. None when there is
        none in time, or when refusals have caused an attempt only a while ago."""
        grant = self.usable()
        if grant is not None and grant.key != refused.key:
            return grant
        if not self._asking:
            held = self.held.refused(trio.current_time())
            if held is None:
                return None
            self.held = held
            self._asking = True  # from here on others wait for this attempt, too
            self._wake.set()
        with trio.move_on_after(within_s):
            await self._told.wait()
        grant = self.usable()
        return grant if grant is not None and grant.key != refused.key else None

    def seconds_left(self) -> float:
        """Until what is held ends; 0.0 without any, infinite where it does not."""
        left_s = self.held.expires_at - trio.current_time()
        return max(left_s, 0.0) if left_s != -math.inf else 0.0


def credentials_fault(backend: str, trouble: Trouble | None, within_s: float) -> Fault:
    """Why a backend cannot be asked. What the source said is for the log alone."""
    if trouble is None:
        words = f"the gateway got no credentials for the backend {backend} within {within_s:g} s"
        return Fault(FaultKind.CONNECT_TIMEOUT, words)
    if trouble.refused:
        words = f"the gateway's credentials for the backend {backend} were refused to it: its operator has to check that account"
        return Fault(FaultKind.AUTHENTICATION, words, detail=trouble.words)
    words = f"the gateway cannot get its credentials for the backend {backend}: the service that gives them is unreachable or failing"
    return Fault(FaultKind.CONNECT, words, detail=trouble.words)
