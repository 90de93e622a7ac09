"""What leaves together: before the loop waits, in order, bounded, and whole where the socket takes only part of it."""

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
from scripted_upstream import OK, Peer, post, upstream, whole
from stubborn_socket import Stubborn

from appliance.http1 import dial
from appliance.http1.arrivals import Arrivals
from appliance.http1.client import Http1Transport
from appliance.http1.departures import LEAVING_MAX_BYTES, TOGETHER_MAX, Departures
from appliance.http1.origin import Origin
from appliance.http1.traffic import Traffic
from appliance.http1.transport import Failure, Hold, PoolStats, TransportLimits

SMALLEST_BUFFER = 1  # the kernel makes its minimum of it, 4,608 bytes
BODY = b"".join(b"%06d" % number for number in range(2_000))  # 12 kB
assert len(BODY) < LEAVING_MAX_BYTES - 1_000


# the service -----------------------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def departing(errors: list[Exception] | None = None) -> AsyncIterator[Departures]:
    departures = Departures() if errors is None else Departures(errors.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(departures.run)
        await trio.testing.wait_all_tasks_blocked()
        yield departures
        nursery.cancel_scope.cancel()


async def test_all_leave_after_the_last_task_of_a_pass_and_before_the_loop_waits():
    seen: list[str] = []

    async def task(name: str) -> None:
        seen.append(f"{name} runs")
        departures.add(lambda: seen.append(f"{name} leaves"))

    async with departing() as departures:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task, "one")
            nursery.start_soon(task, "two")
        assert sorted(seen[:2]) == ["one runs", "two runs"]
        assert [line.split()[0] for line in seen[2:]] == [line.split()[0] for line in seen[:2]]
        assert all(line.endswith("leaves") for line in seen[2:])
        assert len(seen) == 4


async def test_what_has_to_be_written_first_is_written_before_anything_leaves():
    seen: list[str] = []
    async with departing() as departures:
        departures.add(lambda: seen.append("leaves"))
        assert departures.before(lambda: seen.append("written"))
        await trio.lowlevel.checkpoint()
        assert seen == ["written", "leaves"]
    assert not departures.before(lambda: seen.append("never"))
    assert seen == ["written", "leaves"]


async def test_what_is_to_be_written_right_after_its_answer_was_added_is_written_before_it_however_many_wait():
    """An answer parts, and in the same step its end is held: it must not be the one with which too many wait."""
    seen: list[str] = []
    held: list[str] = []

    def write() -> None:
        seen.extend(held)
        held.clear()

    async with departing() as departures:
        for number in range(2 * TOGETHER_MAX + 1):
            departures.add(partial(seen.append, f"answer {number}"))
            if not held:
                departures.before(write)
            held.append(f"end {number}")
        await trio.lowlevel.checkpoint()
    for number in range(2 * TOGETHER_MAX + 1):
        assert seen.index(f"end {number}") < seen.index(f"answer {number}"), number


async def test_who_writes_is_called_once_however_often_it_asks():
    seen: list[str] = []

    def write() -> None:
        seen.append("written")

    async with departing() as departures:
        assert not departures.before(write)  # whatever it was to be before has left already, or waits for nobody
        departures.add(lambda: seen.append("leaves"))
        for _ in range(2 * TOGETHER_MAX):
            assert departures.before(write)
        await trio.lowlevel.checkpoint()
        assert not departures.before(write)
    assert seen == ["written", "leaves"]


async def test_no_more_than_so_many_wait():
    left: list[int] = []
    async with departing() as departures:
        for number in range(TOGETHER_MAX + 1):
            departures.add(partial(left.append, number))
        assert left == list(range(TOGETHER_MAX))
        await trio.lowlevel.checkpoint()
        assert left == list(range(TOGETHER_MAX + 1))


async def test_one_that_raises_is_told_of_and_keeps_nobody():
    errors: list[Exception] = []
    left: list[int] = []
    async with departing(errors) as departures:
        for _ in range(2):
            departures.add(lambda: [].pop())
            departures.add(lambda: left.append(1))
            await trio.lowlevel.checkpoint()
    assert left == [1, 1]
    assert [type(error) for error in errors] == [IndexError, IndexError]


async def test_at_its_end_what_waits_leaves_and_nothing_is_taken_any_more():
    left: list[int] = []
    async with departing() as departures:
        departures.add(lambda: left.append(1))
    assert left == [1]
    assert not departures.running


async def test_what_is_added_in_the_very_pass_of_the_end_leaves():
    """Where it was asked whether anybody sees to that, whichever of the two tasks is first."""
    left: list[int] = []
    added = 0

    async def late(departures: Departures) -> None:
        nonlocal added
        try:
            await trio.sleep_forever()
        finally:
            if departures.running:
                added += 1
                departures.add(lambda: left.append(1))

    for _ in range(20):
        departures = Departures()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(departures.run)
            nursery.start_soon(late, departures)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert len(left) == added > 0


