"""A provider that answers by the key it is asked with, as an account that is out of credit or at its limit does."""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

from threaded_server import ThreadedServer

Said = tuple[int, Mapping[str, str], Mapping[str, Any]]
"""Status, headers and body."""

ANSWER = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
}  # fmt: skip
GOOD: Said = (200, {}, ANSWER)


def refusal(status: int, code: str = "", **headers: str) -> Said:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, more, {"error": {"message": "no", "type": "x", "code": code}}


class KeyedUpstream:
    """Ends with its `with` block.

    Attributes:
        says: by key; what is not in it is answered well.
        asked: the keys of the requests, in order.
    """

    def __init__(self) -> None:
        self.says: dict[str, Said] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                key = self.headers["authorization"].removeprefix("Bearer ")
                outer.asked.append(key)
                status, headers, body = outer.says.get(key, GOOD)
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadedServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> "KeyedUpstream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
