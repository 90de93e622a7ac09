"""The headers of W3C Trace Context: the recommendation's cases, and OpenTelemetry's own reader beside ours on whatever else comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN_CONTEXT, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from appliance.core.trace_context import STATE_MAX_CHARS, Trace, attempt_span_id, header_lines, read_state, read_trace

ID, SPAN = "12345678901234567890123456789012", "1234567890123456"
GOOD = f"00-{ID}-{SPAN}-01"


def read(*parents: str, state: str | None = None) -> Trace | None:
    states = [] if state is None else [(b"tracestate", state.encode())]
    return read_trace([*[(b"traceparent", one.encode("latin-1")) for one in parents], *states])


@pytest.mark.parametrize(
    ("parent", "sampled"),
    [
        (GOOD, True),
        (f"00-{ID}-{SPAN}-00", False),
        (f"00-{ID}-{SPAN}-ff", True),
        (f"00-{ID}-{SPAN}-fe", False),
        (f"00-{ID}-{SPAN}-09", True),
        (GOOD + " ", True),
        (" \t" + GOOD + "\t ", True),
        (f"cc-{ID}-{SPAN}-01", True),
        (f"cc-{ID}-{SPAN}-01-what-the-future-will-be-like", True),
        (f"01-{ID}-{SPAN}-00-", False),
    ],
)
def test_what_the_recommendation_calls_valid_is_read(parent: str, sampled: bool) -> None:
    assert read(parent) == Trace(ID, SPAN, sampled=sampled, kept=sampled)


@pytest.mark.parametrize(
    "parent",
    [
        "", "00", f"00-{ID}-{SPAN}", f"00-{ID}-{SPAN}-", f"00-{ID}-{SPAN}-1", f"00-{ID}-{SPAN}-001", f"00-{ID}-{SPAN}-.1",
        f"00-{ID}-{SPAN}-01.", f"00-{ID}-{SPAN}-01-", f"00-{ID}-{SPAN}-01-what-the-future-will-be-like", f"ff-{ID}-{SPAN}-01",
        f"cc-{ID}-{SPAN}-01.what-the-future-will-be-like", f"00-{'0' * 32}-{SPAN}-01", f"00-{ID}-{'0' * 16}-01", f"00-{ID[:-1]}-{SPAN}-01",
        f"00-{ID}1-{SPAN}-01", f"00-{ID}-{SPAN[:-1]}-01", f"00-{ID}-{SPAN}1-01", f"00-{ID[:-1]}.-{SPAN}-01", f"00-{ID}-{SPAN[:-1]}.-01",
        f"0-{ID}-{SPAN}-01", f"000-{ID}-{SPAN}-01", f".0-{ID}-{SPAN}-01", f"00-{ID[:-1]}A-{SPAN}-01", f"00-{ID}-{SPAN[:-1]}A-01",
        f"00-{ID}-{SPAN}-0A", f"0A-{ID}-{SPAN}-01", GOOD.replace("-", "_"), f"00 -{ID}-{SPAN}-01", GOOD + "\n",
        f"cc-{ID}-{SPAN}-01-" + "x" * 600,
    ],
)  # fmt: skip
def test_what_the_recommendation_calls_invalid_begins_a_new_trace(parent: str) -> None:
    assert read(parent, state="foo=1") is None


def test_two_parents_are_none() -> None:
    assert read(GOOD, GOOD) is None
    assert read() is None


@given(st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[a-z]*)?", fullmatch=True), st.data())
def test_opentelemetry_reads_the_same(parent: str, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(parent) - 1))
        parent = parent[:place] + data.draw(st.sampled_from("0f-. gG")) + parent[place + 1 :]
    theirs = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": parent})).get_span_context()
    ours = read(parent)
    if ours is None:
        assert theirs == INVALID_SPAN_CONTEXT
    else:
        assert (ours.trace_id, ours.span_id, ours.sampled) == (f"{theirs.trace_id:032x}", f"{theirs.span_id:016x}", theirs.trace_flags & 1)


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("foo=1", "foo=1"),
        ("foo=1,bar=2", "foo=1,bar=2"),
        ("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3"),
        ("", ""),
        (",foo=1,, ,", "foo=1"),
        ("foo= 1 x", "foo= 1 x"),
        ("t@v=1,1a/b*c-d_e=~!", "t@v=1,1a/b*c-d_e=~!"),
        ("z" * 256 + "=1", "z" * 256 + "=1"),
        ("foo=1,foo=1", ""),
        ("foo=1,foo=2", ""),
        ("foo =1", ""),
        ("FOO=1", ""),
        ("foo.bar=1", ""),
        ("@foo=1", ""),
        ("foo", ""),
        ("foo=", ""),
        ("foo=1=2", ""),
        ("foo=\x7f", ""),
        ("foo=é", ""),
        ("z" * 257 + "=1", ""),
        ("foo=" + "v" * 257, ""),
        (",".join(f"bar{number:02}=1" for number in range(32)), ",".join(f"bar{number:02}=1" for number in range(32))),
        (",".join(f"bar{number:02}=1" for number in range(33)), ""),
    ],
)
def test_a_state_is_kept_as_it_is_or_not_at_all(state: str, kept: str) -> None:
    assert read_state(state.encode()) == kept
    trace = read(GOOD, state=state)
    assert trace is not None
    assert trace.state == kept


def test_a_state_in_several_lines_is_one() -> None:
    headers = [(b"tracestate", b"a=1,b=2"), (b"traceparent", GOOD.encode()), (b"tracestate", b"c=3")]
    trace = read_trace(headers)
    assert trace is not None
    assert trace.state == "a=1,b=2,c=3"


def test_a_long_state_loses_its_longest_members_and_then_its_last() -> None:
    short = [f"m{number:02}={'v' * 20}" for number in range(10)]
    assert read_state(",".join([*short, "long=" + "x" * 250, "lang=" + "x" * 250]).encode()) == ",".join(short)
    many = [f"m{number:02}={'v' * 60}" for number in range(12)]
    kept = read_state(",".join(many).encode())
    assert kept == ",".join(many[:7])
    assert len(kept) <= STATE_MAX_CHARS < len(kept) + 1 + len(many[7])


def test_each_attempt_is_a_span_of_its_own() -> None:
    for own in ("0000000000000001", "ffffffffffffffff", "61c8864680b583eb"):  # of the last one the plain sum would be zero
        trace = Trace(ID, own, sampled=True)
        spans = [attempt_span_id(trace, place) for place in range(100)]
        assert len({own, "0" * 16, *spans}) == 102
        assert all(len(span) == 16 for span in spans)


def test_a_backend_is_told_the_attempt_as_its_parent() -> None:
    trace = Trace(ID, "00f067aa0ba902b7", SPAN, sampled=True, state="a=1")
    assert header_lines(trace, 1) == f"traceparent: 00-{ID}-{attempt_span_id(trace, 1)}-01\r\ntracestate: a=1\r\n".encode()
    assert header_lines(Trace(ID, SPAN), 0) == f"traceparent: 00-{ID}-{attempt_span_id(Trace(ID, SPAN), 0)}-00\r\n".encode()
