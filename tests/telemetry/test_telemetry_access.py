"""The access log: one line per request, complete, free of secrets and of line breaks, and never in the way of the event loop."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from telemetry_samples import EVERY_KIND, RATE_LIMITED, STREAM, SUCCESS, UPSTREAM_FAULT, attempt, request

from appliance.core.fault import Fault, FaultKind
from appliance.core.trace_context import Trace
from appliance.telemetry.access import MIDDLES_MAX, AccessLog, SecondClock, access_line, json_bytes, level_of, text_bytes, timestamp
from appliance.telemetry.sink import LineSink

FIELDS = {
    "ts", "level", "event", "id", "request_id", "tenant", "key", "client", "method", "path", "route", "requested_model", "model", "backend",
    "status", "error_type", "error", "stream", "attempts", "input_tokens", "output_tokens", "cost_usd", "ttft_ms", "duration_ms",
    "overhead_ms", "bytes_in", "bytes_out",
}  # fmt: skip


def logged(tmp_path, *records, format="json", level="info") -> list[str]:
    path = tmp_path / "access.log"
    with path.open("wb") as stream, LineSink(stream.fileno()) as sink:
        log = AccessLog(sink, format, level)
        for record in records:
            log.write(record)
    return path.read_text().splitlines()


@pytest.mark.parametrize("record", EVERY_KIND)
def test_every_line_is_json_with_every_field(tmp_path, record) -> None:
    (line,) = logged(tmp_path, record)
    fields = json.loads(line)
    assert set(fields) == FIELDS
    assert fields["event"] == "request"
    assert list(fields)[:3] == ["ts", "level", "event"]


TRACE = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")

ODD = (
    request(attempt(), request_id='q"\\\n', client="é", key="k\udc80"),
    request(attempt(), model="m\udc80", method='P"', route="ü"),
    request(attempt(), path="/v1beta/models/g:generateContent?key=sk-secret"),
    request(attempt(), path="/" + "p" * 1000, requested_model="m" * 1000),
    request(attempt(took=9.0), cost_usd=1.5e-7, status=0, bytes_in=3, bytes_out=2**40),
    request(attempt(), trace=TRACE),
)


@pytest.mark.parametrize("record", EVERY_KIND + ODD)
def test_a_line_written_from_remembered_parts_is_the_line_written_anew(tmp_path, record) -> None:
    first, second = logged(tmp_path, record, record)
    assert first == second == json_bytes(access_line(record, SecondClock().text)).decode().rstrip("\n")


def test_what_one_line_was_written_from_is_in_no_line_of_another_kind(tmp_path) -> None:
    names = {"method": "PUT", "path": "/v2", "route": "r", "model": "m", "requested_model": "n", "status": 201, "stream": True}
    kinds = [request(attempt()), request(attempt("beta")), *(request(attempt(), **{name: value}) for name, value in names.items())]
    expected = [json_bytes(access_line(one, SecondClock().text)).decode().rstrip("\n") for one in kinds]
    assert logged(tmp_path, *kinds, *kinds) == expected * 2


def test_what_is_remembered_of_lines_is_bounded(tmp_path) -> None:
    with (tmp_path / "access.log").open("wb") as stream, LineSink(stream.fileno()) as sink:
        log = AccessLog(sink)
        for number in range(MIDDLES_MAX + 10):
            log.write(request(attempt(), path=f"/{number}"))
        assert len(log._middles) == 10


def test_a_key_in_the_query_is_not_remembered(tmp_path) -> None:
    with (tmp_path / "access.log").open("wb") as stream, LineSink(stream.fileno()) as sink:
        log = AccessLog(sink)
        log.write(request(attempt(), path="/v1beta/models/g:generateContent?key=sk-secret"))
        assert not log._middles
        log.write(request(attempt(), path="/v1/chat/completions"))
        assert len(log._middles) == 1


@pytest.mark.parametrize("record", [request(attempt()), request(attempt(kind=FaultKind.OVERLOADED), kind=FaultKind.OVERLOADED)])
def test_a_line_says_its_trace_where_there_is_one(tmp_path, record) -> None:
    (plain,) = logged(tmp_path, record)
    record.trace = TRACE
    (line,) = logged(tmp_path, record)
    fields = json.loads(line)
    assert (fields.pop("trace_id"), fields.pop("span_id")) == (TRACE.trace_id, TRACE.span_id)
    assert fields == json.loads(plain)
    assert f" trace {TRACE.trace_id}" in logged(tmp_path, record, format="text")[0]


def test_a_line_says_what_happened(tmp_path) -> None:
    (line,) = logged(tmp_path, STREAM)
    fields = json.loads(line)
    assert fields["ts"] in ("2023-11-14T22:13:20.349Z", "2023-11-14T22:13:20.350Z")
    assert [fields[name] for name in ("tenant", "key", "route", "model", "backend")] == ["acme", "ci", "chat", "gpt-4o", "alpha"]
    assert (fields["status"], fields["error_type"], fields["stream"], fields["attempts"]) == (200, "", True, 1)
    assert (fields["input_tokens"], fields["output_tokens"], fields["cost_usd"]) == (5, 11, 0.25)
    assert fields["ttft_ms"] == pytest.approx(100, abs=0.01)
    assert fields["duration_ms"] == pytest.approx(350, abs=0.01)
    assert fields["overhead_ms"] == pytest.approx(100, abs=0.01)


def test_callers_mistakes_are_news_and_upstream_faults_are_warnings() -> None:
    assert level_of(SUCCESS) == level_of(RATE_LIMITED) == "info"
    assert level_of(UPSTREAM_FAULT) == "warning"
    assert level_of(request(kind=FaultKind.INTERNAL, status=500)) == "error"


def test_lines_below_the_level_are_not_written(tmp_path) -> None:
    lines = logged(tmp_path, SUCCESS, UPSTREAM_FAULT, RATE_LIMITED, level="warning")
    assert [json.loads(line)["status"] for line in lines] == [502]


def test_a_key_in_the_query_is_not_logged() -> None:
    assert access_line(request(path="/v1beta/models/g:generateContent?key=sk-secret"))["path"] == "/v1beta/models/g:generateContent"


def test_an_upstreams_error_body_is_not_logged(tmp_path) -> None:
    record = request(attempt())
    record.fault = Fault(FaultKind.INVALID_REQUEST, "no", body=b"the prompt was: hello", detail="10.0.0.1")
    (line,) = logged(tmp_path, record)
    assert "prompt" not in line


@pytest.mark.parametrize("format", ["json", "text"])
def test_a_callers_text_cannot_forge_a_line(tmp_path, format) -> None:
    record = request(attempt(), request_id='x\n{"event":"request"}\x1b[2J', model="a\r\nb\x85c\u2028d\udc80")
    record.requested_model = "m" * 10_000_000
    lines = (tmp_path / "access.log", logged(tmp_path, record, format=format))[0].read_bytes().split(b"\n")
    assert len(lines) == 2
    assert len(lines[0]) < 2000
    assert b"\x1b" not in lines[0]


def test_the_text_format_keeps_its_columns() -> None:
    first, second = (text_bytes(access_line(record)).decode() for record in (SUCCESS, UPSTREAM_FAULT))
    assert first.index("acme") == second.index("acme")
    assert "502" in second
    assert "overloaded: what went wrong" in second
    assert first.endswith(" 10+20 tok\n")


def test_the_cached_clock_writes_what_the_plain_one_does() -> None:
    clock = SecondClock()
    for when in (0.0, 1.7e9, 1.7e9 + 0.999, 1.7e9 + 1, 1.7e9 - 0.5, 1.7e9 + 59.25):
        assert clock.text(when) == timestamp(when)
    assert datetime.fromisoformat(timestamp(1.7e9).replace("Z", "+00:00")) == datetime.fromtimestamp(1.7e9, UTC)


def test_every_line_arrives_whole_and_in_order_from_several_threads() -> None:
    reader, writer = os.pipe()
    got: list[bytes] = []
    eater = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(reader, 65536), b"")))
    eater.start()
    with LineSink(writer) as sink:

        def shout(name: int) -> None:
            for number in range(2_000):
                sink.write(b"%d %d %s\n" % (name, number, b"x" * (number % 50)))

        threads = [threading.Thread(target=shout, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    os.close(writer)
    eater.join()
    os.close(reader)
    lines = b"".join(got).splitlines()
    assert sink.dropped == 0
    for name in range(4):
        assert [int(line.split()[1]) for line in lines if line.startswith(b"%d " % name)] == list(range(2_000))


def test_a_line_is_there_soon_without_being_asked_for() -> None:
    reader, writer = os.pipe()
    sink = LineSink(writer)
    begin = time.monotonic()
    sink.write(b"hello\n")
    assert os.read(reader, 100) == b"hello\n"
    assert time.monotonic() - begin < 2.0, "0.2 s is promised; ten times as much is no noise"
    sink.close()
    os.close(reader)
    os.close(writer)


def test_a_reader_that_stopped_reading_blocks_nobody_and_the_loss_is_counted() -> None:
    reader, writer = os.pipe()
    sink = LineSink(writer, buffer_bytes=64 * 1024)
    begin = time.monotonic()
    for _ in range(20_000):
        sink.write(b"x" * 99 + b"\n")
    sink.close(timeout_s=0.3)
    sink.close(timeout_s=0.3)
    assert time.monotonic() - begin < 10
    # the pipe's 64 KiB, both buffers' 64 KiB: the rest is gone, and known to be
    assert 20_000 - 3 * 656 <= sink.dropped < 20_000
    os.close(reader)  # the writer thread gets EPIPE and ends
    sink._thread.join(5)
    assert not sink._thread.is_alive()
    os.close(writer)


def test_a_descriptor_that_refuses_costs_lines_and_not_the_process() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with LineSink(writer) as sink:
        sink.write(b"one\n")
        sink.write(b"two\n")
    os.close(writer)
    assert sink.dropped == 2


def test_a_non_blocking_descriptor_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    got: list[bytes] = []
    with LineSink(writer) as sink:
        for _ in range(8):
            sink.write(b"x" * 65535 + b"\n")
        eater = threading.Thread(target=lambda: got.extend(iter(lambda: os.read(reader, 65536), b"")))
        eater.start()
    os.close(writer)
    eater.join()
    os.close(reader)
    assert len(b"".join(got)) == 8 * 65536
    assert sink.dropped == 0


def test_lines_after_close_are_counted_as_dropped() -> None:
    with open(os.devnull, "wb") as null:
        sink = LineSink(null.fileno())
        sink.close()
        sink.write(b"late\n")
        assert sink.dropped == 1


def test_a_killed_process_loses_at_most_its_last_second(tmp_path: Path) -> None:
    """Counted by its own lines: of what it did not come to write, nothing is lost."""
    noted = tmp_path / "noted"
    talk = (
        "import os, sys, time; from appliance.telemetry.sink import LineSink; sink = LineSink(1)\n"
        "noted = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "while True: line = b'%020f\\n' % time.monotonic(); sink.write(line); os.pwrite(noted, line, 0); time.sleep(0.002)"
    )
    with subprocess.Popen([sys.executable, "-c", talk, noted], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.read(100)
        time.sleep(1.5)
        child.kill()
        last = child.stdout.read().splitlines()[-1]
    assert 0 <= float(noted.read_bytes()) - float(last) < 1.0
