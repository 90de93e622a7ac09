"""Callers of a soak: every language, streams and whole answers, a share of whom leave somewhere in the middle; and a backend's bad days.

They ask as fast as they are answered, on bare sockets; what each of them was told is kept as counts, and the ids of the requests that were
answered with 200, for the ledger to be held to.
"""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
from raw_client import RawClient, request_bytes
from rig import Gateway, chat

LEAVING = 0.3
"""The share of callers who hang up before they have their answer."""
LEAVES_WITHIN_S = 0.25
USERS = 40
ROUTES = ("mixed", "mixed", "hedged", "cached", "trial", "shadowed", "drained", "estimated", "claude", "gemini", "cohere", "bedrock")
SPEEDS = ("tps=0", "tps=0", "ttft=5ms,tps=500", "ttft=40ms,tps=200")
FAULTS = (
    "503;p=0.5", "429=1s;p=0.5", "cut=5;p=0.5", "reset=3;p=0.5", "stall=3;for=300ms", "error_event=4", "garbage_sse=3", "hang;p=0.5",
    "huge_line=200k", "early_head=300ms", "comments=5;every=20ms", "truncate=5", "no_usage", "drop", "empty", "burst", "no_done",
)  # fmt: skip
FAULTY = 0.35
"""The share of requests that ask for a fault (`x-sim-fault`, which this gateway forwards); standing faults come on top."""


@attrs.frozen
class Asking:
    """One request: where, with what, and how the backend is to behave."""

    path: str
    body: dict[str, Any]
    speed: str
    fault: str


def asking(draw: random.Random) -> Asking:
    """A request in some language, of some route, at some speed, with some fault or none."""
    fault = draw.choice(FAULTS) if draw.random() < FAULTY else ""
    path, body = spoken(draw, f"{draw.choice(ROUTES)}-sim", f"Question {draw.randrange(300)} [[tokens={draw.randrange(1, 60)}]]")
    return Asking(path, body, draw.choice(SPEEDS), fault)


def spoken(draw: random.Random, model: str, text: str) -> tuple[str, dict[str, Any]]:
    """Path and body in a caller's language."""
    stream = {"stream": True} if draw.random() < 0.6 else {}
    match draw.choice(("chat", "chat", "chat", "messages", "responses", "gemini", "completion", "embedding", "rerank", "count")):
        case "messages":
            return "/v1/messages", {"model": model, "max_tokens": 80, "messages": [{"role": "user", "content": text}], **stream}
        case "responses":
            return "/v1/responses", {"model": model, "input": text, "store": False, **stream}
        case "gemini":
            method = "streamGenerateContent?alt=sse" if stream else "generateContent"
            return f"/v1beta/models/{model}:{method}", {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        case "completion":
            return "/v1/completions", {"model": model, "prompt": text, **stream}
        case "embedding":
            return "/v1/embeddings", {"model": model, "input": text, "dimensions": 64}
        case "rerank":
            return "/v1/rerank", {"model": model, "query": text, "documents": ["one", "two", text]}
        case "count":
            return "/v1/messages/count_tokens", {"model": model, "messages": [{"role": "user", "content": text}]}
    certain = {"temperature": 0} if draw.random() < 0.5 else {}
    return "/v1/chat/completions", chat(model, text, max_tokens=80, **certain, **stream)


@attrs.define
class Callers:
    """Threads that ask until they are told to stop.

    Attributes:
        statuses: how many were told what; `left` are those who hung up, `cut` those whose connection ended before the answer did.
        served: request ids of those that were told 200 and heard all of it. asked: what each request was, by its id, whole or not.
    """

    gateway: Gateway
    seed: int
    at_once: int
    over: threading.Event = attrs.field(factory=threading.Event)
    statuses: Counter[int | str] = attrs.field(factory=Counter)
    served: set[str] = attrs.field(factory=set)
    asked: dict[str, Asking] = attrs.field(factory=dict)
    wrong: list[str] = attrs.field(factory=list)
    threads: list[threading.Thread] = attrs.field(factory=list)

    def start(self) -> None:
        self.threads = [threading.Thread(target=self._ask_on, args=(number,)) for number in range(self.at_once)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    @property
    def answered(self) -> int:
        return self.statuses.total()

    def _ask_on(self, caller: int) -> None:
        draw = random.Random(self.seed * 1000 + caller)
        number = 0
        while not self.over.is_set():
            number += 1
            try:
                self._ask(draw, f"soak-{caller}-{number}")
            except Exception as error:  # a caller's thread must not die unheard
                self.wrong.append(f"{type(error).__name__}: {error}")

    def _ask(self, draw: random.Random, request_id: str) -> None:
        asked = asking(draw)
        url = self.gateway.url if draw.random() < 0.8 else self.gateway.hypercorn_url
        headers = {"x_request_id": request_id, "x_user_id": f"user-{draw.randrange(USERS)}", "x_sim_speed": asked.speed}
        data = request_bytes(asked.body, asked.path, **headers, **({"x_sim_fault": asked.fault} if asked.fault else {}))
        leaves, self.asked[request_id] = draw.random() < LEAVING, asked
        with RawClient(url) as client:
            if leaves:
                self.statuses["left"] += 1
                self._ask_and_leave(client, draw, data)
                return
            client.send(data)
            try:
                status, told = client.read_head()
                client.read_body(told)
            except (EOFError, ConnectionError):
                self.statuses["cut"] += 1
                return
            self.statuses[status] += 1
            if status == 200:
                self.served.add(request_id)

    def _ask_and_leave(self, client: RawClient, draw: random.Random, data: bytes) -> None:
        if draw.random() < 0.15:
            data = data[: draw.randrange(1, len(data))]
        with contextlib.suppress(ConnectionError, TimeoutError):
            client.send(data)
            end = time.monotonic() + draw.random() * LEAVES_WITHIN_S
            while (left := end - time.monotonic()) > 0:
                client.sock.settimeout(left)
                if not client.sock.recv(draw.choice((1, 100, 65536))):
                    break
        client.leave(draw.choice(("close", "fin", "rst")))


def every(period_s: float, over: threading.Event, act: Callable[[int], None]) -> threading.Thread:
    """A thread that acts again and again until `over`, numbered from 0."""

    def run() -> None:
        number = 0
        while not over.wait(period_s):
            act(number)
            number += 1

    thread = threading.Thread(target=run)
    thread.start()
    return thread
