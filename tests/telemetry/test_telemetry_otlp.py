"""The bytes of OTLP are what OpenTelemetry's own protobuf classes read, and what they write is read."""

import pytest
from collector import value_of
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from appliance.telemetry.otlp import CLIENT, SERVER, Span, Taken, read_taken, request_bytes, span_bytes

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
VALUE = TEXT | st.booleans() | INT64 | st.floats(allow_nan=False) | st.lists(TEXT, max_size=4).map(tuple)
TIME = st.integers(0, 2**64 - 1)
SPANS = st.builds(
    Span, st.just("0af7651916cd43dd8448eb211c80319c"), st.just("b7ad6b7169203331"), st.sampled_from(["", "00f067aa0ba902b7"]), TEXT,
    st.sampled_from([SERVER, CLIENT]), TIME, TIME, st.dictionaries(TEXT, VALUE, max_size=6), st.booleans(), st.booleans(),
    st.sampled_from(["", "a=1,b=2"]), st.booleans(),
)  # fmt: skip


def proto(span: Span) -> ProtoSpan:
    (read,) = ScopeSpans.FromString(span_bytes(span)).spans
    return read


@given(SPANS)
def test_a_span_is_read_as_it_was_meant(span: Span) -> None:
    read = proto(span)
    assert (read.trace_id.hex(), read.span_id.hex(), read.parent_span_id.hex()) == (span.trace_id, span.span_id, span.parent_id)
    assert (read.name, read.kind, read.trace_state) == (span.name, span.kind, span.state)
    assert (read.start_time_unix_nano, read.end_time_unix_nano) == (span.start_ns, span.end_ns)
    assert {pair.key: value_of(pair.value) for pair in read.attributes} == dict(span.attributes)
    assert [type(value_of(pair.value)) for pair in read.attributes] == [type(value) for value in span.attributes.values()]
    assert read.flags == 0x100 | span.sampled | (0x200 if span.remote else 0)
    assert read.status.code == (2 if span.error else 0)
    assert read.status.message == ""


@given(st.lists(SPANS, max_size=4), st.dictionaries(TEXT, TEXT, max_size=4))
def test_a_request_holds_its_spans_and_where_they_come_from(spans: list[Span], resource: dict[str, str]) -> None:
    read = ExportTraceServiceRequest.FromString(request_bytes([span_bytes(span) for span in spans], resource, "appliance", "1.2"))
    (group,) = read.resource_spans
    (scoped,) = group.scope_spans
    assert {pair.key: pair.value.string_value for pair in group.resource.attributes} == resource
    assert (scoped.scope.name, scoped.scope.version) == ("appliance", "1.2")
    assert [one.SerializeToString(deterministic=True) for one in scoped.spans] == [
        proto(span).SerializeToString(deterministic=True) for span in spans
    ]


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    span = Span("0" * 31 + "1", "0" * 15 + "1", "", "a\udc80", SERVER, 1, 2, {"b": "c\ud800"})
    read = proto(span)
    assert (read.name, read.attributes[0].value.string_value) == ("a?", "c?")


@given(INT64, TEXT)
def test_a_collectors_answer_is_read(rejected: int, words: str) -> None:
    answer = ExportTraceServiceResponse()
    assert read_taken(answer.SerializeToString()) == Taken()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = words
    found = read_taken(answer.SerializeToString())
    assert found.words == words
    assert found.rejected in (rejected, rejected + 2**64)


@given(st.binary(max_size=60))
@example(b"\x0a\x00")
@example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x0b\x0c")
@example(b"<html>no collector</html>")
def test_any_answer_can_be_read(body: bytes) -> None:
    assert isinstance(read_taken(body), Taken)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"partialSuccess":{}}', b"\x0a\x00", b"\x0a\x02\x08", b"\xff" * 30])
def test_an_answer_without_a_count_rejects_nothing(body: bytes) -> None:
    assert read_taken(body).rejected == 0
