"""Each fault, seen on a raw socket, does what the manual says."""

import gzip
import re
import time
import zlib
from email.utils import parsedate_to_datetime

import orjson
import pytest
import trio

from appliance.simulator.settings import Settings

STATUSES = [400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529, 418]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_status_is_answered_in_the_envelope_of_the_service(sim, status, stream):
    wire = await sim.wire(f"sim+{status}", stream=stream)
    assert (wire.status, wire.complete, wire.header("content-type")) == (status, True, "application/json")
    assert set(wire.json["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("context_length", 400, "context_length_exceeded"),
        ("content_filter", 400, "content_filter"),
        ("quota", 429, "insufficient_quota"),
        ("400;code=my_code", 400, "my_code"),
    ],
)
async def test_named_errors_carry_the_code_that_clients_look_for(sim, fault, status, code):
    wire = await sim.wire("sim+" + fault)
    assert (wire.status, wire.json["error"]["code"]) == (status, code)


async def test_retry_after_comes_in_seconds_milliseconds_or_as_a_date(sim):
    assert (await sim.wire("sim+429=3s")).header("retry-after") == "3"
    assert (await sim.wire("sim+503=250ms")).header("retry-after") == "0.25"
    assert (await sim.wire("sim+429=1.5s;retry_as=ms")).header("retry-after-ms") == "1500"
    date = (await sim.wire("sim+429=100s;retry_as=date")).header("retry-after")
    assert 60 < parsedate_to_datetime(date).timestamp() - time.time() < 110
    plain = await sim.wire("sim+429;should_retry=false")
    assert (plain.header("retry-after"), plain.header("x-should-retry")) == (None, "false")
    assert "try again in 3s" in (await sim.wire("sim+429=3s")).json["error"]["message"]


async def test_an_error_page_of_a_proxy_is_html_or_nothing(sim):
    html = await sim.wire("sim+502;body=html")
    assert (html.status, html.header("content-type")) == (502, "text/html")
    assert b"<html>" in html.body
    nothing = await sim.wire("sim+503;body=empty")
    assert (nothing.status, nothing.body) == (503, b"")


async def test_a_redirect_points_to_nowhere(sim):
    wire = await sim.wire("sim+307")
    assert (wire.status, wire.header("location")) == (307, "/sim/elsewhere")


async def test_the_header_does_what_the_name_does_and_wins_over_it(sim):
    assert (await sim.wire("sim", fault="503")).status == 503
    assert (await sim.wire("sim+500", fault="529")).status == 529


async def test_the_header_meets_free_endpoints_too(sim):
    async with sim.http() as client:
        assert (await client.get("/v1/models", headers={"x-sim-fault": "503"})).status_code == 503
        assert (await client.get("/health", headers={"x-sim-fault": "500"})).status_code == 500


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "end"), [("reset", "reset"), ("cut", "fin"), ("hang", "silent")])
async def test_without_a_value_it_happens_instead_of_the_head(sim, fault, end, stream):
    wire = await sim.wire(f"sim+{fault}", stream=stream, quiet_s=sim.quiet_s(end))
    assert (wire.raw, wire.end) == (b"", end)


@pytest.mark.parametrize("events", [0, 1, 5])
@pytest.mark.parametrize(("fault", "end"), [("reset", "reset"), ("cut", "fin"), ("hang", "silent")])
async def test_with_n_it_happens_after_the_head_and_n_events(sim, fault, end, events):
    wire = await sim.wire(f"sim+{fault}={events}", stream=True, quiet_s=sim.quiet_s(end))
    assert (wire.status, wire.end, wire.complete) == (200, end, False)
    assert len(wire.events) == events
    assert b"[DONE]" not in wire.raw


@pytest.mark.parametrize(("fault", "end"), [("reset=1", "reset"), ("cut=1", "fin"), ("hang=1", "silent")])
async def test_a_whole_answer_stops_halfway(sim, fault, end):
    full = await sim.wire("sim")
    wire = await sim.wire(f"sim+{fault}", quiet_s=sim.quiet_s(end))
    announced = int(wire.header("content-length"))
    assert (wire.status, wire.end) == (200, end)
    assert 0 < len(wire.body) < announced
    assert abs(announced - len(full.body)) < 20


async def test_truncate_ends_properly_without_done(sim):
    stream = await sim.wire("sim+truncate=4", stream=True)
    assert stream.complete
    assert len(stream.events) == 4
    whole = await sim.wire("sim+truncate=1")
    assert whole.complete
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(whole.body)


async def test_no_done_is_complete_but_for_done(sim):
    good = await sim.wire("sim", stream=True)
    wire = await sim.wire("sim", stream=True, fault="no_done")
    assert wire.complete
    assert wire.events == good.events[:-1]


