"""Several keys of one backend: whose turn it is, and who rests because the backend refused it.

    answer                                rests for
    ------------------------------------  ----------------------------------------------------------
    429                                   what the answer asks for (else REST_S), rest_max_s at most
    401, or no credit whatever the status refused_s
    403                                   REST_S: it may be about one model, which others can still be asked for
    anything else                         nothing; a good answer to what was asked since ends a rest

The rule: there is always a key. When all of them rest, it is the one whose rest ends first: what a backend says to it is better than a
guess of ours, and should it be good again, nobody has waited.
"""

import math
from collections.abc import Collection

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.core.step import MADE_ELSEWHERE

REST_S = 5.0
"""After a 429 that does not say how long, or a 403. Vendors count by the minute and refill all the time."""


@attrs.define(eq=False)
class KeyState:
    """One key. resting_until, and refused_at (the last time): by the clock of whoever asks. refusals: how often, by the fault's label.
    requests: made with it."""

    resting_until: float = -math.inf
    refused_at: float = -math.inf
    requests: int = 0
    refusals: dict[str, int] = attrs.field(factory=dict)
    last_refusal: str = ""

    def rests(self, now: float) -> bool:
        return now < self.resting_until


@attrs.define(eq=False)
class KeyRing:
    """Keys are known by their numbers, from 1 on; 0 stands for the only key of a backend that has no ring."""

    keys: tuple[KeyState, ...]
    rest_max_s: float
    refused_s: float
    _turn: int = 0

    def take(self, now: float, tried: Collection[int] = ()) -> int:
        """The number of the key for a request. tried: those that were asked for it already; they come last."""
        count = len(self.keys)
        turns = [(self._turn + step) % count for step in range(count)]
        fresh = [index for index in turns if index + 1 not in tried] or turns
        for index in fresh:
            if not self.keys[index].rests(now):
                break
        else:
            index = min(fresh, key=lambda each: self.keys[each].resting_until)
        self._turn = (index + 1) % count
        self.keys[index].requests += 1
        return index + 1

    def settle(self, number: int, fault: Fault | None, begun: float, now: float) -> None:
        """What a key was answered with.

        Args:
            fault: None of a good answer.
            begun: when it was asked. Answers to what was under way when the key was refused come in for minutes, and say nothing of it.
        """
        key = self.keys[number - 1]
        if fault is None:
            if begun > key.refused_at:
                key.resting_until = -math.inf
            return
        rest_s = self._rest_s(fault)
        if rest_s:
            label = fault.row.label
            key.resting_until, key.refused_at = max(key.resting_until, now + rest_s), now
            key.last_refusal = label
            key.refusals[label] = key.refusals.get(label, 0) + 1

    def another(self, fault: Fault, now: float, tried: Collection[int]) -> bool:
        """Whether a request that ended in `fault` is worth another try at once, with a key that it was not tried with."""
        if not (self._rest_s(fault) or fault.code in MADE_ELSEWHERE):
            return False
        return any(number not in tried and not key.rests(now) for number, key in enumerate(self.keys, 1))

    def _rest_s(self, fault: Fault) -> float:
        """How long a key rests for it; 0.0 for a fault that is not about the key."""
        match fault.kind:
            case FaultKind.UPSTREAM_RATE_LIMITED:
                return min(fault.retry_after_s or REST_S, self.rest_max_s)
            case FaultKind.QUOTA:
                return self.refused_s
            case FaultKind.AUTHENTICATION:
                return min(REST_S, self.refused_s) if fault.upstream_status == 403 else self.refused_s
        return 0.0


def key_ring(count: int, rest_max_s: float, refused_s: float) -> KeyRing:
    return KeyRing(tuple(KeyState() for _ in range(count)), rest_max_s, refused_s)
