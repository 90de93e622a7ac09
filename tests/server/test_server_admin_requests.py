"""Single requests over the admin API: one that ends while it is looked for is told as whole as any other."""

import threading
from pathlib import Path

import structlog
import trio
from rig import free_port
from trio.testing import wait_all_tasks_blocked

from appliance.composition import build_supervisor
from appliance.config.loader import Loaded, load_text
from appliance.core.record import RequestRecord
from appliance.server.admin import AdminApp
from appliance.server.admin_requests import show_request
from appliance.server.admin_route import Answer, Asked
from appliance.supervisor import Supervisor

DESKS = 4
"""Looks into the store that run at the same time; one more waits."""


def settings(folder: Path) -> Loaded:
    text = f'[server]\nlisten = ["127.0.0.1:{free_port()}"]\n[admin]\nlisten = "127.0.0.1:{free_port()}"\n'
    loaded = load_text(text + f'[store]\npath = "{folder}/a.db"\n', env={}, providers={})
    assert isinstance(loaded, Loaded)
    return loaded


async def show_late(supervisor: Supervisor) -> Answer:
    """What is told of a request that ends while the store is about to be looked at."""
    gateway, told, release = supervisor.gateway, [], threading.Event()
    app = AdminApp(gateway, supervisor.view, supervisor.tenants, True, supervisor.reload, supervisor.compare)

    async def busy() -> None:
        await supervisor.tenants.at_desk("test", lambda _: release.wait(20), changes=False)

    async def show() -> None:
        told.append(await show_request(app, Asked({"id": "late"}, {}, {}, "test")))

    async with trio.open_nursery() as nursery:
        try:
            for _ in range(DESKS):
                nursery.start_soon(busy)
            await wait_all_tasks_blocked(0.01)
            nursery.start_soon(show)
            await wait_all_tasks_blocked(0.01)
            assert not told
            now = trio.current_time()
            gateway.recent.add(RequestRecord(1, "late", now, 1.0, "POST", "/v1/x", "openai_chat", "chat", requested_model="asked"))
        finally:
            release.set()
    return told[0]


async def test_a_request_that_ends_while_the_store_is_asked_is_told_from_memory(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        supervisor = build_supervisor(settings(tmp_path), None, log_fd=log.fileno())
        try:
            with supervisor.sink:
                async with trio.open_nursery() as nursery:
                    await nursery.start(supervisor.run)
                    answer = await show_late(supervisor)
                    supervisor.stop()
        finally:
            structlog.reset_defaults()
    assert isinstance(answer.value, dict)
    assert (answer.status, answer.value["kept_in"], answer.value["requested_model"]) == (200, "memory", "asked")