async def test_garbage_json_breaks_one_event(sim):
    wire = await sim.wire("sim+garbage_json=2", stream=True)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(wire.events[2].removeprefix(b"data: "))
    assert wire.events[-1] == b"data: [DONE]"
    assert not (await sim.wire("sim+garbage_json")).body.endswith(b"}")


async def test_garbage_sse_is_no_event_at_all(sim):
    wire = await sim.wire("sim+garbage_sse", stream=True)
    assert wire.body.startswith(b"<!DOCTYPE html>")
    assert b"\xff\xfe\x00" in wire.body


@pytest.mark.parametrize("events", [0, 4])
async def test_an_error_event_ends_the_stream_after_n_events(sim, events):
    wire = await sim.wire(f"sim+error_event={events};status=429", stream=True)
    assert (wire.status, wire.complete, len(wire.events)) == (200, True, events + 1)
    assert orjson.loads(wire.events[-1].removeprefix(b"data: "))["error"]["code"] == "rate_limit_exceeded"


async def test_error_events_come_in_the_styles_of_vendors(sim):
    router = await sim.wire("sim+error_event=2;style=openrouter;status=502", stream=True)
    chunk = orjson.loads(router.events[-1].removeprefix(b"data: "))
    assert (chunk["error"]["code"], chunk["choices"][0]["finish_reason"]) == (502, "error")
    assert chunk["id"] == orjson.loads(router.events[0].removeprefix(b"data: "))["id"]
    named = await sim.wire("sim+error_event;style=event", stream=True)
    assert named.events[0].startswith(b"event: error\ndata: {")


async def test_an_error_object_inside_a_200(sim):
    for fault in ("error_200", "error_event"):
        wire = await sim.wire(f"sim+{fault};status=503")
        assert (wire.status, wire.json["error"]["code"]) == (200, "overloaded")


