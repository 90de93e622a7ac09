"""Repeated heads: the memory gives what a fresh reading gives, whatever a client sends next; and it forgets nothing it must not keep."""

from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.http1.head_memory import REMEMBERED_MAX_BYTES, REMEMBERED_MAX_LINES, HeadMemory
from appliance.http1.refusal import Refusal
from appliance.http1.request_head import RequestHead, read_head
from appliance.http1.server_limits import ServerLimits

LIMITS = ServerLimits()
USUAL = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer sk-1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 254\r\nUser-Agent: x/1\r\n\r\n"
)


def facts(head: RequestHead | Refusal) -> dict[str, Any]:
    """Everything a head says, less what is merely handed on."""
    return attrs.asdict(head, filter=lambda field, _: field.name not in ("remembered", "shared_scope"))


def agree(first: bytes, second: bytes) -> HeadMemory:
    """Read both over one memory; each must come out as if read alone."""
    memory = HeadMemory(LIMITS)
    for raw in (first, second, first):
        assert facts(memory.read(raw)) == facts(read_head(raw, LIMITS))
    return memory


lengths = st.one_of(
    st.integers(0, 10**21).map(lambda number: b"%d" % number),
    st.sampled_from([b"", b"007", b"0" * 19, b"0" * 20, b"9" * 19, b"9" * 20, b"+5", b"-5", b"5,5", b"5 5", b" 5", b"5 ", b"0x5", b"5_0"]),
    st.binary(max_size=4),
)
lines = st.sampled_from([
    b"Host: gw", b"host: gw", b"Host: other", b"Authorization: Bearer sk-1", b"Authorization: Bearer sk-2", b"Connection: close",
    b"Connection: keep-alive", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Expect: 100-continue",
    b"Content-Length: 7", b"Content-Length : 7", b"X-Note: content-length: 5", b"Upgrade: h2c", b"X:", b" folded", b"Bad Name: 1",
])  # fmt: skip
heads = st.builds(
    lambda method, target, version, before, name, length, after: b"\r\n".join(
        [b"%b %b HTTP/%b" % (method, target, version), *before, b"%b%b" % (name, length), *after, b"", b""]
    ),
    st.sampled_from([b"POST", b"GET", b"CONNECT"]),
    st.sampled_from([b"/a", b"/a?key=1", b"*", b"http://gw/a"]),
    st.sampled_from([b"1.1", b"1.0"]),
    st.lists(lines, max_size=3),
    st.sampled_from([b"Content-Length: ", b"content-length:", b"CONTENT-LENGTH:\t", b"Content-Length:  "]),
    lengths,
    st.lists(lines, max_size=2),
)


@given(first=heads, second=heads)
def test_any_two_heads_are_read_as_if_each_came_alone(first: bytes, second: bytes) -> None:
    agree(first, second)


@given(first=lengths, second=lengths)
@example(first=b"5", second=b"254")
@example(first=b"9" * 19, second=b"9" * 20)
def test_any_length_in_the_same_head_is_read_as_if_it_came_alone(first: bytes, second: bytes) -> None:
    agree(USUAL.replace(b"254", first), USUAL.replace(b"254", second))


@given(place=st.integers(0, len(USUAL) - 5), byte=st.binary(min_size=0, max_size=3), dropped=st.integers(0, 3))
def test_a_head_changed_anywhere_is_read_as_if_it_came_alone(place: int, byte: bytes, dropped: int) -> None:
    agree(USUAL, USUAL[:place] + byte + USUAL[place + dropped :])


def test_a_repeat_is_told_by_what_it_hands_on() -> None:
    memory = HeadMemory(LIMITS)
    first, second = memory.read(USUAL), memory.read(USUAL.replace(b"254", b"3"))
    assert isinstance(first, RequestHead)
    assert isinstance(second, RequestHead)
    assert second.facts.remembered is first.facts.remembered
    assert (second.length, dict(second.headers)[b"content-length"]) == (3, b"3")
    assert (first.length, dict(first.headers)[b"content-length"]) == (254, b"254")


@pytest.mark.parametrize(
    "other",
    [
        USUAL.replace(b"sk-1", b"sk-2"),
        USUAL.replace(b"gw", b"gv"),
        USUAL.replace(b"POST", b"PUT "),
        USUAL.replace(b"Content-Length", b"content-length"),
        USUAL.replace(b"254", b"254 "),
        USUAL.replace(b"254", b"254\r\nContent-Length: 254"),
        USUAL.replace(b"254", b"254\r\nTransfer-Encoding: chunked"),
        USUAL.replace(b"254\r\n", b"254\n"),
        USUAL.replace(b"254", b"\xb2"),
        USUAL.replace(b"254", b"2" * 20),
        USUAL.replace(b"254", b""),
        USUAL.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
    ],
)
def test_a_head_that_differs_in_more_than_its_length_is_read_afresh(other: bytes) -> None:
    memory = HeadMemory(LIMITS)
    first, second = memory.read(USUAL), memory.read(other)
    assert facts(second) == facts(read_head(other, LIMITS))
    assert isinstance(first, RequestHead)
    assert isinstance(second, Refusal) or second.facts.remembered is not first.facts.remembered


@pytest.mark.parametrize(
    "raw",
    [
        USUAL.replace(b"Content-Length: 254\r\n", b""),
        USUAL.replace(b"Content-Length: 254", b"Transfer-Encoding: chunked"),
        USUAL.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
        USUAL.replace(b"x/1", b"x" * REMEMBERED_MAX_BYTES),
    ],
)
def test_what_is_not_remembered_is_read_afresh_and_leaves_the_memory_as_it_was(raw: bytes) -> None:
    memory = HeadMemory(LIMITS)
    usual = memory.read(USUAL)
    once, again = memory.read(raw), memory.read(raw)
    assert isinstance(once, RequestHead)
    assert isinstance(again, RequestHead)
    assert isinstance(usual, RequestHead)
    assert again.facts.remembered is not once.facts.remembered
    after = memory.read(USUAL)
    assert isinstance(after, RequestHead)
    assert after.facts.remembered is usual.facts.remembered


def test_an_application_that_changes_its_headers_changes_no_later_request() -> None:
    memory = HeadMemory(LIMITS)
    for _ in range(3):
        head = memory.read(USUAL)
        assert isinstance(head, RequestHead)
        assert facts(head) == facts(read_head(USUAL, LIMITS))
        head.headers.clear()


def test_what_was_forgotten_and_heads_of_many_lines_are_read_afresh() -> None:
    memory = HeadMemory(ServerLimits())
    few = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
    many = few[:-2] + b"".join(b"x-%d: y\r\n" % number for number in range(REMEMBERED_MAX_LINES)) + b"\r\n"
    for raw, repeats in ((few, True), (many, False)):
        first, second = memory.read(raw), memory.read(raw)
        assert isinstance(first, RequestHead)
        assert isinstance(second, RequestHead)
        assert (second.facts.remembered is first.facts.remembered) == repeats
        memory.forget()
        third = memory.read(raw)
        assert isinstance(third, RequestHead)
        assert third.facts.remembered is not first.facts.remembered


def test_a_memory_shows_nothing_of_what_it_holds() -> None:
    memory = HeadMemory(LIMITS)
    memory.read(USUAL)
    assert "sk-1" not in repr(memory)
