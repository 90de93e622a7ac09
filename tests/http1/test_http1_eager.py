"""Reading before waiting: the score ends it where it finds nothing, and what is tried loses no bytes and no endings."""

import socket

import trio

from appliance.http1.eager import SCORE_AFTER_LOSS, SCORE_MAX, after_miss
from appliance.http1.link import Link


def linked() -> tuple[Link, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return Link(ours, 65536), theirs


def test_a_long_run_of_hits_is_over_after_two_misses() -> None:
    assert after_miss(after_miss(SCORE_MAX)) == SCORE_AFTER_LOSS


def test_a_connection_without_luck_stops_trying_at_the_first_miss() -> None:
    assert after_miss(0) == SCORE_AFTER_LOSS


async def test_a_cancelled_try_leaves_every_byte_in_the_socket() -> None:
    link, peer = linked()
    link.begin(b"ask", b"")
    peer.sendall(b"answer")
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.receive()
    assert scope.cancelled_caught
    assert await link.receive() == b"answer"
    link.close()
    peer.close()


async def test_an_end_met_by_a_try_is_an_orderly_end() -> None:
    link, peer = linked()
    link.begin(b"ask", b"")
    assert peer.recv(9) == b"ask"
    peer.close()
    assert await link.receive() == b""
    assert link.ended == "closed"
    link.close()


async def test_a_link_closed_by_somebody_else_during_a_try_does_not_end_as_if_its_peer_had() -> None:
    link, peer = linked()
    link.begin(b"ask", b"")
    ended: list[bytes] = []

    async def read() -> None:
        ended.append(await link.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(trio.lowlevel.checkpoint)
        await trio.lowlevel.checkpoint()
        link.close()
    assert (ended, link.ended) == ([b""], "dropped")
    peer.close()
