"""The last good head of one connection, so that its repeat need not be read again.

Clients that keep a connection (every vendor's SDK) send the same head with each request but for the digits of its Content-Length. The rule:
what this gives is what `read_head` would give. Only a head that equals the remembered one in every other byte is taken for its repeat, and
any 1 to 19 digits are as good a length as those it was read with: they are one value to the grammar, to llhttp (whose bound is 2^64) and
to the framing.
"""

import re
from hmac import compare_digest

import attrs

from appliance.http1.refusal import Refusal
from appliance.http1.request_head import Headers, HeadFacts, RequestHead, read_head
from appliance.http1.server_limits import ServerLimits

# SDKs send 400 to 900 bytes in 10 to 25 lines. A longer head is read each time. What is made of a head takes some ten times its bytes, so
# it is forgotten, too, once its connection has idled for a while (see `forget`): memory is for those who ask, not for those who stay.
REMEMBERED_MAX_BYTES = 4096
REMEMBERED_MAX_LINES = 40
FORGET_AFTER_S = 5.0
LENGTH_DIGITS_MAX = 19

# Of a head that was read: names and line ends stand only where lines begin and end.
LENGTH_LINE = re.compile(rb"\r\n(?i:content-length):[\t ]*+([0-9]{1,19})[\t ]*+\r\n")


@attrs.define(eq=False)
class HeadMemory:
    """One connection's. It holds the client's credentials as long as the connection lives, so none of it is shown."""

    _limits: ServerLimits = attrs.field(repr=False)
    _facts: HeadFacts | None = attrs.field(default=None, repr=False)
    _headers: Headers = attrs.field(factory=list, repr=False)
    _place: int = 0  # of Content-Length among the headers
    _but_digits: bytes = attrs.field(default=b"", repr=False)  # the whole head without those of its length
    _before_bytes: int = 0
    _after_bytes: int = 0

    def read(self, raw: bytes) -> RequestHead | Refusal:
        """As `read_head`. A repeat shares its `facts` with the head it repeats."""
        facts = self._facts
        if facts is not None:
            start, end = self._before_bytes, len(raw) - self._after_bytes
            # Compared in a time that does not depend on how much is equal: behind a proxy that shares its connections among callers, one
            # must not find out another's key by and by.
            if (
                0 < end - start <= LENGTH_DIGITS_MAX
                and (digits := raw[start:end]).isdigit()
                and compare_digest(raw[:start] + raw[end:], self._but_digits)
            ):
                headers = self._headers.copy()  # the application may do as it likes with the list that it is given
                headers[self._place] = (b"content-length", digits)
                return RequestHead(facts, headers, int(digits))
        head = read_head(raw, self._limits)
        if isinstance(head, RequestHead) and len(raw) <= REMEMBERED_MAX_BYTES and len(head.headers) <= REMEMBERED_MAX_LINES:
            self._remember(raw, head)
        return head

    def forget(self) -> None:
        """The next head will be read, whatever it is."""
        self._facts, self._headers, self._but_digits = None, [], b""

    def _remember(self, raw: bytes, head: RequestHead) -> None:
        """Heads without a length of their own leave in place what is known."""
        if head.length is None or head.facts.expects_continue:
            return
        lines = LENGTH_LINE.findall(raw)
        places = [place for place, (name, _) in enumerate(head.headers) if name == b"content-length"]
        if len(lines) != 1 or len(places) != 1:
            return
        line = LENGTH_LINE.search(raw)
        assert line is not None
        start, end = line.span(1)
        self._facts, self._headers, self._place = head.facts, head.headers.copy(), places[0]
        self._but_digits, self._before_bytes, self._after_bytes = raw[:start] + raw[end:], start, len(raw) - end
