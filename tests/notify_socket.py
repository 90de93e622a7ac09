"""What systemd listens on for a service of Type=notify: a datagram socket, and what came, in order, with the time of arrival."""

import os
import socket
import threading
import time
from pathlib import Path

from rig import eventually


class NotifySocket:
    """`messages` are (monotonic seconds, fields); `path` is for $NOTIFY_SOCKET."""

    def __init__(self, folder: Path, *, abstract: bool = False) -> None:
        self.path = f"@appliance-test-{os.getpid()}-{id(self)}" if abstract else str(folder / "notify")
        self.messages: list[tuple[float, dict[str, str]]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.path[1:] if abstract else self.path)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> "NotifySocket":
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()

    @property
    def env(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.path}

    def values(self, name: str) -> list[str]:
        """Everything that was said under this name."""
        return [fields[name] for _, fields in list(self.messages) if name in fields]

    def times(self, name: str) -> list[float]:
        return [at for at, fields in list(self.messages) if name in fields]

    def wait(self, name: str, count: int = 1, seconds: float = 20.0) -> dict[str, str]:
        """The message with the `count`th field of this name."""
        eventually(lambda: len(self.values(name)) >= count, seconds)
        return [fields for _, fields in list(self.messages) if name in fields][count - 1]

    def wait_status(self, text: str) -> str:
        """The first state line with this text in it."""
        return str(eventually(lambda: next(status for status in self.values("STATUS") if text in status), 20.0))

    def catch_up(self) -> None:
        """Wait until everything that was sent so far has been read: a message of ours, behind all of it, has come."""
        mark = str(time.monotonic_ns())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(f"MARK={mark}".encode(), self._socket.getsockname())
        eventually(lambda: mark in self.values("MARK"), 20.0)

    def _read(self) -> None:
        while data := self._socket.recv(65536):
            fields = dict(line.split("=", 1) for line in data.decode().split("\n") if line)
            self.messages.append((time.monotonic(), fields))
