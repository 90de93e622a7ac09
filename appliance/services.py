"""Supervised services: each in a nursery of its own, restarted when it fails, with bounded back-off and jitter, and counted.

A service that returns is done. One that raises is restarted; its failure touches nobody else. Those that are vital do not belong here:
they run in the root nursery, where a failure ends the process so that whoever started it can start it again.
"""

from collections.abc import Awaitable, Callable

import attrs
import structlog
import trio

BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 30.0
STEADY_S = 60.0
"""A service that ran this long before it failed starts again with the shortest pause."""

Start = Callable[[], Awaitable[None]]


@attrs.define(eq=False)
class Services:
    """The running services by name.

    Attributes:
        restarts: how often each was restarted; every name that was ever started stays, so that its zero is seen.
        draw: the source of chance for the jitter, in [0, 1).
    """

    nursery: trio.Nursery
    restarts: dict[str, int]
    draw: Callable[[], float]
    log: structlog.typing.FilteringBoundLogger
    _scopes: dict[str, trio.CancelScope] = attrs.field(factory=dict)

    def running(self) -> frozenset[str]:
        return frozenset(self._scopes)

    def start(self, name: str, service: Start, *, counted_as: str = "") -> None:
        """Run a service under supervision; nothing happens when one of that name runs already.

        Args:
            counted_as: the name in `restarts`, where that differs: services that come and go must not leave a count each.
        """
        if name in self._scopes:
            return
        counted_as = counted_as or name
        self.restarts.setdefault(counted_as, 0)
        scope = self._scopes[name] = trio.CancelScope()
        self.nursery.start_soon(self._supervise, name, service, scope, counted_as)

    def stop(self, name: str) -> None:
        scope = self._scopes.get(name)
        if scope is not None:
            scope.cancel()

    async def _supervise(self, name: str, service: Start, scope: trio.CancelScope, counted_as: str) -> None:
        pause_s = BACKOFF_MIN_S
        try:
            with scope:
                while True:
                    begun = trio.current_time()
                    failure = await self._run(counted_as, service)
                    if failure is None:
                        return
                    self.restarts[counted_as] += 1
                    if trio.current_time() - begun >= STEADY_S:
                        pause_s = BACKOFF_MIN_S
                    restarts = self.restarts[counted_as]
                    self.log.error("service_failed", service=counted_as, restarts=restarts, restart_in_s=pause_s, exc_info=failure)
                    await trio.sleep(pause_s * (0.5 + self.draw() / 2))
                    pause_s = min(pause_s * 2, BACKOFF_MAX_S)
        finally:
            if self._scopes.get(name) is scope:
                del self._scopes[name]

    async def _run(self, name: str, service: Start) -> Exception | None:
        """Run it once. What it raised; the one place that catches everything: a bug in a service must not take the gateway down."""
        try:
            await service()
        except Exception as failure:
            return failure
        except BaseExceptionGroup as group:
            # Stopped, and one of its tasks failed on the way out: its failure ends here, the cancellation goes on.
            cancelled, failures = group.split(trio.Cancelled)
            if cancelled is None or not isinstance(failures, Exception):
                raise
            self.log.error("service_failed_stopping", service=name, exc_info=failures)
            raise cancelled from None
        return None
