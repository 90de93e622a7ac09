"""Lifespan: startup before serving, shutdown after, state for every request, and applications that do not speak it."""

from typing import Any

import pytest
import trio

from appliance.http1.lifespan import Lifespan, LifespanFailure


async def test_startup_and_shutdown_enclose_serving_and_state_is_handed_over():
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["pool"] = "a pool"
        seen.append("up")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        seen.append("down")
        await send({"type": "lifespan.shutdown.complete"})

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            lifespan = Lifespan(app)
            assert await lifespan.startup(nursery, 5) is None
            assert lifespan.state == {"pool": "a pool"}
            assert seen == ["up"]
            assert await lifespan.shutdown(5) is None
    assert seen == ["up", "down"]


async def test_application_that_does_not_speak_lifespan_is_served():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError(scope["method"])

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return

    for one in (app, silent):
        async with trio.open_nursery() as nursery:
            lifespan = Lifespan(one)
            assert await lifespan.startup(nursery, 5) is None
            assert lifespan.state is None
            assert await lifespan.shutdown(5) is None


@pytest.mark.parametrize("phase", ["startup", "shutdown"])
@pytest.mark.parametrize("how", ["failed", "raises", "hangs"])
async def test_failures_have_a_reason(phase: str, how: str):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in ("startup", "shutdown"):
            await receive()
            if event != phase:
                await send({"type": f"lifespan.{event}.complete"})
            elif how == "failed":
                await send({"type": f"lifespan.{event}.failed", "message": "no database"})
            elif how == "raises":
                raise ValueError("no luck")
            else:
                await trio.sleep_forever()

    patience_s = {"startup": 30.0, "shutdown": 30.0}
    if how == "hangs":
        patience_s[phase] = 0.1
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            lifespan = Lifespan(app)
            failure = await lifespan.startup(nursery, patience_s["startup"])
            if phase == "shutdown":
                assert failure is None
                failure = await lifespan.shutdown(patience_s["shutdown"])
            if phase == "startup" and how == "raises":
                assert failure is None  # not told apart from an application without lifespan; ASGI wants it served
            else:
                assert isinstance(failure, LifespanFailure)
                assert {"failed": "no database", "raises": "no luck", "hangs": "longer than"}[how] in failure.reason
            nursery.cancel_scope.cancel()
