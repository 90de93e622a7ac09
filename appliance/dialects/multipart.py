"""Reads along while a form passes: multipart/form-data (RFC 7578) in pieces of any size, each byte looked at once.

The rule: it keeps no file. What it holds is the tail in which a boundary may begin, one part's head, and the values of the few fields
that the gateway asks for; where every part stands is told in offsets of the body as it came. Whatever two readers could take for two
different forms (a bare line feed, a boundary that goes on, a part without a name, a name twice) is refused, so that what is read here is
what the backend reads.
"""

import re
from collections.abc import Collection

import attrs

from appliance.core.fault import Fault, FaultKind

PARTS_MAX = 256
"""OpenAI's longest form (an image edit with sixteen images) has some thirty."""

HEAD_MAX_BYTES = 8_192
"""Of one part: a few lines, of which a file's name may be long."""

PREAMBLE_MAX_BYTES = 1_024
"""Before the first boundary: nothing, from every client there is; RFC 2046 §5.1.1 allows a text."""

PADDING_MAX_BYTES = 64
"""White space that a gateway of mail's time may have added behind a boundary (RFC 2046 §5.1.1)."""

VALUE_MAX_BYTES = 2_048
"""Of a field's value that is kept: a model's name at its longest, each character of four bytes."""

_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")  # RFC 2046 §5.1.1
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\x20-\x7e\x80-\xff])*+)"'
_PARAMETER = re.compile(rb";[ \t]*+(?:(" + _TOKEN + rb")=(?:" + _QUOTED + rb"|(" + _TOKEN + rb")))?+[ \t]*+")
_LINE = re.compile(rb"(" + _TOKEN + rb"):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+")  # of a header, RFC 9110 §5.5
_SAME = frozenset({b"", b"7bit", b"8bit", b"binary"})
"""Transfer encodings under which the bytes are the value."""

_CONTENT, _LINE_END, _HEAD, _CLOSING, _EPILOGUE = range(5)


@attrs.frozen
class Part:
    """One field of the form, in offsets of the body as it came.

    Attributes:
        begin: of the boundary before it; start, end: its content, which the CR LF of the next boundary follows.
        value: what it says, of a wanted field; None of any other, and of one that is too long to be kept.
    """

    name: str
    begin: int
    start: int
    end: int
    value: bytes | None = attrs.field(default=None, repr=False)