async def test_a_huge_line_is_one_event_of_that_size(sim):
    wire = await sim.wire("sim+huge_line=300k", stream=True)
    assert max(len(e) for e in wire.events) > 300 * 1024
    assert len(orjson.loads(wire.events[1].removeprefix(b"data: "))["choices"][0]["delta"]["content"]) == 300 * 1024
    whole = await sim.wire("sim+huge_line=64k")
    assert len(whole.json["padding"]) == 65536
    assert whole.json["choices"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_trickle_sends_one_byte_at_a_time(sim, stream):
    wire = await sim.wire("sim@tps=0+trickle=0", stream=stream, max_tokens=2, fault="")
    good = await sim.wire("sim@tps=0", stream=stream, max_tokens=2)
    assert len(wire.body) > len(good.body) - 200
    if stream:
        assert set(map(len, wire.chunks)) == {1}
        assert wire.events[-1] == b"data: [DONE]"
    else:
        assert wire.json["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_gzip_is_sent_unasked_and_decodes_event_by_event(sim, stream):
    wire = await sim.wire("sim", stream=stream, fault="gzip")
    good = await sim.wire("sim", stream=stream)
    assert (wire.header("content-encoding"), wire.complete) == ("gzip", True)
    assert gzip.decompress(wire.body) == good.body


async def test_a_cut_gzip_stream_can_be_decoded_up_to_the_cut(sim):
    wire = await sim.wire("sim", stream=True, fault="gzip+cut=3")
    good = await sim.wire("sim", stream=True)
    assert zlib.decompressobj(wbits=31).decompress(wire.body) == b"".join(e + b"\n\n" for e in good.events[:3])
    assert not wire.complete


async def test_comments_come_first(sim):
    wire = await sim.wire("sim", stream=True, fault="comments=2;every=20ms")
    good = await sim.wire("sim", stream=True)
    assert wire.events == [b": PROCESSING", b": PROCESSING", *good.events]
    whole = await sim.wire("sim", fault="comments=2")
    assert whole.complete
    assert whole.body.startswith(b"\n")
    assert whole.json["object"] == "chat.completion"


async def test_burst_and_crlf_change_the_framing_only(sim):
    good = await sim.wire("sim", stream=True)
    assert (await sim.wire("sim", stream=True, fault="burst")).chunks == [good.body]
    assert (await sim.wire("sim", stream=True, fault="crlf")).body == good.body.replace(b"\n", b"\r\n")


async def test_wrong_content_type_empty_body_no_usage_and_other_finish(sim):
    assert (await sim.wire("sim", stream=True, fault="content_type=text/plain")).header("content-type") == "text/plain"
    for stream in (False, True):
        empty = await sim.wire("sim", stream=stream, fault="empty")
        assert (empty.status, empty.body, empty.complete) == (200, b"", True)
    assert "usage" not in (await sim.wire("sim", fault="no_usage")).json
    streamed = await sim.wire("sim", stream=True, stream_options={"include_usage": True}, fault="no_usage")
    assert b'"usage":{' not in streamed.body
    assert streamed.events[-1] == b"data: [DONE]"
    assert (await sim.wire("sim", fault="finish=content_filter")).json["choices"][0]["finish_reason"] == "content_filter"
    assert b'"finish_reason":"content_filter"' in (await sim.wire("sim", stream=True, fault="finish=content_filter")).events[-2]


async def test_endless_streams_do_not_end(sim):
    for stream in (True, False):
        with trio.move_on_after(0.5) as patience:
            await sim.wire("sim+endless", stream=stream)
        assert patience.cancelled_caught


async def test_an_endless_stream_ends_at_the_bound(start):
    async with start(Settings(stream_events_max=50)) as sim:
        wire = await sim.wire("sim+endless", stream=True)
        assert wire.complete
        assert len(wire.events) == 50


async def test_a_hanging_answer_is_reset_at_the_bound(start):
    async with start(Settings(hang_max_s=0.1)) as sim:
        assert (await sim.wire("sim+hang=2", stream=True)).end == "reset"


async def first_byte_and_body(sim, model, stream=True):
    """Seconds to the first byte of the head and to the first byte of the body."""
    body = orjson.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "x"}]})
    async with await trio.open_tcp_stream("127.0.0.1", sim.port) as connection:
        began = trio.current_time()
        await connection.send_all(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        received = await connection.receive_some()
        head_s = trio.current_time() - began
        while not received.partition(b"\r\n\r\n")[2]:
            received += await connection.receive_some()
        return head_s, trio.current_time() - began


async def test_latency_holds_the_head_back_and_an_early_head_only_the_body(sim):
    """What comes at once comes within a millisecond; a second is enough for a busy machine, too."""
    head_s, body_s = await first_byte_and_body(sim, "sim+latency=1s")
    assert head_s >= 1
    assert body_s - head_s < 0.9
    for fault in ("early_head=1s", "stall=0;for=1s"):
        head_s, body_s = await first_byte_and_body(sim, f"sim+{fault}")
        assert head_s < 0.9
        assert body_s >= 1


async def test_a_stall_pauses_between_events(sim):
    good = await sim.wire("sim@tps=0,ttft=0", stream=True)
    began = trio.current_time()
    wire = await sim.wire("sim@tps=0,ttft=0+stall=3;for=300ms", stream=True)
    assert trio.current_time() - began >= 0.3
    assert len(wire.events) == len(good.events)


async def test_a_dropped_connection_is_closed_although_it_was_to_be_kept(sim):
    body = orjson.dumps({"model": "sim+drop=50ms", "messages": [{"role": "user", "content": "x"}]})
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    wire = await sim.raw(head + body)
    assert (wire.status, wire.complete, wire.end) == (200, True, "fin")
    assert wire.header("connection") is None
    same = (head + body).replace(b"sim+drop=50ms", b"sim").replace(b"%d" % len(body), b"%d" % (len(body) - 10))
    kept = await sim.raw(same, sim.quiet_s("silent"))
    assert (kept.complete, kept.end) == (True, "silent")


async def test_first_and_after_count_the_calls_of_a_model(sim):
    statuses = [(await sim.wire("sim+500;first=2")).status for _ in range(4)]
    assert statuses == [500, 500, 200, 200]
    assert [(await sim.wire("other+500;first=2")).status for _ in range(3)] == [500, 500, 200]
    assert [(await sim.wire("sim+503;after=1;first=1")).status for _ in range(3)] == [200, 503, 200]


async def test_chance_is_seeded(start):
    async def draws(seed: int) -> list[int]:
        async with start(Settings(seed=seed)) as sim, sim.http() as client:
            ask = {"model": "sim@ttft=0,tps=0+500;p=0.3", "messages": [{"role": "user", "content": "x"}]}
            return [(await client.post("/v1/chat/completions", json=ask)).status_code for _ in range(200)]

    one = await draws(1)
    assert one == await draws(1)
    assert one != await draws(2)
    assert 30 < one.count(500) < 90


async def test_faults_join(sim):
    began = trio.current_time()
    wire = await sim.wire("sim", fault="503=2s+latency=200ms")
    assert (wire.status, wire.header("retry-after")) == (503, "2")
    assert trio.current_time() - began >= 0.2


MISTAKES = ["nonsense", "500;p=2", "cut=x", "latency", "429;retry_as=never", "500;first", "200", "+".join(["500"] * 9)]


@pytest.mark.parametrize("fault", MISTAKES)
async def test_a_mistaken_fault_is_refused_with_a_reason(sim, fault):
    wire = await sim.wire("sim", fault=fault)
    assert (wire.status, wire.json["error"]["param"]) == (400, "fault")
    named = re.escape(fault.split(";")[0].split("=")[0].split("+")[0])
    assert re.search(named, wire.json["error"]["message"]) or "at most 8" in wire.json["error"]["message"]
