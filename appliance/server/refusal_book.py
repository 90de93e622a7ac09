"""What the HTTP engines refused before the application ran: counted, and said in the log with status and reason.

The rule: nothing of what was sent is kept. Reasons are the engine's own words, and a flood of broken requests costs the log at most
LINES_MAX_PER_S lines a second and one more that says how many were left out.
"""

from collections.abc import Callable
from typing import Final, Literal

import attrs
import trio

ReasonClass = Literal["malformed", "framing", "target", "path", "method", "too_large", "timeout", "unsupported", "overload"]

LINES_MAX_PER_S: Final = 20
"""Enough to see what a broken client or a scanner does; twenty lines are read, a thousand are not."""

SUMMARY_S: Final = 1.0
"""From the first line left out to the line that counts them."""

_BY_STATUS: Final[dict[int, ReasonClass]] = {
    404: "path", 405: "method",
    408: "timeout", 413: "too_large", 414: "too_large", 431: "too_large", 417: "unsupported", 501: "unsupported", 503: "overload",
    505: "unsupported",
}  # fmt: skip
_BY_WORD: Final[tuple[tuple[str, ReasonClass], ...]] = (
    ("Content-Length", "framing"), ("Transfer-Encoding", "framing"), ("chunk", "framing"), ("Host", "target"), ("target", "target"),
)  # fmt: skip
FROM_START: Final[tuple[tuple[int, str], ...]] = ((400, "malformed"), (400, "framing"), (400, "target"), *_BY_STATUS.items())


def reason_class(status: int, reason: str) -> ReasonClass:
    """Which of a few classes a refusal belongs to. `framing` and `target` are what request smuggling looks like."""
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    for word, kind in _BY_WORD:
        if word in reason:
            return kind
    return "malformed"


@attrs.define(eq=False)
class RefusalBook:
    """Every refusal of one process.

    Attributes:
        say: writes one line at level `info`: an event and its fields. None when there is to be no access log.
        clock: monotonic seconds.
        counts: refusals by status and class; what can be expected is there from the start, at 0.
    """

    say: Callable[..., object] | None
    clock: Callable[[], float]
    counts: dict[tuple[int, str], int] = attrs.field(factory=lambda: dict.fromkeys(FROM_START, 0))
    _second: int = -1
    _lines: int = 0
    _unsaid: int = 0
    _flooded: trio.Event = attrs.field(factory=trio.Event)

    def enter(self, status: int, reason: str) -> None:
        """One more. What the engines call `on_refusal`."""
        kind = reason_class(status, reason)
        self.counts[status, kind] = self.counts.get((status, kind), 0) + 1
        if self.say is None:
            return
        second = int(self.clock())
        if second != self._second:
            self._second, self._lines = second, 0
        if self._lines < LINES_MAX_PER_S:
            self._lines += 1
            self.say("refused", status=status, reason=reason, reason_class=kind)
        else:
            self._unsaid += 1
            self._flooded.set()

    async def summarise(self) -> None:
        """Say how many lines were left out, at most once in SUMMARY_S. Runs until it is cancelled, and asleep while nothing is left out."""
        while True:
            try:
                await self._flooded.wait()
                await trio.sleep(SUMMARY_S)
            finally:
                self._say_unsaid()

    def _say_unsaid(self) -> None:
        if self._unsaid and self.say is not None:
            self.say("refused_more", count=self._unsaid)
        self._unsaid = 0
        self._flooded = trio.Event()