class MultipartReader:
    """One form.

    Attributes:
        parts: those that are complete, in order.
        fault: why this is no form that can be read: a BAD_REQUEST. Set once, then sticky.
        finished: the closing boundary has been seen.
        begins_at: offset of the first boundary, -1 before it was seen.
    """

    __slots__ = (
        "_at", "_base", "_buffer", "_delimiter", "_held", "_name", "_names", "_start", "_state", "_wanted", "begins_at", "fault",
        "finished", "parts",
    )  # fmt: skip

    def __init__(self, boundary: bytes, wanted: Collection[str] = ()) -> None:
        """boundary: from `boundary_of`. wanted: the fields whose values are kept; each may come once."""
        self._delimiter = b"\r\n--" + boundary
        self._wanted = frozenset(wanted)
        # The first boundary may stand at the very start, without the line end that belongs to every other one.
        self._buffer = b"\r\n"
        self._base = -2
        self._state = _CONTENT
        self._name: str | None = None  # of the part under way; None in the preamble
        self._names: set[str] = set()
        self._held: bytearray | None = None
        self._at = self._start = 0
        self.parts: list[Part] = []
        self.fault: Fault | None = None
        self.finished = False
        self.begins_at = -1

    def value(self, name: str) -> bytes | None:
        """Of a wanted field that is complete."""
        return next((one.value for one in self.parts if one.name == name), None)

    def feed(self, data: bytes) -> None:
        if self.fault is not None or not data or self._state == _EPILOGUE:
            return
        self._buffer += data
        while self.fault is None and _STEPS[self._state](self):
            pass

    def end(self) -> None:
        """The body is over."""
        if self.fault is None and not self.finished:
            self._refuse("it ends before its closing boundary")

    # steps: each takes one thing off the buffer; False when more has to come first ------------------------------------------------------

    def _content(self) -> bool:
        place = self._buffer.find(self._delimiter)
        self._pass(place if place >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1))
        if place < 0:
            if self._name is None and self._base > PREAMBLE_MAX_BYTES:
                self._refuse("its boundary, as the content type gives it, is not at its start")
            return False
        self._end_part()
        self._at = self._base + 2
        if self.begins_at < 0:
            self.begins_at = self._at
        self._drop(len(self._delimiter))
        self._state = _LINE_END
        return True

    def _line_end(self) -> bool:
        """What follows a boundary: two hyphens after the last part, else the end of the line."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        if buffer.startswith(b"--"):
            self._drop(2)
            self._state, self.finished = _CLOSING, True
            return True
        end = buffer.find(b"\r\n", 0, PADDING_MAX_BYTES + 2)
        padding = buffer[: end if end >= 0 else len(buffer)]
        if padding.rstrip(b"\r" if end < 0 else b"").strip(b" \t") or (end < 0 and len(padding) > PADDING_MAX_BYTES + 1):
            self._refuse("a boundary in it is followed by something else on its line")
        if end < 0 or self.fault is not None:
            return False
        if len(self.parts) >= PARTS_MAX:
            self._refuse(f"it has more than {PARTS_MAX} parts")
        self._drop(end + 2)
        self._state = _HEAD
        return True

    def _head(self) -> bool:
        buffer = self._buffer
        end = 0 if buffer.startswith(b"\r\n") else buffer.find(b"\r\n\r\n", 0, HEAD_MAX_BYTES + 4)
        if end < 0:
            if len(buffer) > HEAD_MAX_BYTES + 3:
                self._refuse(f"a part of it has a head of more than {HEAD_MAX_BYTES} bytes")
            return False
        name = _name_of(buffer[:end])
        if name is None:
            self._refuse('a part of it has no readable \'Content-Disposition: form-data; name="..."\'')
            return False
        if name in self._wanted:
            if name in self._names:
                self._twice(name)
                return False
            self._held = bytearray()
        self._names.add(name)
        self._name = name
        # A part may be empty: then the line end behind its head is the one that belongs to the next boundary. It stays in the buffer.
        self._drop(end + 2)
        self._start = self._base + 2
        self._state = _CONTENT
        return True

    def _closing(self) -> bool:
        """After the last boundary: a line end and whatever, which means nothing."""
        if self._buffer and self._buffer[:1] not in (b"\r", b"\n", b" ", b"\t"):
            self._refuse("its closing boundary is followed by something else on its line")
        elif self._buffer:
            self._state, self._buffer = _EPILOGUE, b""
        return False

    def _epilogue(self) -> bool:
        return False

    # ----------------------------------------------------------------------------------------------------------------------------------

    def _pass(self, size: int) -> None:
        """So many bytes of the buffer are content."""
        held = self._held
        if held is not None and size:
            skipped = max(0, self._start - self._base)  # the line end behind the head is not the value's
            held += self._buffer[skipped : max(skipped, min(size, skipped + VALUE_MAX_BYTES + 1 - len(held)))]
        self._drop(size)

    def _end_part(self) -> None:
        name, held = self._name, self._held
        if name is None:
            return
        end = max(self._base, self._start)
        if self._base < self._start:
            # The boundary came right after the head, without a line of content: the line end is both.
            self._refuse("a part of it has no line between its head and the next boundary")
            return
        value = bytes(held) if held is not None and len(held) <= VALUE_MAX_BYTES else None
        if held is not None and value is None:
            self._refuse(f"its field {name!r} is longer than {VALUE_MAX_BYTES} bytes", name)
            return
        self.parts.append(Part(name, self._at, self._start, end, value))
        self._name = self._held = None

    def _drop(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._base += size

    def _refuse(self, why: str, param: str | None = None) -> None:
        if self.fault is None:
            message = f"the form in the request's body cannot be read: {why}"
            self.fault = Fault(FaultKind.BAD_REQUEST, message, param=param, code="invalid_form")
        self._buffer = b""

    def _twice(self, name: str) -> None:
        message = f"the field {name!r} stands in the form more than once: send it once"
        self.fault = Fault(FaultKind.BAD_REQUEST, message, param=name, code="duplicate_field")
        self._buffer = b""


_STEPS = (
    MultipartReader._content, MultipartReader._line_end, MultipartReader._head, MultipartReader._closing, MultipartReader._epilogue,
)  # fmt: skip


def is_form(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"multipart/form-data"


def boundary_of(content_type: bytes) -> bytes | Fault:
    """The boundary that the header of a form gives; a BAD_REQUEST where it gives none that is one."""
    kind, semicolon, rest = content_type.partition(b";")
    given = _parameters(semicolon + rest.rstrip(b" \t"))
    boundary = b"" if given is None or not is_form(kind) else given.get(b"boundary", b"")
    # The value goes on as it is, so nothing in it may end its line, whatever let it through.
    if _VALUE.fullmatch(content_type) is None or _BOUNDARY.fullmatch(boundary) is None:
        message = "the content type of a form must give its boundary ('multipart/form-data; boundary=...'): let the HTTP client set it"
        return Fault(FaultKind.BAD_REQUEST, message, param="Content-Type", code="invalid_form")
    return boundary


def _name_of(head: bytes) -> str | None:
    """The field's name in one part's head; None where the head is not plainly that of a form's part (RFC 7578 §4.2)."""
    disposition: bytes | None = None
    for line in head.split(b"\r\n") if head else []:
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        name = found[1].lower()
        if name == b"content-disposition":
            if disposition is not None:
                return None
            disposition = found[2].strip(b" \t")
        elif name == b"content-transfer-encoding" and found[2].strip(b" \t").lower() not in _SAME:
            return None  # deprecated by RFC 7578 §4.7; whoever decodes it reads another value
    if disposition is None:
        return None
    kind, semicolon, rest = disposition.partition(b";")
    given = _parameters(semicolon + rest)
    if kind.strip(b" \t").lower() != b"form-data" or given is None or b"name*" in given:
        return None
    named = given.get(b"name")
    if named is None or b"\\" in named:
        return None
    try:
        return named.decode()
    except UnicodeDecodeError:
        return None


def _parameters(text: bytes) -> dict[bytes, bytes] | None:
    """Parameters behind a header's value, names lowercased; None where they cannot be read, or one stands twice."""
    found: dict[bytes, bytes] = {}
    place = 0
    while place < len(text):
        parameter = _PARAMETER.match(text, place)
        if parameter is None:
            return None
        place = parameter.end()
        if parameter[1] is None:
            continue  # nothing between two semicolons
        name = parameter[1].lower()
        if name in found:
            return None
        found[name] = parameter[2] if parameter[2] is not None else parameter[3]
    return found
