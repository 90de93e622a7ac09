"""ASGI lifespan around serving: startup before the first request, shutdown after the last.

The rule: an application that does not speak lifespan (it raises before it answers) is served all the same; one that says that its startup
failed is not. The application's call runs in the nursery of whoever serves, so it ends with it.
"""

from typing import Any

import attrs
import trio

from appliance.http1.asgi import App, Message

ASGI = {"version": "3.0", "spec_version": "2.0"}


@attrs.frozen
class LifespanFailure:
    """The application said `startup.failed` or `shutdown.failed`, raised between the two, or took too long."""

    reason: str


@attrs.define(eq=False)
class Lifespan:
    """One application's lifespan: `startup`, serve with `Server(lifespan_state=lifespan.state)`, `shutdown`.

    `state` is None unless the application speaks lifespan.
    """

    _app: App
    state: dict[str, Any] | None = None
    _started: trio.Event = attrs.field(factory=trio.Event)
    _asked_to_stop: trio.Event = attrs.field(factory=trio.Event)
    _stopped: trio.Event = attrs.field(factory=trio.Event)
    _told: bool = False
    _failure: str | None = None
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def startup(self, nursery: trio.Nursery, limit_s: float) -> LifespanFailure | None:
        nursery.start_soon(self._converse)
        return await self._within(self._started, limit_s, "startup")

    async def shutdown(self, limit_s: float) -> LifespanFailure | None:
        self._asked_to_stop.set()
        return await self._within(self._stopped, limit_s, "shutdown")

    async def _within(self, event: trio.Event, limit_s: float, phase: str) -> LifespanFailure | None:
        with trio.move_on_after(limit_s):
            await event.wait()
        if not event.is_set():
            self._failure = f"the application's {phase} took longer than {limit_s} s"
        if self._failure is None:
            return None
        self._scope.cancel()
        return LifespanFailure(self._failure)

    async def _converse(self) -> None:
        state: dict[str, Any] = {}
        self.state = state
        try:
            with self._scope:
                await self._app({"type": "lifespan", "asgi": ASGI, "state": state}, self._receive, self._send)
        except Exception as error:
            if self._started.is_set() and self._failure is None:
                self._failure = f"the application's lifespan ended with {error!r}"
        finally:
            if not self._started.is_set():
                self.state = None  # "If an exception is raised ..., the server must continue but not send any lifespan events"
            self._started.set()
            self._stopped.set()

    async def _receive(self) -> Message:
        if not self._told:
            self._told = True
            return {"type": "lifespan.startup"}
        await self._asked_to_stop.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind: str = message["type"]
        if kind in ("lifespan.startup.failed", "lifespan.shutdown.failed"):
            self._failure = str(message.get("message", "")) or kind
        if kind in ("lifespan.startup.complete", "lifespan.startup.failed"):
            self._started.set()
        elif kind in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            self._stopped.set()
        else:
            raise RuntimeError(f"message type {kind!r} in a lifespan conversation")
