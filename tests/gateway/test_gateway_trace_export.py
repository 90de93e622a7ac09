"""The exporter against a real collector on a socket: what it sends, when it tries again, what it gives up, and that it counts all of it."""

import time
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from collector import Collector, collecting
from rig import free_port

from appliance.config.secret import Secret
from appliance.config.traces import Traces
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.trace_context import Trace
from appliance.gateway import trace_export
from appliance.gateway.trace_export import TraceExporter

PATIENCE_S = 30.0
KEY = "collector-key-0123456789"


@attrs.define
class Log:
    said: list[tuple[str, str, dict[str, Any]]] = attrs.field(factory=list)

    def __call__(self, level: str, event: str, **fields: Any) -> None:
        self.said.append((level, event, fields))

    def events(self) -> list[str]:
        return [event for _, event, _ in self.said]


@pytest.fixture
def collector():
    with collecting() as one:
        yield one


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_export, "PAUSE_MIN_S", 0.02)
    monkeypatch.setattr(trace_export, "PAUSE_MAX_S", 0.1)


def settings(url: str, **more: Any) -> Traces:
    return Traces(**{"endpoint": url, "interval_s": 0.02, **more})


def exporter(to: Traces | None) -> TraceExporter:
    one = TraceExporter("instance-1", Log(), time.time, lambda: 0.5)
    one.fit(to)
    return one


def record(number: int, attempts: int = 1) -> RequestRecord:
    now = trio.current_time()
    found = RequestRecord(f"id-{number}", f"request-{number}", now - 0.2, time.time(), tenant="acme", requested_model="m", model="m")
    found.attempts = [AttemptRecord("a", "openai", "m", "m", now - 0.1, now, "success", 200) for _ in range(attempts)]
    found.ended_at, found.status = now, 200
    found.trace = Trace(f"{number + 1:032x}", f"{number + 1:016x}", "", True, "", True, True)
    return found


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a thread
            await trio.sleep(0.005)


def counts(one: TraceExporter, **expected: int) -> bool:
    return one.spans == {"sent": 0, "rejected": 0, "failed": 0, "dropped": 0, **expected}


async def test_spans_come_with_what_they_come_from_and_the_headers_that_were_asked_for(collector: Collector, nursery: trio.Nursery) -> None:
    one = exporter(settings(collector.url, headers={"X-Api-Key": Secret(KEY)}, service_name="gate", resource={"cluster": "eu"}))
    nursery.start_soon(one.run)
    before_ns = time.time_ns()
    one.offer(record(1, attempts=2), {})
    await until(lambda: counts(one, sent=3))
    own, *children = collector.trace(f"{2:032x}")
    assert [child.parent_id for child in children] == [own.span_id] * 2
    assert abs(own.end_ns - before_ns) < PATIENCE_S * 1e9
    assert {name: own.resource[name] for name in ("service.name", "service.instance.id", "cluster")} == {
        "service.name": "gate", "service.instance.id": "instance-1", "cluster": "eu",
    }  # fmt: skip
    headers, path, _, _ = collector.posts[0]
    assert (path, headers["content-type"], headers["x-api-key"]) == ("/v1/traces", "application/x-protobuf", KEY)
    assert "content-encoding" not in headers
    assert headers["user-agent"].startswith("appliance/")


async def test_gzip_is_said_and_done(collector: Collector, nursery: trio.Nursery) -> None:
    one = exporter(settings(collector.url, compression="gzip"))
    for number in range(50):
        one.offer(record(number), {})
    nursery.start_soon(one.run)
    await until(lambda: counts(one, sent=100))
    assert collector.posts[0][0]["content-encoding"] == "gzip"
    assert len(collector.spans) == 100
    assert len(collector.bodies[0]) < 100 * 100


async def test_a_full_batch_does_not_wait_and_what_waits_is_sent_in_batches(collector: Collector, nursery: trio.Nursery) -> None:
    one = exporter(settings(collector.url, batch_max=10, interval_s=300))
    nursery.start_soon(one.run)
    for number in range(25):
        one.offer(record(number), {})
        await trio.lowlevel.checkpoint()
    await until(lambda: one.spans["sent"] == 40)
    assert one.waiting == 5
    assert len(collector.posts) == 2


