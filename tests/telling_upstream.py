"""An upstream whose every answer is another, so that who got which can be told; with embeddings of words that a test may make alike."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

from threaded_server import ThreadedServer

WORDS = ("cat", "dog", "weather", "price", "tea")
ALIKE = {"feline": "cat", "hound": "dog"}


def vector(text: str) -> list[float]:
    """Which of WORDS stand in a text, as a direction; every text has a little of its own beside them."""
    said = [ALIKE.get(word, word) for word in text.lower().replace("?", "").split()]
    return [float(said.count(word)) for word in WORDS] + [0.1, 0.001 * (len(text) % 7)]


class TellingUpstream:
    """Answers chats, whole and streamed, and embeddings.

    Attributes:
        chats, embeddings: how many were asked for. embed_s: how long an embedding takes; embed_status: how it ends.
    """

    def __init__(self) -> None:
        self.chats = self.embeddings = 0
        self.embed_s, self.embed_status = 0.0, 200
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, kind, body = owner.answer(self.path, asked)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadedServer):
            def handle_error(self, *_: object) -> None:
                """Callers leave when they have waited long enough."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "TellingUpstream":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, str, bytes]:
        if path.endswith("/embeddings"):
            return self._embedding(asked)
        with self._lock:
            self.chats += 1
            number = self.chats
        said = f"{number}|{asked['messages'][-1]['content']}"
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        head = {"id": f"chatcmpl-{number}", "created": 1, "model": asked["model"]}
        if not asked.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            return 200, "application/json", json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
        chunks = [
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": said}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": usage},
        ]
        lines = [f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', **chunk})}\n\n" for chunk in chunks]
        return 200, "text/event-stream", ("".join(lines) + "data: [DONE]\n\n").encode()

    def _embedding(self, asked: dict[str, Any]) -> tuple[int, str, bytes]:
        with self._lock:
            self.embeddings += 1
        time.sleep(self.embed_s)
        if self.embed_status != 200:
            return self.embed_status, "application/json", b'{"error": {"message": "no", "type": "server_error"}}'
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [{"object": "embedding", "index": place, "embedding": vector(text)} for place, text in enumerate(texts)]
        usage = {"prompt_tokens": 1000, "total_tokens": 1000}
        return 200, "application/json", json.dumps({"object": "list", "data": data, "model": asked["model"], "usage": usage}).encode()
