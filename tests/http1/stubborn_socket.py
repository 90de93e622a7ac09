"""Sockets in the place of others: one refuses what the kernel refuses seldom (what is in its way can be named, and is met at the next send
alone), one tells of each send."""

import socket
from collections.abc import Callable
from typing import Any


class Stubborn(socket.socket):
    """Takes the place of `sock`, which is used up."""

    refusal: OSError | None = None

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(fileno=sock.detach())
        self.setblocking(False)

    def send(self, *args: Any) -> int:
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            raise refusal
        return super().send(*args)


class Telling(socket.socket):
    """Takes the place of `sock`, which is used up, and calls `tell` before each send."""

    def __init__(self, sock: socket.socket, tell: Callable[[], None]) -> None:
        super().__init__(fileno=sock.detach())
        self.setblocking(False)
        self._tell = tell

    def send(self, *args: Any) -> int:
        self._tell()
        return super().send(*args)
