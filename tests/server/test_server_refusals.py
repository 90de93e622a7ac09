"""What an engine refuses before the application runs is counted and said in the log, with status and reason and nothing of what was sent;
a flood of it does not flood the log.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing
from raw_client import RawClient
from rig import Gateway, Simulator, eventually, one_backend, running

from appliance.server.refusal_book import LINES_MAX_PER_S, SUMMARY_S, RefusalBook

SECRET = "sk-in-a-broken-head"
FLOOD = 200


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("refusals")
    sim = Simulator(folder)
    with running(sim):
        served = Gateway(folder, one_backend(sim), head="limits = { head_max_bytes = 4096, header_read_s = 2 }")
        with running(served):
            yield served


def head(*lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"POST /v1/chat/completions HTTP/{version}", f"Authorization: Bearer {SECRET}", *lines, "", ""]).encode()


BOTH = ("url", "hypercorn_url")
OURS = ("url",)
"""Hypercorn has no time limit for a head, and h11 no other words for these two than that the message is malformed or the head too large."""

BROKEN = [
    pytest.param(head("Host: a", "Content-Length: 3", "Transfer-Encoding: chunked"), 400, "framing", BOTH, id="two framings"),
    pytest.param(b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target", BOTH, id="two places"),
    pytest.param(head("Content-Length: 0"), 400, "target", OURS, id="no Host"),
    pytest.param(head("Host: a", "no colon here"), 400, "malformed", BOTH, id="no header line"),
    pytest.param(head("Host: a", f"X: {'y' * 70_000}"), 431, "too_large", BOTH, id="head too large"),
    pytest.param(head("Host: a", "Transfer-Encoding: gzip, chunked"), 501, "unsupported", BOTH, id="another transfer coding"),
    pytest.param(head("Host: a", version="2.0"), 505, "unsupported", BOTH, id="another version"),
    pytest.param(b"GET /" + b"a" * 5000, 414, "too_large", OURS, id="target too long"),
    pytest.param(head("Host: a")[:-2], 408, "timeout", OURS, id="a head that does not end"),
]  # fmt: skip


def lines(gateway: Gateway, event: str, **fields: Any) -> list[dict[str, Any]]:
    """Lines of the log that have these fields."""
    wanted = {"event": event, **fields}.items()
    return [line for line in gateway.events() if wanted <= line.items()]


@pytest.mark.parametrize(("message", "status", "reason", "urls"), BROKEN)
def test_a_refusal_of_the_engine_is_counted_and_logged_without_what_was_sent(
    gateway: Gateway, message: bytes, status: int, reason: str, urls: tuple[str, ...]
) -> None:
    series = f'appliance_engine_refusals_total{{status="{status}",reason="{reason}"}}'
    assert series in gateway.metrics_text()
    for url in urls:
        counted = gateway.metric(series)
        with RawClient(getattr(gateway, url)) as client:
            client.send(message)
            assert client.read_head()[0] == status
        assert gateway.metric(series) == counted + 1
        line = eventually(lambda: lines(gateway, "refused", level="info", status=status, reason_class=reason))[-1]
        assert line["reason"]
        assert set(line) == {"ts", "level", "event", "status", "reason", "reason_class"}
    assert SECRET not in gateway.log


def test_a_flood_is_counted_whole_and_costs_the_log_a_few_lines(gateway: Gateway) -> None:
    series = 'appliance_engine_refusals_total{status="400",reason="target"}'
    counted = gateway.metric(series)
    with contextlib.ExitStack() as flood:
        clients = [flood.enter_context(RawClient(gateway.url)) for _ in range(FLOOD)]
        for client in clients:  # all at once, or a busy machine makes no flood of it
            client.send(head("Content-Length: 0"))
        for client in clients:
            client.read_head()
    assert gateway.metric(series) == counted + FLOOD

    def accounted() -> bool:
        left_out = sum(line["count"] for line in lines(gateway, "refused_more"))
        return bool(left_out) and len(lines(gateway, "refused", reason_class="target")) + left_out == counted + FLOOD

    eventually(accounted)
    assert len(lines(gateway, "refused", reason_class="target")) < FLOOD / 2


async def test_lines_are_bounded_by_the_second_and_the_rest_is_said_in_one(autojump_clock: trio.testing.MockClock) -> None:
    written: list[dict[str, Any]] = []
    refusals = RefusalBook(lambda event, **fields: written.append({"event": event, **fields}), trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refusals.summarise)
        for _ in range(5):
            refusals.enter(400, "no Host")
        await trio.sleep(3 * SUMMARY_S)
        assert len(written) == 5
        for _ in range(LINES_MAX_PER_S + 7):
            refusals.enter(400, "no Host")
        assert len(written) == 5 + LINES_MAX_PER_S
        await trio.sleep(1.5 * SUMMARY_S)
        assert written[-1] == {"event": "refused_more", "count": 7}
        refusals.enter(408, "the request head did not arrive in time")
        assert written[-1]["reason_class"] == "timeout"
        for _ in range(LINES_MAX_PER_S):
            refusals.enter(400, "no Host")
        nursery.cancel_scope.cancel()
    assert written[-1] == {"event": "refused_more", "count": 1}
    assert refusals.counts[400, "target"] == 5 + 2 * LINES_MAX_PER_S + 7


def test_without_an_access_log_refusals_are_counted_alone(capfd: pytest.CaptureFixture[str]) -> None:
    refusals = RefusalBook(None, lambda: 0.0)
    for _ in range(LINES_MAX_PER_S + 1):
        refusals.enter(431, "the request head is too large")
    assert refusals.counts[431, "too_large"] == LINES_MAX_PER_S + 1
    assert capfd.readouterr() == ("", "")
