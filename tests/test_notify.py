"""What systemd is told: pings come from the event loop and stop with it; what could not be sent is owed; no message is made for nobody."""

import os
import time
from pathlib import Path

import pytest
import structlog
import trio
from notify_socket import NotifySocket
from rig import free_port
from trio.testing import MockClock

from appliance.composition import build_supervisor
from appliance.config.loader import Loaded, load_text
from appliance.notify import STATUS_MAX, Notifier, open_notifier

BLOCKED_S = 2.0
PING_S = 0.1


def notifier(environ: dict[str, str], lines: list[str] | None = None) -> Notifier | None:
    log = structlog.wrap_logger(structlog.testing.CapturingLogger() if lines is None else _Lines(lines), processors=[])
    return open_notifier(environ, os.getpid(), time.monotonic, log)


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(event)


async def test_pings_stop_while_the_loop_is_blocked_and_go_on_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole gateway; something in its loop computes and does not await."""
    with NotifySocket(tmp_path) as told:
        monkeypatch.setenv("NOTIFY_SOCKET", told.path)
        monkeypatch.setenv("WATCHDOG_USEC", str(int(2 * PING_S * 1e6)))
        text = f'[server]\nlisten = ["127.0.0.1:{free_port()}"]\n[admin]\nlisten = "127.0.0.1:{free_port()}"\n'
        loaded = load_text(text + f'[store]\npath = "{tmp_path}/a.db"\n', env={}, providers={})
        assert isinstance(loaded, Loaded)
        with (tmp_path / "log").open("wb") as log:
            supervisor = build_supervisor(loaded, None, log_fd=log.fileno())
            try:
                with supervisor.sink:
                    async with trio.open_nursery() as nursery:
                        await nursery.start(supervisor.run)
                        with trio.fail_after(20):
                            while len(told.values("WATCHDOG")) < 5:  # noqa: ASYNC110 - it looks at what another thread has read
                                await trio.sleep(0.02)
                        begun = time.monotonic()
                        time.sleep(BLOCKED_S)
                        ended = time.monotonic()
                        count = len(told.values("WATCHDOG"))
                        with trio.fail_after(20):
                            while len(told.values("WATCHDOG")) < count + 5:  # noqa: ASYNC110
                                await trio.sleep(0.02)
                        supervisor.stop()
            finally:
                structlog.reset_defaults()
        times = told.times("WATCHDOG")
        # One may have been on its way when the loop was blocked.
        assert [at for at in times if begun + BLOCKED_S / 2 < at < ended] == []
        assert len([at for at in times if at < begun]) >= 5
        assert len([at for at in times if at > ended]) >= 5


def test_nothing_is_made_where_nobody_listens() -> None:
    assert notifier({}) is None
    assert notifier({"NOTIFY_SOCKET": ""}) is None


@pytest.mark.parametrize("path", ["vsock:2:9", "@", "relative/notify"])
def test_a_socket_of_an_unknown_kind_is_told_in_the_log(path: str) -> None:
    lines: list[str] = []
    assert notifier({"NOTIFY_SOCKET": path}, lines) is None
    assert lines == ["notify_failed"]


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0), ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0), ({}, 0.0), ({"WATCHDOG_USEC": ""}, 0.0), ({"WATCHDOG_USEC": "-1"}, 0.0),
        ({"WATCHDOG_USEC": "9" * 30}, 0.0), ({"WATCHDOG_USEC": "²"}, 0.0),
    ],
)  # fmt: skip
def test_the_watchdogs_time_is_read_as_systemd_means_it(tmp_path: Path, environ: dict[str, str], watchdog_s: float) -> None:
    one = notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), **environ})
    assert one is not None
    assert one.watchdog_s == watchdog_s
    one.close()


async def test_a_ping_comes_in_half_the_time_that_systemd_allows(tmp_path: Path, autojump_clock: MockClock) -> None:
    with NotifySocket(tmp_path) as told:
        one = notifier({**told.env, "WATCHDOG_USEC": "30000000"})
        assert one is not None
        for until_s, pings in ((0.1, 1), (14.9, 1), (15.1, 2), (29.9, 2), (30.1, 3)):
            told.messages.clear()
            with trio.move_on_after(until_s):
                await one.keep_alive()
            told.catch_up()
            assert len(told.values("WATCHDOG")) == pings, until_s
        one.close()


def test_what_could_not_be_sent_goes_with_the_next_message_but_no_late_ping(tmp_path: Path) -> None:
    lines: list[str] = []
    one = notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}, lines)
    assert one is not None
    one.reloading()
    one.tell({"WATCHDOG": "1"})
    one.ready("serving")
    with NotifySocket(tmp_path) as told:
        one.tell({"STATUS": "later"})
        assert told.wait("STATUS") == {"READY": "1", "STATUS": "later"}, "a reload that is over is not announced any more"
        one.tell({"STATUS": "last"})
        assert told.wait("STATUS", 2) == {"STATUS": "last"}
    assert lines == ["notify_failed"], "said once"
    one.close()


def test_the_state_is_one_line_of_bounded_length(tmp_path: Path) -> None:
    with NotifySocket(tmp_path) as told:
        one = notifier(told.env)
        assert one is not None
        one.ready("a\nREADY=0\r\n" + "x" * 1000)
        status = told.wait("STATUS")["STATUS"]
        one.close()
    assert status.startswith("a READY=0 xxx")
    assert len(status) == STATUS_MAX
    assert told.values("READY") == ["1"]
