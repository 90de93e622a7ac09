"""Forms are read the same however they are cut, and whatever could be read in two ways is refused."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.multipart import HEAD_MAX_BYTES, PARTS_MAX, VALUE_MAX_BYTES, MultipartReader, boundary_of, is_form

BOUNDARY = b"xYzBound"
WANTED = ("model", "stream")


def field(name: str, value: bytes, more: bytes = b"") -> bytes:
    return b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (BOUNDARY, name.encode(), more, value)


def form(*fields: bytes, tail: bytes = b"\r\n") -> bytes:
    return b"".join(fields) + b"--" + BOUNDARY + b"--" + tail


def file(content: bytes, name: str = "file") -> bytes:
    return field(name, content, b'; filename="a b.wav"\r\nContent-Type: audio/wav')


def pieces(body: bytes, how: str) -> Iterator[bytes]:
    chance = random.Random(len(body))
    while body:
        size = {"whole": len(body), "bytes": 1, "random": chance.randint(1, 40)}[how]
        yield body[:size]
        body = body[size:]


def read(body: bytes, how: str = "whole") -> MultipartReader:
    reader = MultipartReader(BOUNDARY, WANTED)
    for piece in pieces(body, how):
        reader.feed(piece)
    reader.end()
    return reader


def told(reader: MultipartReader, body: bytes) -> object:
    """All that a reader says, with the content that its offsets mean."""
    fault = None if reader.fault is None else (reader.fault.kind, reader.fault.message, reader.fault.param)
    return fault, reader.finished, reader.begins_at, [(one, body[one.start : one.end]) for one in reader.parts]


GOOD = {
    "sdk": form(field("model", b"whisper-1"), field("stream", b"true"), file(b"RIFF\r\n--xYzBoun\r\n-- \0\xff" * 9)),
    "curl": form(file(bytes(range(256)) * 5), field("model", b"m/\xc3\xa9")),
    "empty fields": form(field("model", b""), field("stream", b""), file(b"")),
    "nearly boundaries": form(file(b"\r\n--xYzBoun\r\r\n--xYzBoun\r\n-\r\n--xYzBoun-\r"), field("model", b"a")),
    "no line end at its end": form(field("model", b"a"), tail=b""),
    "epilogue": form(field("model", b"a"), tail=b"\r\n" + field("model", b"b")),
    "preamble": b"This is a form.\r\n" + form(field("model", b"a")),
    "padding": form(field("model", b"a")).replace(b"--xYzBound\r\n", b"--xYzBound \t \r\n"),
    "unquoted name": form(field("model", b"a")).replace(b'"model"', b"model"),
    "other headers": form(field("model", b"a", b"\r\nContent-Type: text/plain; charset=utf-8\r\nX-Odd: \xe9")),
    "odd spelling": form(field("model", b"a")).replace(b"Content-Disposition: form-data;", b"content-disposition:FORM-DATA ;"),
    "nothing in it": b"--xYzBound--\r\n",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_form_is_read_the_same_however_it_is_cut(name: str) -> None:
    body = GOOD[name]
    whole = read(body)
    assert whole.fault is None
    assert whole.finished
    for how in ("bytes", "random"):
        assert told(read(body, how), body) == told(whole, body)


def test_every_part_is_found_where_it_stands() -> None:
    content = b"RIFF\r\n--xYzBoun\r\n-- \0\xff" * 9
    body = GOOD["sdk"]
    reader = read(body)
    assert [(one.name, body[one.start : one.end]) for one in reader.parts] == [
        ("model", b"whisper-1"), ("stream", b"true"), ("file", content),
    ]  # fmt: skip
    assert [body[one.begin :].startswith(b"--xYzBound\r\n") for one in reader.parts] == [True] * 3
    assert (reader.value("model"), reader.value("stream"), reader.value("file")) == (b"whisper-1", b"true", None)


def test_the_model_is_known_as_soon_as_its_part_is_complete() -> None:
    begun = field("model", b"m") + b"--xYzBound\r\n"
    reader = MultipartReader(BOUNDARY, WANTED)
    for place in range(len(begun)):
        reader.feed(begun[place : place + 1])
        known = place >= len(field("model", b"m")) + len(b"--xYzBound") - 1
        assert (reader.value("model") is not None) is known


def test_a_large_file_is_never_held() -> None:
    reader = MultipartReader(BOUNDARY, WANTED)
    reader.feed(file(b"")[:-2])
    for _ in range(50):
        reader.feed(b"\r\n--xYz" * 10_000)
        assert len(reader._buffer) < 100
    reader.feed(b"\r\n" + form(field("model", b"m")))
    assert reader.value("model") == b"m"
    assert reader.parts[0].end - reader.parts[0].start == 50 * 70_000


BAD = {
    "not closed": form(field("model", b"a"))[:-6],
    "another boundary": form(field("model", b"a")).replace(b"xYzBound", b"other") + b"." * 3000,
    "a boundary that goes on": form(field("model", b"a"), file(b"\r\n--xYzBounds\r\n")),
    "bare line feeds": form(field("model", b"a")).replace(b"\r\n", b"\n") + b"." * 3000,
    "a line feed in a head": form(field("model", b"a")).replace(b"form-data;", b"form-data;\n"),
    "no name": form(field("model", b"a")).replace(b'name="model"', b""),
    "no head": b"--xYzBound\r\n\r\nvalue\r\n--xYzBound--\r\n",
    "no disposition": form(field("model", b"a")).replace(b"Content-Disposition", b"Content-Description"),
    "two dispositions": form(field("model", b"a", b'\r\nContent-Disposition: form-data; name="x"')),
    "two names": form(field("model", b"a", b'; name="other"')),
    "an encoded name": form(field("model", b"a", b"; name*=utf-8''other")),
    "an escaped name": form(field("mod\\el", b"a")),
    "a name that is no text": form(field("model", b"a")).replace(b'"model"', b'"mod\xff"'),
    "an attachment": form(field("model", b"a")).replace(b"form-data", b"attachment"),
    "an encoding": form(field("model", b"YQ==", b"\r\nContent-Transfer-Encoding: base64")),
    "a folded line": form(field("model", b"a", b";\r\n filename=x")),
    "no blank line": b'--xYzBound\r\nContent-Disposition: form-data; name="model"\r\n\r\n--xYzBound--\r\n',
    "the model twice": form(field("model", b"a"), field("model", b"a")),
    "stream twice": form(field("stream", b"a"), file(b"x"), field("stream", b"a")),
    "a long model": form(field("model", b"a" * (VALUE_MAX_BYTES + 1))),
    "a long head": form(field("x", b"", b'; filename="' + b"a" * HEAD_MAX_BYTES + b'"')),
    "many parts": form(*(field("x", b"") for _ in range(PARTS_MAX + 1))),
    "text behind the end": form(field("model", b"a"), tail=b"x"),
    "empty": b"",
    "another thing": b'{"model": "a"}',
}


@pytest.mark.parametrize("name", BAD)
def test_what_could_be_read_in_two_ways_is_refused_however_it_is_cut(name: str) -> None:
    body = BAD[name]
    whole = read(body)
    assert isinstance(whole.fault, Fault)
    assert whole.fault.kind is FaultKind.BAD_REQUEST
    assert len(whole.fault.message) < 300
    for how in ("bytes", "random"):
        other = read(body, how)
        assert other.fault is not None
        assert (other.fault.message, other.fault.param) == (whole.fault.message, whole.fault.param)


def test_a_fault_about_a_field_names_it() -> None:
    for name in ("the model twice", "a long model"):
        fault = read(BAD[name]).fault
        assert fault is not None
        assert fault.param == "model"


def test_after_a_fault_nothing_is_read_any_more() -> None:
    reader = read(BAD["two names"])
    before = reader.fault
    reader.feed(form(field("model", b"b")))
    assert reader.fault is before
    assert reader.parts == []


@given(st.lists(st.binary(max_size=40), max_size=60))
def test_arbitrary_bytes_never_raise_and_are_read_the_same_in_one_piece(parts: list[bytes]) -> None:
    reader = MultipartReader(BOUNDARY, WANTED)
    for piece in parts:
        reader.feed(piece)
    reader.end()
    body = b"".join(parts)
    assert told(reader, body) == told(read(body), body)


HOSTILE = (b"\r\n", b"--", b"xYzBound", b"\r", b"\n", b"-", b" ", b'Content-Disposition: form-data; name="model"', b"\r\n\r\n", b"a")


@given(st.lists(st.sampled_from(HOSTILE), max_size=60), st.randoms(use_true_random=False))
def test_pieces_of_forms_in_any_order_never_raise_and_are_read_the_same(words: list[bytes], chance: random.Random) -> None:
    body = b"--xYzBound" + b"".join(words)
    reader = MultipartReader(BOUNDARY, WANTED)
    rest = body
    while rest:
        size = chance.randint(1, 12)
        reader.feed(rest[:size])
        rest = rest[size:]
    reader.end()
    assert told(reader, body) == told(read(body), body)


@given(st.lists(st.tuples(st.sampled_from(["file", "image[]", "prompt"]), st.binary(max_size=200)), max_size=8), st.binary(max_size=30))
def test_any_contents_come_out_as_they_were(contents: list[tuple[str, bytes]], model: bytes) -> None:
    whole = [*contents, ("model", model)]
    if any(b"\r\n--xYzBound" in b"\r\n" + content for _, content in whole):
        return
    body = form(*(field(name, content) for name, content in whole))
    reader = read(body, "random")
    assert reader.fault is None
    assert [(one.name, body[one.start : one.end]) for one in reader.parts] == whole


@pytest.mark.parametrize(
    ("given_type", "expected"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data;charset=utf-8; Boundary="a b:c"', b"a b:c"),
        (b"multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxk; ", b"----WebKitFormBoundary7MA4YWxk"),
        (b"multipart/form-data", None),
        (b"multipart/form-data; boundary=", None),
        (b'multipart/form-data; boundary=""', None),
        (b"multipart/form-data; boundary=" + b"a" * 71, None),
        (b'multipart/form-data; boundary="a "', None),
        (b"multipart/form-data; boundary=a; boundary=b", None),
        (b'multipart/form-data; boundary="a\xe9"', None),
        (b"multipart/mixed; boundary=a", None),
        (b"multipart/form-data\r\nx: y; boundary=a", None),
        (b"\r\nmultipart/form-data; boundary=a", None),
        (b'multipart/form-data; x="\n"; boundary=a', None),
        (b"multipart/form-data boundary=a", None),
    ],
)
def test_the_boundary_is_read_or_asked_for(given_type: bytes, expected: bytes | None) -> None:
    boundary = boundary_of(given_type)
    if expected is None:
        assert isinstance(boundary, Fault)
        assert boundary.kind is FaultKind.BAD_REQUEST
        assert "boundary" in boundary.message
    else:
        assert boundary == expected
        assert is_form(given_type)
