"""The smuggling corpus: every request of `smuggling/refused.json` is refused, however its bytes arrive and whatever follows them.

An entry has a name, the status to be answered, and the raw bytes (latin-1, one character a byte); `body` marks those whose fault is in
the body, so that the application is called and sees BodyBroken.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import trio
from http1_engine import QUICK, Served, attrs, body_of, reply, serving

from appliance.http1.request_body import BodyBroken

CORPUS = json.loads(Path(__file__).with_name("smuggling").joinpath("refused.json").read_text())
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def raw(entry: dict[str, Any]) -> bytes:
    return str(entry["raw"]).encode("latin-1")


class Calls:
    """Which requests reached the application, and what it met in their bodies."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.broken = 0

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        try:
            await body_of(receive)
        except BodyBroken:
            self.broken += 1
            raise
        await reply(send, b"served")


async def refused(served: Served, calls: Calls, entry: dict[str, Any], *, byte_by_byte: bool = False, junk: bytes = b"") -> str | None:
    """What is wrong with how this entry was treated."""
    calls.paths.clear()
    calls.broken = 0
    client = await served.connect()
    try:
        if byte_by_byte:
            for byte in raw(entry):
                await client.send(bytes([byte]))
                await trio.lowlevel.checkpoint()
        else:
            await client.send(raw(entry) + junk)
    except trio.BrokenResourceError:
        pass  # it did not wait for the rest, which is its right
    data, _ = await client.rest()
    served.clients.remove(client)
    client.sock.close()
    if not data.startswith(b"HTTP/1.1 %d " % entry["status"]):
        return f"{entry['name']}: answered {data[:60]!r}"
    if len(re.findall(rb"HTTP/1\.1 [0-9]", data)) != 1 or b"connection: close\r\n" not in data:
        return f"{entry['name']}: the connection went on: {data!r}"
    if calls.paths != (["/"] if entry.get("body") else []) or calls.broken != bool(entry.get("body")):
        return f"{entry['name']}: the application saw {calls.paths}, broken {calls.broken}"
    return None


LIMITS = attrs.evolve(QUICK, linger_s=0.1)


@pytest.mark.parametrize("junk", [b"", SMUGGLED, b"\0" * 100, b"\r\n\r\n" + SMUGGLED * 50], ids=["alone", "request", "nul", "many"])
async def test_corpus_is_refused_whatever_follows(junk: bytes):
    calls = Calls()
    async with serving(calls.app, LIMITS) as served:
        wrong = [await refused(served, calls, entry, junk=junk) for entry in CORPUS]
        assert list(filter(None, wrong)) == []
        assert served.errors == []


async def test_corpus_is_refused_byte_by_byte():
    calls = Calls()
    async with serving(calls.app, LIMITS) as served:
        wrong = [await refused(served, calls, entry, byte_by_byte=True) for entry in CORPUS]
        assert list(filter(None, wrong)) == []
        assert served.errors == []


async def test_refusals_come_at_once_and_not_by_timeout():
    calls = Calls()
    async with serving(calls.app, attrs.evolve(QUICK, linger_s=0.05)) as served:
        start = trio.current_time()
        await refused(served, calls, {"name": "", "status": 400, "raw": "GET / HTTP/1.1\nHost: x\n\n"})
        await refused(served, calls, {"name": "", "status": 400, "raw": "\x16\x03\x01"})
        assert trio.current_time() - start < 5 < QUICK.header_read_s


def test_corpus_names_every_entry_once():
    names = [entry["name"] for entry in CORPUS]
    assert len(names) == len(set(names)) > 150
