"""What `frame_answer` makes of an application's headers: nothing that could forge a line, and one framing, whatever was said before."""

import re
from collections.abc import Callable
from typing import TypeVar

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.http1.answer import Framing, frame_answer, usual_head

DATE = b"date: Sat, 21 Nov 2026 06:24:22 GMT\r\n"
TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FRAMING = (b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"date")

Made = TypeVar("Made")

names = st.one_of(
    st.sampled_from([*FRAMING, *(name.title() for name in FRAMING), b"x-served-by", b"set-cookie", b"x-100%b", b"", b"a b", b"a:b"]),
    st.binary(max_size=6),
)
values = st.one_of(st.sampled_from([b"5", b"007", b"close", b"a\r\nx: y", b"100%d"]), st.binary(max_size=8))
header_lists = st.lists(st.tuples(names, values), max_size=6)


def framed(headers: list[tuple[bytes, bytes]], *, status: int = 200, keep_alive: bool = True, whole_bytes: int | None = 5) -> Framing:
    return frame_answer(status, headers, method=b"POST", http11=True, keep_alive=keep_alive, date_line=DATE, whole_bytes=whole_bytes)


def outcome(make: Callable[[], Made]) -> Made | str:
    """What is made, or why it is not."""
    try:
        return make()
    except ValueError as error:
        return str(error)


def well_formed(headers: list[tuple[bytes, bytes]]) -> bool:
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    return (
        all(name and not name.translate(None, TOKEN_BYTES) for name, _ in headers)
        and not any(byte in value for _, value in headers for byte in (b"\r", b"\n", b"\0"))
        and len(lengths) <= 1
        and all(re.fullmatch(rb"[0-9]{1,19}", one) for one in lengths)
    )


@given(
    headers=st.one_of(header_lists, header_lists.map(lambda headers: [*headers, (b"content-length", b"5")])),
    status=st.sampled_from([100, 200, 204, 304, 404, 599, 1000]),
    whole_bytes=st.sampled_from([0, 5]),
)
@example(headers=[(b"x-a", b"1"), (b"content-length", b"5")], status=200, whole_bytes=5)
@example(headers=[(b"x-a", b"1"), (b"content-length", b"0")], status=404, whole_bytes=0)
@example(headers=[(b"x-a", b"a\r\nx: y"), (b"content-length", b"5")], status=200, whole_bytes=5)
def test_the_usual_head_is_the_one_that_is_worked_out(headers: list[tuple[bytes, bytes]], status: int, whole_bytes: int) -> None:
    worked_out = outcome(lambda: framed(headers, status=status, whole_bytes=whole_bytes))
    usual = outcome(lambda: usual_head(status, headers, DATE, whole_bytes))
    if isinstance(worked_out, str):
        assert usual in (None, worked_out)
    elif usual is not None:
        assert attrs.astuple(worked_out) == (usual, whole_bytes, False, False, True)


def test_a_plain_whole_answer_has_the_usual_head() -> None:
    assert usual_head(200, [(b"x-a", b"1"), (b"content-length", b"5")], DATE, 5) is not None


@given(headers=header_lists, status=st.sampled_from([200, 204, 304, 404]), keep_alive=st.booleans())
@example(headers=[(b"x-100%b", b"%d"), (b"content-length", b"5")], status=200, keep_alive=True)
def test_a_head_holds_the_lines_given_and_one_framing_or_is_refused(
    headers: list[tuple[bytes, bytes]], status: int, keep_alive: bool
) -> None:
    for _ in range(2):  # names are judged once: the second look must be as strict
        if not well_formed(headers):
            with pytest.raises(ValueError, match=r"header|Content-Length"):
                framed(headers, status=status, keep_alive=keep_alive)
            continue
        framing = framed(headers, status=status, keep_alive=keep_alive)
        assert framing.head.endswith(b"\r\n\r\n")
        lines = framing.head[:-4].split(b"\r\n")[1:]
        own = [line for line in lines if line.split(b":")[0].lower() in FRAMING]
        passed = [b"%b: %b" % pair for pair in headers if pair[0].lower() not in FRAMING]
        assert [line for line in lines if line not in own] == passed
        said = [line.partition(b": ")[0].lower() for line in own]
        assert said.count(b"content-length") == (0 if status == 204 else 1)
        assert said.count(b"date") == max(1, sum(name.lower() == b"date" for name, _ in headers))
        assert said.count(b"connection") == (0 if framing.keep_alive else 1)
        assert b"transfer-encoding" not in said
        assert b"keep-alive" not in said


@pytest.mark.parametrize("name", [b"Content-Length", b"CONTENT-LENGTH", b"content-length", b"content-Length"])
def test_a_length_is_recognised_however_it_is_spelled(name: bytes) -> None:
    framing = framed([(b"x-served-by", b"a"), (name, b"12")])
    assert (framing.left, framing.head.lower().count(b"content-length: 12\r\n")) == (12, 1)
    with pytest.raises(ValueError, match="once"):
        framed([(name, b"12"), (b"content-length", b"12")])
    with pytest.raises(ValueError, match="one number"):
        framed([(name, b"12 ")])


@pytest.mark.parametrize("name", [b"Transfer-Encoding", b"transfer-encoding", b"Keep-Alive", b"connection", b"CONNECTION"])
def test_the_engine_says_the_framing_itself(name: bytes) -> None:
    framing = framed([(name, b"close"), (b"content-length", b"5")])
    assert b"transfer-encoding" not in framing.head.lower()
    assert b"keep-alive" not in framing.head.lower()
    assert framing.keep_alive == (name.lower() != b"connection")
    assert framing.head.count(b"connection: close\r\n") == (not framing.keep_alive)


def test_a_length_with_leading_zeros_is_said_without_them() -> None:
    assert b"\r\ncontent-length: 7\r\n" in framed([(b"content-length", b"007")]).head


@pytest.mark.parametrize("headers", [[(b"x", b"1")], [(b"x", b"1"), (b"content-length", b"5")], [(b"Date", b"now")], []])
def test_a_date_of_the_applications_own_takes_the_place_of_ours(headers: list[tuple[bytes, bytes]]) -> None:
    head = framed(headers).head.lower()
    assert head.count(b"\r\ndate: ") == 1
    assert (b"\r\ndate: now\r\n" in head) == any(name == b"Date" for name, _ in headers)


def test_names_of_many_applications_are_not_kept_for_ever() -> None:
    from appliance.http1.answer import TEMPLATES_MAX, _template

    for number in range(3 * TEMPLATES_MAX):
        framed([(b"x-%d" % number, b"1")])
    assert _template.cache_info().currsize <= TEMPLATES_MAX
