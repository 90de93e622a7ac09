"""The answer's way out: a keep-alive never comes after the last word, nor between two pieces."""

from typing import Any

import trio

from appliance.core.record import RequestRecord
from appliance.gateway.call import Outlet


def outlet(sent: list[dict[str, object]]) -> Outlet:
    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    return Outlet(send, RequestRecord("1", "1", 0.0, 0.0), 0.0)


async def test_no_keep_alive_once_the_last_word_is_being_said():
    sent: list[dict[str, object]] = []
    one = outlet(sent)
    one.closing = True
    await one.keep_alive(lambda: b": keep-alive\n\n", list)
    assert sent == []
    assert not one.started


async def test_a_keep_alive_starts_the_answer_once():
    sent: list[dict[str, object]] = []
    one = outlet(sent)
    await one.keep_alive(lambda: b": a\n\n", list)
    await one.keep_alive(lambda: b": b\n\n", list)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body", "http.response.body"]
    await one.write(b"data: x\n\n", more=False)
    await one.keep_alive(lambda: b": c\n\n", list)
    assert len(sent) == 4


class SlowEngine:
    """One that sends a head at once and takes its time, as Hypercorn does; like it, it wants no second message before the first is out."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.busy = False

    async def send(self, message: Any) -> None:
        assert not self.busy, "two at once"
        self.busy = True
        await trio.sleep(1)
        self.busy = False
        self.sent.append("head" if message["type"] == "http.response.start" else message["body"].decode())


async def test_no_keep_alive_comes_between_a_head_and_the_first_piece(autojump_clock: Any) -> None:
    engine = SlowEngine()
    one = Outlet(engine.send, RequestRecord("1", "1", 0.0, 0.0), 0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.start, 200, [])
        await trio.sleep(0.5)
        await one.keep_alive(lambda: b"kept", list)
        await trio.sleep(1)
        await one.write(b"piece")
    assert engine.sent == ["head", "piece"]


async def test_a_keep_alive_that_begins_the_answer_is_numbered_before_what_is_read_meanwhile(autojump_clock: Any) -> None:
    engine, numbers = SlowEngine(), iter(range(9))
    one = Outlet(engine.send, RequestRecord("1", "1", 0.0, 0.0), 0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.keep_alive, lambda: b"kept %d" % next(numbers), list)
        await trio.sleep(0.5)
        await one.write(b"piece %d" % next(numbers))
    assert engine.sent == ["head", "kept 0", "piece 1"]
