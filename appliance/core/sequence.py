"""One part after the other, for languages whose streams may have only one open at a time (Anthropic, Bedrock, Responses' own items).

The rule: the oldest open part passes as it comes; what belongs to later ones waits until it has ended, and then comes part by part in the
order in which they started. Providers that overlap parts do so for short tool calls, so little ever waits, and what waits is bounded.
"""

import attrs

from appliance.core.delta import Delta, Finished, PartEnded, TextAdded

WAITING_MAX = 100_000
"""Deltas that may wait: more than any answer of a model has."""

WAITING_MAX_CHARS = 8_388_608
"""Of their words together: more than any model writes into its calls."""


@attrs.define
class Sequencer:
    """Of one candidate.

    Attributes:
        full: more than WAITING_MAX or WAITING_MAX_CHARS would have had to wait: what comes after is lost, and the stream has to end with
            a fault.
    """

    full: bool = False
    _open: int = -1
    _waiting: dict[int, list[Delta]] = attrs.field(factory=dict)
    _count: int = 0
    _chars: int = 0

    def feed(self, delta: Delta) -> list[Delta]:
        """The deltas that may go out now."""
        if isinstance(delta, Finished):
            return [*self._end_all(), delta]
        index: int = getattr(delta, "index", -1)
        if index < 0:
            return [delta]
        if self._open < 0:
            self._open = index
        if index != self._open:
            self._wait(index, delta)
            return []
        out: list[Delta] = [delta]
        if isinstance(delta, PartEnded):
            self._open = -1
            out += self._next()
        return out

    def _wait(self, index: int, delta: Delta) -> None:
        chars = _chars_of(delta)
        if self._count >= WAITING_MAX or self._chars + chars > WAITING_MAX_CHARS:
            self.full = True
            return
        self._waiting.setdefault(index, []).append(delta)
        self._count += 1
        self._chars += chars

    def _next(self) -> list[Delta]:
        """What waited of the parts that started next, up to one that has not ended yet."""
        out: list[Delta] = []
        while self._open < 0 and self._waiting:
            index = next(iter(self._waiting))
            deltas = self._waiting.pop(index)
            self._count -= len(deltas)
            self._chars -= sum(_chars_of(delta) for delta in deltas)
            out += deltas
            if not isinstance(deltas[-1], PartEnded):
                self._open = index
        return out

    def _end_all(self) -> list[Delta]:
        """The candidate is over: parts that nobody ended are."""
        out: list[Delta] = []
        while self._open >= 0:
            out.append(PartEnded(self._open))
            self._open = -1
            out += self._next()
        return out


def _chars_of(delta: Delta) -> int:
    return len(delta.text) if isinstance(delta, TextAdded) else 0
