"""An upstream for rankings, images and audio: a script answers each request, before or after it has read what is uploaded.

On bare sockets, since what it is for are answers in the middle of an upload, readers that stop, and bodies that are looked at byte by byte.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

PIECE_BYTES = 65_536


class Asked:
    """One request. Its body is read when asked for, and no sooner."""

    def __init__(self, sock: socket.socket, head: bytes, rest: bytes) -> None:
        self.sock = sock
        first, *lines = head.decode("latin-1").split("\r\n")
        self.path = first.split(" ")[1]
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._rest = rest
        self.body = b""
        self.whole = False

    def read_body(self, keep: bool = True) -> int:
        """The rest of the body, whatever its framing; its size. Raises EOFError when it is cut."""
        size = 0
        kept = bytearray()
        left = None if "transfer-encoding" in self.headers else int(self.headers.get("content-length", 0))
        while left is None or left:
            if left is None:
                length = int(self._line(), 16)
                piece = self._take(length)
                assert self._line() == b""
                if not length:
                    break
            else:
                piece = self._some(min(left, PIECE_BYTES))
                left -= len(piece)
            size += len(piece)
            if keep:
                kept += piece
        self.body = bytes(kept)
        self.whole = True
        return size

    def json(self) -> Any:
        return json.loads(self.body)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, body: bytes | Any, content_type: str = "application/json", status: int = 200, **more: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.start(content_type, status, **{"content-length": str(len(data)), **more})
        self.send(data)

    def start(self, content_type: str, status: int = 200, **more: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in {"content-type": content_type, **more}.items())
        self.send(f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode())

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def gone(self) -> bool:
        """Waits for the other side to close; whether it did in time."""
        with contextlib.suppress(TimeoutError):
            while self.sock.recv(PIECE_BYTES):
                pass
            return True
        return False

    def _some(self, most: int) -> bytes:
        if not self._rest:
            self._rest = self.sock.recv(PIECE_BYTES)
            if not self._rest:
                raise EOFError
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece

    def _take(self, size: int) -> bytes:
        piece = bytearray()
        while len(piece) < size:
            piece += self._some(size - len(piece))
        return bytes(piece)

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\r\n"):
            line += self._some(1)
        return line[:-2]


Script = Callable[[Asked], None]


class MediaUpstream:
    """Runs `script` for each request of each connection. `asked` has them all. Ends with its `with` block."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> "MediaUpstream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._server, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._converse, args=(sock,), daemon=True).start()

    def _converse(self, sock: socket.socket) -> None:
        self._open.add(sock)
        with sock:
            try:
                self._answer_all(sock)
            except (OSError, EOFError) as error:
                print(f"an upload ended early: {error!r}")  # mostly as it should; pytest shows it where a test fails
        self._open.discard(sock)

    def _answer_all(self, sock: socket.socket) -> None:
        rest = b""
        while True:
            sock.settimeout(None)  # a kept connection that is closed here may be on its way to be used
            while b"\r\n\r\n" not in rest:
                data = sock.recv(PIECE_BYTES)
                if not data:
                    return
                rest += data
            sock.settimeout(20)
            head, _, rest = rest.partition(b"\r\n\r\n")
            asked = Asked(sock, head, rest)
            self.asked.append(asked)
            self.script(asked)
            if not asked.whole or "connection" in asked.headers:
                return
            rest = asked._rest


def by_path(answers: Mapping[str, Script]) -> Script:
    """A script that reads the body and answers as the path's own script does."""

    def script(asked: Asked) -> None:
        asked.read_body()
        answers[asked.path.partition("?")[0]](asked)

    return script
