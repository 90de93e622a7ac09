"""Cuts the array form of a stream (`streamGenerateContent` without `alt=sse`) into its objects, as they come.

The rule: whatever bytes come, in whatever pieces, nothing is raised and no more than one object's bound is held. Between objects stand only
brackets, commas and white space; an object that stands alone is read as well, as an error does before any stream began.
"""

import re

import attrs

_MARK = re.compile(rb'["\\{}\[\]]')
_OUTSIDE = re.compile(rb'["\\{]')
_IN_STRING = re.compile(rb'["\\]')


@attrs.define
class ArrayReader:
    """Attributes:
    overflow: an object was longer than the bound. Nothing is read any more.
    garbled: a byte stood between objects that has no place there.
    """

    object_max_bytes: int
    overflow: bool = False
    garbled: bool = False
    _held: bytearray = attrs.field(factory=bytearray, repr=False)
    _place: int = 0
    _depth: int = 0
    _in_string: bool = False

    def feed(self, data: bytes) -> list[bytes]:
        """The whole objects in what has come."""
        if self.overflow or self.garbled:
            return []
        held = self._held
        held += data
        found: list[bytes] = []
        start = 0
        while (mark := self._next_mark(held)) is not None:
            byte, at = held[mark.start()], mark.start()
            if byte == 0x5C:  # an escape: the byte after it means nothing, and may not be here yet
                if at + 1 >= len(held):
                    self._place = at
                    break
                self._place = at + 2
                continue
            self._place = at + 1
            if byte == 0x22:
                self._in_string = not self._in_string
            elif byte in b"{[":
                if self._depth == 0:
                    self._check(held[start:at])
                    if self.garbled:
                        return found
                    start = at
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    if at + 1 - start > self.object_max_bytes:
                        self.overflow = True
                        return found
                    found.append(bytes(held[start : at + 1]))
                    start = at + 1
        else:
            self._place = len(held)
        self._keep(start)
        return found

    def _next_mark(self, held: bytearray) -> re.Match[bytes] | None:
        """The next byte that means something; outside of objects brackets do not."""
        pattern = _IN_STRING if self._in_string else _MARK if self._depth else _OUTSIDE
        return pattern.search(held, self._place)

    def _keep(self, start: int) -> None:
        held = self._held
        if not self._depth:
            rest = bytes(held[start:])
            held.clear()
            self._place = 0
            if not self._in_string:
                self._check(rest)
            else:
                self.garbled = True
            return
        del held[:start]
        self._place -= start
        self.overflow = len(held) > self.object_max_bytes

    def _check(self, between: bytes | bytearray) -> None:
        self.garbled = self.garbled or bool(between.strip(b" \t\r\n,[]"))

    @property
    def cut(self) -> bool:
        """Whether an object has begun that is not whole."""
        return self._depth > 0