async def test_a_body_has_a_bound(collector: Collector, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_export, "BODY_MAX_BYTES", 10_000)
    one = exporter(settings(collector.url))
    for number in range(100):
        one.offer(record(number), {})
    nursery.start_soon(one.run)
    await until(lambda: counts(one, sent=200))
    assert max(map(len, collector.bodies)) < 12_000
    assert len(collector.bodies) > 3


@pytest.mark.parametrize("status", [429, 502, 503, 504, 0])
async def test_a_collector_that_is_busy_or_lost_is_asked_again(collector: Collector, nursery: trio.Nursery, status: int) -> None:
    collector.script = [(status, {})] * 3
    one = exporter(settings(collector.url))
    nursery.start_soon(one.run)
    one.offer(record(1), {})
    await until(lambda: counts(one, sent=2))
    assert len(collector.posts) == 4
    assert len(set(collector.bodies)) == 1
    assert one.say.events() == ["traces_not_taken", "traces_taken_again"]  # said once, not for every try


@pytest.mark.parametrize("status", [300, 400, 401, 403, 404, 408, 413, 500])
async def test_any_other_answer_is_final(collector: Collector, nursery: trio.Nursery, status: int) -> None:
    collector.script = [(status, {})]
    one = exporter(settings(collector.url))
    nursery.start_soon(one.run)
    one.offer(record(1), {})
    await until(lambda: counts(one, failed=2))
    one.offer(record(2), {})
    await until(lambda: counts(one, failed=2, sent=2))
    assert [post[3] for post in collector.posts] == [status, 200]


async def test_a_retry_after_is_waited_for(collector: Collector, nursery: trio.Nursery) -> None:
    collector.script = [(429, {"retry-after": "1"})]
    one = exporter(settings(collector.url))
    nursery.start_soon(one.run)
    one.offer(record(1), {})
    await until(lambda: counts(one, sent=2))
    (_, _, first, _), (_, _, second, _) = collector.posts
    assert second - first >= 0.95


async def test_a_batch_is_given_up_in_time_and_the_next_one_goes_on(nursery: trio.Nursery) -> None:
    port = free_port()
    one = exporter(settings(f"http://127.0.0.1:{port}/v1/traces", retry_s=0.2))
    nursery.start_soon(one.run)
    one.offer(record(1), {})
    await until(lambda: counts(one, failed=2))
    with collecting(port) as late:
        one.offer(record(2), {})
        await until(lambda: counts(one, failed=2, sent=2))
        assert [span.trace_id for span in late.spans] == [f"{3:032x}"] * 2
    assert one.say.events() == ["traces_not_taken", "traces_taken_again"]


async def test_a_collector_that_does_not_answer_is_not_waited_for_longer_than_said(collector: Collector, nursery: trio.Nursery) -> None:
    collector.hold.clear()
    one = exporter(settings(collector.url, timeout_s=0.1, retry_s=0))
    nursery.start_soon(one.run)
    one.offer(record(1), {})
    await until(lambda: counts(one, failed=2))
    assert "timeout" in one.say.said[0][2]["problem"].lower(), "whichever of its phases it met"


async def test_what_finds_no_room_is_dropped_and_counted(collector: Collector, nursery: trio.Nursery) -> None:
    one = exporter(settings(collector.url, queue_max=3))
    for number in range(10):
        one.offer(record(number, attempts=2), {})
    assert one.waiting == 3
    assert counts(one, dropped=21)
    nursery.start_soon(one.run)
    await until(lambda: counts(one, dropped=21, sent=9))


