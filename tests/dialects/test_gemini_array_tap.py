"""A Gemini stream as an array for its caller: the same objects to the byte, however they come; errors end it as valid JSON."""

import json
from itertools import pairwise

from gemini_values import chunk
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.gemini import GEMINI
from appliance.dialects.gemini_array_tap import ArrayTap

BOUND = 1000
OBJECTS = [
    b'{"candidates": [{"content": {"parts": [{"text": "H\\u00e9"}], "role":"model"}}], "unknown":1e3}',
    b'{"candidates":[{"content":{"parts":[{"text":"i"}]},"finishReason":"STOP","safetyRatings":[]}],'
    b'"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}',
]
STREAM = b": a comment\n\n" + b"".join(b"data: %b\r\n\r\n" % one for one in OBJECTS)


def tap() -> ArrayTap:
    return ArrayTap(GEMINI.stream_reader(BOUND, "b"), BOUND)


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_the_objects_pass_as_they_are_however_the_stream_is_cut(places):
    one = tap()
    marks = [0, *sorted(places), len(STREAM)]
    out = b"".join([one.feed(STREAM[begin:end]) for begin, end in pairwise(marks)]) + one.end()
    assert out == b"[" + b"\n,\r\n".join(OBJECTS) + b"\n]"
    assert (one.finished, one.fault, one.committed) == (True, None, True)
    assert one.answer().usage is not None


def test_an_error_between_objects_ends_the_array():
    one = tap()
    error = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}
    for told in (b"data: %b\n\n" % json.dumps(error).encode(), json.dumps(error).encode() + b"\n\n"):
        one = tap()
        out = one.feed(b"data: %b\n\n" % OBJECTS[0])
        out += one.feed(told)
        assert one.fault is not None
        found = json.loads(out + one.keepalive() + one.error(one.fault, "r1"))
        assert found[0] == json.loads(OBJECTS[0])
        assert found[1]["error"]["status"] == "UNAVAILABLE"
        assert len(found) == 2


def test_an_error_before_any_object_is_an_array_of_it():
    found = json.loads(tap().error(Fault(FaultKind.OVERLOADED, "busy"), ""))
    assert [list(one) for one in found] == [["error"]]


def test_a_cut_a_flood_and_garbage_are_faults():
    one = tap()
    one.feed(b"data: " + OBJECTS[0] + b"\n\n")
    one.end()
    assert one.fault is not None
    assert one.fault.kind is FaultKind.STREAM_CUT
    one = tap()
    one.feed(b"data: " + b"x" * (BOUND + 10))
    assert one.fault is not None
    assert one.fault.kind is FaultKind.PROTOCOL
    one = tap()
    one.feed(b"<html>\n\n")
    assert one.fault is not None
    assert one.fault.kind is FaultKind.PROTOCOL


def test_a_done_that_proxies_add_is_no_object():
    one = tap()
    out = one.feed(b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(chunk({"text": "a"}, finish="STOP")).encode()) + one.end()
    assert len(json.loads(out)) == 1


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise(data):
    one = tap()
    one.feed(data)
    one.end()
    assert one.fault is not None or one.finished