# requests --------------------------------------------------------------------------------------------------------------------------------


async def once(peer: Peer) -> None:
    while await peer.request():
        await peer.send(OK)


async def test_a_request_given_up_in_its_own_pass_never_leaves():
    async with upstream(once) as server:
        transport = server.transport()
        assert await whole(await transport.send(post())) == b"ok"
        hold = Hold()
        server.departures.add(lambda: hold.end() is None)
        assert isinstance(await transport.send(post(b"never"), hold), Failure)
        assert transport.stats() == PoolStats(0, 0, 0)
        await server.peers[0].ended.wait()
        assert server.peers[0].requests == 1


async def test_a_request_that_the_socket_takes_in_part_arrives_whole(monkeypatch: pytest.MonkeyPatch):
    """The smallest send buffer, and an upstream that reads late: the rest is sent while the answer is waited for."""
    monkeypatch.setattr(dial, "SOCKET_OPTIONS", (*dial.SOCKET_OPTIONS, (socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)))
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            await trio.sleep(0.02)
            request = await peer.request()
            if not request:
                return
            seen.append(request)
            await peer.send(OK)

    async with upstream(script) as server:
        transport = server.transport()
        for _ in range(3):
            assert await whole(await transport.send(post(BODY))) == b"ok"
        assert [request.endswith(b"\r\n\r\n" + BODY) for request in seen] == [True] * 3
        assert len(server.peers) == 1


async def test_an_upstream_that_resets_before_the_request_leaves_is_a_failure_of_that_connection_alone():
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.index == 0:
            await trio.sleep(0.01)
            peer.reset()
        else:
            await once(peer)

    async with upstream(script) as server:
        transport = server.transport()
        assert await whole(await transport.send(post())) == b"ok"
        await server.peers[0].ended.wait()
        answer = await transport.send(post())
        assert not isinstance(answer, Failure)
        assert await whole(answer) == b"ok"


def answer_in_a_thread(door: socket.socket, bodies: tuple[bytes, ...]) -> None:
    """An upstream that gives the client's event loop nothing to wake up for but its answers."""
    with door, door.accept()[0] as sock:
        sock.settimeout(12)  # the next time limit of the loop is later
        for body in bodies:
            time.sleep(0.05)  # the request meets the smallest send buffer, full: its rest has to wait for us
            data = b""
            while not data.endswith(body):
                data += sock.recv(65_536)
            sock.sendall(OK)


async def test_the_rest_of_a_request_waits_for_no_other_event(monkeypatch: pytest.MonkeyPatch):
    """How long the loop waits was settled before anything left, and nothing else may be due for long."""
    monkeypatch.setattr(dial, "SOCKET_OPTIONS", (*dial.SOCKET_OPTIONS, (socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST_BUFFER)))
    door = socket.create_server(("127.0.0.1", 0))
    door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    origin = Origin.parse(f"http://127.0.0.1:{door.getsockname()[1]}")
    assert isinstance(origin, Origin)
    bodies = (BODY, b"{}", BODY)  # the answer to the second lets itself be waited for, so that the third is not tried to be read at once
    async with departing() as departures, trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, answer_in_a_thread, door, bodies)
        transport = Http1Transport(origin, TransportLimits(), traffic=Traffic(Arrivals(), departures))
        for body in bodies:
            assert await whole(await transport.send(post(body))) == b"ok"
        await transport.aclose()


async def test_without_the_service_a_request_is_sent_at_once():
    async with upstream(once) as server:
        transport = Http1Transport(server.origin(), TransportLimits(), traffic=Traffic(Arrivals()))
        assert await whole(await transport.send(post())) == b"ok"
        await transport.aclose()


async def test_a_request_of_which_the_socket_takes_nothing_is_sent_when_it_does():
    async with upstream(once) as server:
        transport = server.transport()
        assert await whole(await transport.send(post())) == b"ok"
        link = transport._pool._idle[0].link
        link._sock = stubborn = Stubborn(link._sock)
        stubborn.refusal = BlockingIOError()
        assert await whole(await transport.send(post(BODY))) == b"ok"
        assert server.peers[0].requests == 2


async def test_an_answer_to_a_request_that_could_not_leave_is_the_last_of_its_connection():
    """It may say why, but what follows on a connection with a request cut short would be read as the rest of that."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await trio.sleep(0.02)
        await peer.send(OK)
        await peer.eof()

    async with upstream(script) as server:
        transport = server.transport()
        assert await whole(await transport.send(post())) == b"ok"
        link = transport._pool._idle[0].link
        link._sock = stubborn = Stubborn(link._sock)
        stubborn.refusal = BrokenPipeError()
        assert await whole(await transport.send(post())) == b"ok"
        assert transport.stats() == PoolStats(0, 0, 0)