async def test_spans_that_a_collector_rejects_are_counted_and_its_words_are_told_without_secrets(
    collector: Collector, nursery: trio.Nursery
) -> None:
    collector.rejects, collector.words = 1, f"key {KEY} may not send that" + "!" * 1000
    one = exporter(settings(collector.url, headers={"authorization": Secret(KEY)}))
    nursery.start_soon(one.run)
    for number in range(3):
        one.offer(record(number), {})
        await until(lambda number=number: len(collector.posts) == number + 1)
        await until(lambda number=number: sum(one.spans.values()) == 2 * (number + 1))
    assert counts(one, sent=3, rejected=3)
    ((level, event, fields),) = one.say.said
    assert (level, event) == ("warning", "traces_rejected")
    assert fields["problem"].startswith("key ******** may not send that")
    assert len(fields["problem"]) <= 256


async def test_a_secret_is_in_no_line_and_no_repr(nursery: trio.Nursery) -> None:
    one = exporter(settings(f"http://127.0.0.1:{free_port()}/", headers={"authorization": Secret(KEY)}, retry_s=0))
    nursery.start_soon(one.run)
    one.offer(record(1), {})
    await until(lambda: counts(one, failed=2))
    assert KEY not in repr(one.say.said) + repr(one) + repr(one.settings)


async def test_what_is_under_way_outlives_a_restart_of_the_service(collector: Collector) -> None:
    """Ended at any moment, as a supervisor's restart does, it loses nothing; a batch may come twice."""
    one = exporter(settings(collector.url, batch_max=4))
    for number in range(40):
        one.offer(record(number), {})
    for turn in range(60):
        with trio.move_on_after(0.0005 * turn):
            await one.run()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await until(lambda: one.waiting == 0 and len({span.span_id for span in collector.spans}) == 80)
        nursery.cancel_scope.cancel()
    assert one.spans["failed"] == one.spans["dropped"] == 0


async def test_a_request_that_cannot_be_encoded_costs_only_itself(collector: Collector, nursery: trio.Nursery) -> None:
    one = exporter(settings(collector.url))
    broken = record(1)
    broken.ended_at = None  # type: ignore[assignment]
    for each in (record(0), broken, record(2)):
        one.offer(each, {})
    with pytest.raises(TypeError):
        await one.run()
    nursery.start_soon(one.run)
    await until(lambda: counts(one, failed=2, sent=4))


async def test_the_end_sends_what_is_left(collector: Collector) -> None:
    one = exporter(settings(collector.url, batch_max=10, interval_s=300))
    for number in range(35):
        one.offer(record(number), {})
    await one.flush()
    assert counts(one, sent=70)
    assert len(collector.posts) == 4


async def test_the_end_does_not_wait_longer_than_said_and_says_what_is_lost(collector: Collector) -> None:
    collector.hold.clear()
    one = exporter(settings(collector.url, flush_s=0.2))
    one.offer(record(1), {})
    with trio.fail_after(PATIENCE_S / 10):
        await one.flush()
    assert counts(one, failed=2)
    assert one.say.said == [("warning", "traces_lost", {"spans": 2})]


async def test_an_end_with_nothing_to_send_loads_no_http_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_export, "_httpx", lambda: pytest.fail("loaded"))
    await exporter(None).flush()
    await exporter(settings("http://127.0.0.1:1/")).flush()


async def test_other_settings_hold_at_once_even_while_a_collector_asks_for_a_pause(collector: Collector, nursery: trio.Nursery) -> None:
    collector.script = [(429, {"retry-after": "60"})]
    one = exporter(settings(collector.url, retry_s=3600))
    nursery.start_soon(one.run)
    one.offer(record(1), {})
    await until(lambda: one.say.events() == ["traces_not_taken"])
    one.fit(settings(collector.url, service_name="moved"))
    await until(lambda: counts(one, sent=2))
    one.offer(record(2), {})
    await until(lambda: counts(one, sent=4))
    assert collector.trace(f"{3:032x}")[0].resource["service.name"] == "moved"


async def test_turned_off_it_sends_what_is_left_and_ends(collector: Collector) -> None:
    one = exporter(settings(collector.url, interval_s=300))
    one.offer(record(1), {})
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE_S):
            nursery.start_soon(one.run)
            await trio.sleep(0.05)
            one.fit(None)
    assert counts(one, sent=2)
    one.offer(record(2), {})
    assert one.waiting == 0
