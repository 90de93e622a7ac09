"""A socket that refuses what the kernel refuses seldom: what is in its way can be named, and is met at the next send alone."""

import socket
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
