"""A client on a bare socket, for tests of what clients do badly: leave, stall, half-close, send nonsense.

It blocks, with a bound on every wait; times are `time.monotonic()`, the clock that the simulator writes down, too.
"""

import contextlib
import json
import socket
import struct
import time
from typing import Any, Literal
from urllib.parse import urlsplit

from rig import KEY

WAIT_S = 30.0
RESET = struct.pack("ii", 1, 0)

Leaving = Literal["close", "fin", "rst"]


def request_bytes(body: Any, path: str = "/v1/chat/completions", **headers: str) -> bytes:
    """A whole POST with the test key."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"host": "gateway", "content-type": "application/json", "authorization": f"Bearer {KEY}", "content-length": str(len(data))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + data


class RawClient:
    """One connection. `seen` holds what was read and not yet taken."""

    def __init__(self, url: str, receive_buffer_bytes: int = 0) -> None:
        target = urlsplit(url)
        self.sock = socket.socket()
        if receive_buffer_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.sock.settimeout(WAIT_S)
        self.sock.connect((target.hostname or "", target.port or 80))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seen = b""

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(self, body: Any, path: str = "/v1/chat/completions", **headers: str) -> None:
        self.send(request_bytes(body, path, **headers))

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        while mark not in self.seen:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(f"the connection ended; unread: {self.seen[-300:]!r}")
            self.seen += data
        before, mark, self.seen = self.seen.partition(mark)
        return before + mark

    def read_head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        lines = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split(" ")[1]), {name.lower(): value for name, value in pairs}

    def read_chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        size = int(self.read_until(b"\r\n"), 16)
        while len(self.seen) < size + 2:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError("the connection ended inside a chunk")
            self.seen += data
        chunk, self.seen = self.seen[:size], self.seen[size + 2 :]
        return chunk

    def read_body(self, headers: dict[str, str]) -> bytes:
        """The whole body after `read_head`. EOFError when it was cut."""
        if headers.get("transfer-encoding") == "chunked":
            pieces = []
            while chunk := self.read_chunk():
                pieces.append(chunk)
            return b"".join(pieces)
        size = int(headers["content-length"])
        while len(self.seen) < size:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError("the connection ended inside the body")
            self.seen += data
        body, self.seen = self.seen[:size], self.seen[size:]
        return body

    def read_to_end(self) -> bytes:
        """What comes until the connection ends, however it ends."""
        with contextlib.suppress(ConnectionError):
            while data := self.sock.recv(65536):
                self.seen += data
        everything, self.seen = self.seen, b""
        return everything

    def leave(self, how: Leaving = "close") -> float:
        """Go away; the instant at which it was done. "fin" closes only this side, as a client does that has no more to say."""
        at = time.monotonic()
        if how == "fin":
            self.sock.shutdown(socket.SHUT_WR)
            return at
        if how == "rst":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()
        return at


def events(stream: bytes) -> list[Any]:
    """The data of a stream's events, JSON decoded where it is; comments left out."""
    found: list[Any] = []
    for event in stream.split(b"\n\n"):
        data = b"\n".join(line[6:] for line in event.split(b"\n") if line.startswith(b"data: "))
        if data:
            found.append(data.decode() if data == b"[DONE]" else json.loads(data))
    return found
