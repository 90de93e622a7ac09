"""One part after the other, for languages whose streams may have only one open at a time (Anthropic, Bedrock, Responses' own items).

The rule: the oldest open part passes as it comes; what belongs to later ones waits until it has ended, and then comes part by part in the
order in which they started. Providers that overlap parts do so for short tool calls, so little ever waits, and what waits is bounded.
"""

import attrs

from appliance.core.delta import Delta, Finished, PartEnded

WAITING_MAX = 100_000
"""Deltas that may wait: more than any answer of a model has."""


@attrs.define
class Sequencer:
    """Of one candidate.

    Attributes:
        full: more than WAITING_MAX would have had to wait: what comes after is lost, and the stream has to end with a fault.
    """

    full: bool = False
    _open: int = -1
    _waiting: dict[int, list[Delta]] = attrs.field(factory=dict)
    _count: int = 0

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
        if self._count >= WAITING_MAX:
            self.full = True
            return
        self._waiting.setdefault(index, []).append(delta)
        self._count += 1

    def _next(self) -> list[Delta]:
        """What waited of the parts that started next, up to one that has not ended yet."""
        out: list[Delta] = []
        while self._open < 0 and self._waiting:
            index = next(iter(self._waiting))
            deltas = self._waiting.pop(index)
            self._count -= len(deltas)
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
