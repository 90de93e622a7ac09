"""A backend beside itself: where copies for a shadow experiment go, with connections, slots, keys in turn and a breaker of their own.

The rule: nothing is shared with callers that one could wait for, or that a copy's failure could spoil. What callers' requests tell of the
backend counts here too: where it is taken out, failing or busy with them, no copy goes.
"""

import os

import attrs
import trio

from appliance.core.breaker import BreakerState
from appliance.gateway.live import backend_state
from appliance.gateway.plan import RoutePlan
from appliance.gateway.upstream import Upstream, build_upstream

SLOTS_SHARE = 2
"""Copies go only while less than one of so many of the backend's slots is taken by callers."""

RETIRE_LOOK_S = 0.5


@attrs.define(eq=False)
class Lane:
    """One experiment's.

    Attributes:
        planned: the route as the plan has it. route: the same, with this lane's own backend. source: the callers'.
        running: copies on it now.
        scope: ends its upkeep; connections close when the last copy is done.
    """

    planned: RoutePlan
    route: RoutePlan
    source: Upstream
    running: int = 0
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def upstream(self) -> Upstream:
        return self.route.targets[0].upstream

    @property
    def free(self) -> bool:
        """Whether a copy is in nobody's way."""
        now, slots = trio.current_time(), self.source.slots
        if self.source.state.breaker.state is not BreakerState.CLOSED or not self.source.state.available(now):
            return False
        return not slots.waiting and slots.taken * SLOTS_SHARE < slots.limit and self.upstream.state.available(now)

    async def keep(self) -> None:
        """Look after its connections until `scope` is cancelled and the last copy has gone."""
        try:
            with self.scope:
                await self.upstream.transport.keep()
                await trio.sleep_forever()
            while self.running:  # noqa: ASYNC110 - a copy is bounded in time, and nobody waits for this
                await trio.sleep(RETIRE_LOOK_S)
        finally:
            with trio.CancelScope(shield=True):
                await self.upstream.transport.aclose()


def open_lane(planned: RoutePlan) -> Lane | None:
    """None where the backend cannot be built a second time, which never is as it was built once."""
    (target,) = planned.targets
    source = target.upstream
    built = build_upstream(source.name, source.settings, {}, None, os.environ, source)
    if isinstance(built, str):
        return None
    # No keeper of breakers looks after this one: after its rest a copy is its probe.
    own = attrs.evolve(built, state=backend_state(source.name, source.settings, probe_first=False))
    return Lane(planned, attrs.evolve(planned, targets=(attrs.evolve(target, upstream=own),)), source)
