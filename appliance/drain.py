"""The way out of one run: readiness 503, a notice period, closed doors, requests that finish or are told of the end, a cut for the rest.
A request finishes when its caller's socket has taken its answer; that is later than the record of it where the caller reads slowly.

The rule: every wait here is bounded, by the configuration or by a constant below, and a second signal ends all of them at once.
"""

from collections.abc import Callable

import attrs
import structlog
import trio

from appliance.gateway.gateway import Gateway
from appliance.server.listeners import Engine

CUT_GRACE_S = 2.0
"""After the requests that outlived the drain were told so: how long their errors may take to leave."""

DRAIN_LOOK_S = 0.02
DOOR_GRACE_S = 1.0
"""After that, and again after the cut: how long the engines get to close their connections."""


@attrs.define(eq=False)
class Drain:
    """The end of one run, and what it needs to know of the doors.

    Attributes:
        on_begin: is called when it begins, before anything is closed.
        engines: what serves the public listeners.
        doors_closed: the last public listener has ended.
    """

    gateway: Gateway
    log: structlog.typing.FilteringBoundLogger
    on_begin: Callable[[], None]
    engines: list[Engine] = attrs.field(factory=list)
    doors_closed: trio.Event = attrs.field(factory=trio.Event)
    _asked: trio.Event = attrs.field(factory=trio.Event)
    _patience: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def ask(self, why: str) -> None:
        """Begin; asked again, cut at once."""
        if self._asked.is_set():
            self.log.warning("cut", signal=why, requests=self.gateway.live.requests)
            self._patience.cancel()
            self._cut()
        else:
            self.log.info("stopping", signal=why, drain_s=self.gateway.plan.config.server.drain_s)
            self.gateway.live.draining = True
            self.on_begin()
            self._asked.set()

    async def run(self) -> None:
        """Wait to be asked, then see the run to its end."""
        await self._asked.wait()
        with self._patience:
            await self._finish()
        self._close_doors()
        self._cut()
        with trio.move_on_after(DOOR_GRACE_S):
            await self.doors_closed.wait()
        self.log.info("stopped")

    async def _finish(self) -> None:
        settings = self.gateway.plan.config.server
        await trio.sleep(settings.notice_s)
        self._close_doors()
        with trio.move_on_after(settings.drain_s):
            await self._answers_leave()
        if self.gateway.live.requests or self._leaving():
            self.log.warning("drain_time_over", requests=self.gateway.live.requests, leaving=self._leaving())
            self.gateway.proxy.cut_all()
            with trio.move_on_after(CUT_GRACE_S):
                await self._answers_leave()
        with trio.move_on_after(DOOR_GRACE_S):
            await self.doors_closed.wait()

    def _close_doors(self) -> None:
        for engine in self.engines:
            engine.drain()

    async def _answers_leave(self) -> None:
        """Until no request is in flight and nothing of an answer is left. Looking now and then costs nothing; an event on the hot path
        would."""
        while self.gateway.live.requests or self._leaving():  # noqa: ASYNC110 - see above
            await trio.sleep(DRAIN_LOOK_S)

    def _leaving(self) -> int:
        return sum(engine.answers_leaving for engine in self.engines)

    def _cut(self) -> None:
        self.gateway.proxy.cut_all()
        for engine in self.engines:
            engine.cut()
