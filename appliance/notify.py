"""What systemd is told of one run: ready, stopping, reloading, alive, and one line of state. sd_notify(3), spoken over $NOTIFY_SOCKET.

The rule: nothing here can fail or hold up the gateway. A message that cannot be sent now is owed, and sent with the next; without a socket
nothing is made, started or asked. Pings come from the event loop, so that they stop when the loop is blocked, and systemd starts anew.
"""

import os
import socket
from collections.abc import Callable, Mapping

import attrs
import structlog
import trio

from appliance.gateway.gateway import Gateway

LOOK_S = 2.0
"""Between two looks at the state; a line goes out only when it has changed. `systemctl status` is read by people."""

STATUS_MAX = 240
"""Characters of the state line; `systemctl status` shows one line."""

STOP_GRACE_S = 15.0
"""Beyond notice_s and drain_s: telling and cutting what is left, and the ledger's last write."""


@attrs.define(eq=False)
class Notifier:
    """The socket, and what has not been delivered yet, at most one value of each name.

    Attributes:
        path: as in $NOTIFY_SOCKET; an @ in front is an abstract socket.
        watchdog_s: within which systemd wants a ping; 0 where it wants none.
    """

    path: str
    watchdog_s: float
    log: structlog.typing.FilteringBoundLogger
    clock: Callable[[], float]
    _socket: socket.socket
    _owed: dict[str, str] = attrs.field(factory=dict)
    _failed: bool = False

    def tell(self, fields: Mapping[str, str]) -> None:
        """Send these, by their names in sd_notify(3), and what is owed."""
        if "READY" in fields:  # a later one says that the reload is over
            self._owed.pop("RELOADING", None)
            self._owed.pop("MONOTONIC_USEC", None)
        self._owed.update(fields)
        message = "\n".join(f"{name}={value}" for name, value in self._owed.items()).encode()
        address: str | bytes = b"\0" + os.fsencode(self.path[1:]) if self.path.startswith("@") else self.path
        try:
            self._socket.sendto(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, address)
        except OSError as error:
            self._owed.pop("WATCHDOG", None)  # a late ping would say that the loop turned when it did not
            if not self._failed:  # once, not every second
                self._failed = True
                self.log.warning("notify_failed", socket=self.path, problem=error.strerror or str(error))
        else:
            self._failed = False
            self._owed.clear()

    def ready(self, status: str) -> None:
        self.tell({"READY": "1", "STATUS": _one_line(status)})

    def reloading(self) -> None:
        """MONOTONIC_USEC is for Type=notify-reload, of systemd 253 and later; older ones pass over it."""
        self.tell({"RELOADING": "1", "MONOTONIC_USEC": str(int(self.clock() * 1e6))})

    def stopping(self, status: str, needed_s: float) -> None:
        """`needed_s`: how long the end may take. systemd waits so long even where TimeoutStopSec= of the unit is shorter."""
        self.tell({"STOPPING": "1", "STATUS": _one_line(status), "EXTEND_TIMEOUT_USEC": str(int(needed_s * 1e6))})

    async def keep_alive(self) -> None:
        """Service, where there is a watchdog: a ping in half the time that it allows, as sd_watchdog_enabled(3) advises."""
        while True:
            self.tell({"WATCHDOG": "1"})
            await trio.sleep(self.watchdog_s / 2)

    async def keep_status(self, look: Callable[[], str]) -> None:
        """Service: the state line, when it has changed, and whatever is owed."""
        said = ""
        while True:
            text = _one_line(look())
            if text != said or self._owed:
                said = text
                self.tell({"STATUS": text})
            await trio.sleep(LOOK_S)

    def close(self) -> None:
        self._socket.close()


def open_notifier(
    environ: Mapping[str, str], pid: int, clock: Callable[[], float], log: structlog.typing.FilteringBoundLogger
) -> Notifier | None:
    """None where nobody wants to be told. `clock` is CLOCK_MONOTONIC, in seconds."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path:
        return None
    if not path.startswith(("/", "@")) or len(path) < 2:
        log.warning("notify_failed", socket=path[:200], problem="neither an absolute path nor an abstract socket")
        return None
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    except OSError as error:
        log.warning("notify_failed", socket=path, problem=error.strerror)
        return None
    return Notifier(path, _watchdog_s(environ, pid), log, clock, sock)


def status_text(gateway: Gateway, refused: str) -> str:
    """The state in one line. `refused` is why the last reload changed nothing; empty where it did its work."""
    live = gateway.live
    if live.draining:
        others = live.requests - live.streams
        left = ", ".join([f"{_count(live.streams, 'stream')} left"] + ([_count(others, "other request")] if others > 0 else []))
        return f"draining: {left}"
    upstreams = gateway.plan.upstreams.values()
    healthy = sum(upstream.state.healthy for upstream in upstreams)
    text = f"serving {_count(len(upstreams), 'backend')}, {healthy} healthy; {_count(live.requests, 'request')} in flight"
    return f"{text}; reload refused: {refused}" if refused else text


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float:
    """sd_watchdog_enabled(3): $WATCHDOG_PID, where set, names who is meant."""
    text = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid) or not (text.isascii() and text.isdigit() and len(text) <= 18):
        return 0.0
    return int(text) / 1e6


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= STATUS_MAX else line[: STATUS_MAX - 1] + "…"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
