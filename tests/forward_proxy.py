"""A small forward proxy on a thread: CONNECT tunnels and absolute-form requests, and what it was asked for.

One request a connection where it reads the request (RFC 9112 §3.2.2), so it closes after the answer.
"""

import contextlib
import socket
import threading
from urllib.parse import urlsplit

CHUNK_BYTES = 65536


class ForwardProxy:
    """`seen` has (request line, Proxy-Authorization) of every connection."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone does not wake who waits for the next, who would be let in
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(CHUNK_BYTES)
                if not data:
                    return
                head += data
            head, _, rest = head.partition(b"\r\n\r\n")
            line, *fields = head.decode("latin-1").split("\r\n")
            method, target, _ = line.split(" ")
            given = next((field for field in fields if field.lower().startswith("proxy-authorization:")), "")
            self.seen.append((line, given.partition(": ")[2]))
            if method == "CONNECT":
                host, _, port = target.rpartition(":")
                opening, reply = b"", b"HTTP/1.1 200 OK\r\n\r\n"
            else:
                url = urlsplit(target)
                host, port = url.hostname or "", str(url.port or 80)
                path = url._replace(scheme="", netloc="").geturl()
                kept = [field for field in fields if not field.lower().startswith(("proxy-", "connection:"))]
                opening = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "connection: close", "", ""]).encode("latin-1") + rest
                reply = b""
            with socket.create_connection((host, int(port)), timeout=20) as upstream:
                upstream.settimeout(None)  # a tunnel may be silent for as long as its ends like
                client.sendall(reply)
                upstream.sendall(opening)
                other = threading.Thread(target=self._pump, args=(client, upstream), daemon=True)
                other.start()
                self._pump(upstream, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
            source.shutdown(socket.SHUT_RDWR)
