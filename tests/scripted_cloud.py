"""A cloud on real sockets: metadata services, a token endpoint, STS and the models; each is a function from a request to an answer."""

import contextlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import attrs
from threaded_server import ThreadedServer


@attrs.frozen
class Asked:
    """One request as it arrived: the target undecoded, names in lower case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """The one line of that name; "" for none. Two of them are an error of the test's."""
        found = [value for known, value in self.headers if known == name]
        assert len(found) <= 1, (name, found)
        return found[0] if found else ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.frozen
class Told:
    """An answer: JSON where the body is none already."""

    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = ()


Route = Callable[[Asked], Told]


class Cloud:
    """Serves `routes`, by the beginning of the target, longest first; remembers what was asked. Ends with its `with` block."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.asked: list[Asked] = []
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                lines = tuple((name.lower(), value) for name, value in self.headers.items())
                asked = Asked(self.command, self.path, lines, body)
                cloud.asked.append(asked)
                told = cloud.answer(asked)
                data = told.body if isinstance(told.body, bytes) else json.dumps(told.body).encode()
                self.send_response_only(told.status)
                for name, value in (("content-length", str(len(data))), *(told.headers or (("content-type", "application/json"),))):
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):  # whoever asked has left
                    self.wfile.write(data)

            do_GET = do_POST = do_PUT = _serve

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadedServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def answer(self, asked: Asked) -> Told:
        found = max((start for start in self.routes if asked.target.startswith(start)), key=len, default=None)
        return Told(404, {"error": "no such thing here"}) if found is None else self.routes[found](asked)

    def to(self, start: str) -> list[Asked]:
        """What was asked below a target."""
        return [one for one in self.asked if one.target.startswith(start)]

    def __enter__(self) -> "Cloud":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
