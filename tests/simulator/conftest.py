"""A running simulator on a real socket, and a raw connection to see what exactly it sends."""

import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import anthropic
import attrs
import httpx
import openai
import orjson
import pytest
import trio

from appliance.http1.listen import ListenFault
from appliance.simulator.serve import open_sockets, serve
from appliance.simulator.settings import Settings, Speed

SILENT_S = 1.0  # after so long without a byte a connection counts as silent, where that is expected
PATIENCE_S = 30.0  # and where it is not: the machine may be busy


@attrs.frozen
class Wire:
    """Every byte that came, and how it ended: "fin", "reset" or "silent"."""

    raw: bytes
    end: str

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def status(self) -> int:
        return int(self.head.split(b" ")[1]) if self.raw else 0

    def header(self, name: str) -> str | None:
        match = re.search(rb"(?im)^" + name.encode() + rb": ?(.*?)\r?$", self.head)
        return match[1].decode() if match else None

    @property
    def chunked(self) -> bool:
        return self.header("transfer-encoding") == "chunked"

    @property
    def complete(self) -> bool:
        """Whether the message ended as HTTP says."""
        body = self.raw.partition(b"\r\n\r\n")[2]
        return body.endswith(b"0\r\n\r\n") if self.chunked else len(body) == int(self.header("content-length") or -1)

    @property
    def chunks(self) -> list[bytes]:
        """The chunks that came whole."""
        rest, found = self.raw.partition(b"\r\n\r\n")[2], []
        while (line := rest.find(b"\r\n")) >= 0:
            size = int(rest[:line], 16)
            if not size or len(rest) < line + 2 + size:
                break
            found.append(rest[line + 2 : line + 2 + size])
            rest = rest[line + 4 + size :]
        return found

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks) if self.chunked else self.raw.partition(b"\r\n\r\n")[2]

    @property
    def events(self) -> list[bytes]:
        return [e for e in re.split(rb"\r?\n\r?\n", self.body) if e]

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Sim:
    """Talks to one simulator."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])

    @staticmethod
    def quiet_s(end: str) -> float:
        """How long is waited for the next byte of a connection that should end so."""
        return SILENT_S if end == "silent" else PATIENCE_S

    async def wire(
        self,
        model: str = "sim",
        *,
        stream: bool = False,
        path: str = "/v1/chat/completions",
        fault: str = "",
        headers: Mapping[str, str] = MappingProxyType({}),
        quiet_s: float = PATIENCE_S,
        **fields: Any,
    ) -> Wire:
        """One request over a connection of its own, to its end."""
        if path.endswith("chat/completions") and "messages" not in fields:
            fields["messages"] = [{"role": "user", "content": "Tell me something."}]
        body = orjson.dumps({"model": model, "stream": stream, **fields})
        head = f"POST {path} HTTP/1.1\r\nhost: sim\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
        if fault:
            head += f"x-sim-fault: {fault}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return await self.raw(head.encode() + b"\r\n" + body, quiet_s)

    async def raw(self, request: bytes, quiet_s: float = PATIENCE_S) -> Wire:
        connection = await trio.open_tcp_stream("127.0.0.1", self.port)
        received, end = b"", "silent"
        async with connection:
            await connection.send_all(request)
            with trio.move_on_after(quiet_s) as quiet:
                while True:
                    try:
                        data = await connection.receive_some(1_048_576)
                    except trio.BrokenResourceError:
                        end = "reset"
                        break
                    if not data:
                        end = "fin"
                        break
                    received += data
                    quiet.deadline = trio.current_time() + quiet_s
        return Wire(received, end)

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_S, verify=False)  # no TLS here, and loading its roots takes 30 ms

    def openai(self, key: str = "sk-test") -> openai.AsyncOpenAI:
        bare = openai.DefaultAsyncHttpxClient(verify=False)
        return openai.AsyncOpenAI(base_url=self.url + "/v1", api_key=key, max_retries=0, timeout=PATIENCE_S, http_client=bare)

    def anthropic(self, key: str = "sk-ant-test", **options: Any) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=self.url, api_key=key, max_retries=0, timeout=PATIENCE_S, **options)

    async def stats(self, last: int = 20) -> Any:
        async with self.http() as client:
            return (await client.get(f"/sim/stats?last={last}")).json()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Sim]:
    sockets = open_sockets(["127.0.0.1:0"])
    assert not isinstance(sockets, ListenFault)
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(partial(serve, sockets, settings))
        yield Sim(urls[0])
        nursery.cancel_scope.cancel()


@pytest.fixture
async def sim() -> AsyncIterator[Sim]:
    """A simulator with the default settings, but ten times as quick."""
    async with running(Settings(speed=Speed(0.001, 5000))) as talk:
        yield talk


@pytest.fixture
def start() -> Callable[[Settings], AbstractAsyncContextManager[Sim]]:
    """`async with start(Settings(...)) as sim`."""
    return running


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The URL of a simulator in a thread of its own, for SDKs that block."""
    ready = threading.Event()
    made: list[tuple[str, trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def run() -> None:
        async with running(settings) as talk:
            with trio.CancelScope() as scope:
                made.append((talk.url, trio.lowlevel.current_trio_token(), scope))
                ready.set()
                await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(run,), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE_S)
    url, token, scope = made[0]
    try:
        yield url
    finally:
        trio.from_thread.run_sync(scope.cancel, trio_token=token)
        thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(Settings(speed=Speed(0.0, 0.0))) as at:
        yield at
