"""How quickly one model at one backend answers, as far as its latest requests tell: what strategies compare.

The rule: time is an argument, and whoever begins a request ends it. A failure is no fast answer: only good answers make the time to the
first byte shorter, and a share of failures makes it longer.
"""

import math

import attrs

SAMPLE_SHARE = 0.1
"""Of a new observation in the averages: under load the last twenty or so requests dominate."""

FORGET_S = 5.0
"""What is older counts for a third. So one answer after a pause says more than the many before it, and few are needed to find out that a
backend has recovered."""

FAILED_S = 1.0
"""The time of a model that has only failed so far: a refused connection takes no time at all, and must not look quick."""

GOOD_MIN = 0.1
"""A backend that always fails counts as a hundred times as slow; more would be remembered for too long."""

OVERDUE = 2.0
"""Requests that have waited for so many times the average without an answer are the news: the average knows only what was answered."""


@attrs.define(eq=False)
class Pace:
    """One model at one backend, streams and whole answers apart: a whole answer's first byte comes when the model is done.

    Attributes:
        first_byte_s: decaying average time to the first good event of a stream, or to a whole answer; 0 until something is known.
        good: decaying share of requests that went well; what the caller did wrong, or broke off, counts neither way.
        answer_tokens: decaying average length of an answer; 0 until the first.
        tried_at: when it was last asked. waiting: requests without a first byte.
    """

    first_byte_s: float = 0.0
    good: float = 1.0
    answer_tokens: float = 0.0
    tried_at: float = -math.inf
    waiting: int = 0
    _begun: float = 0.0  # sum of the times at which those that wait began
    _timed_at: float = -math.inf
    _judged_at: float = -math.inf

    def begin(self, now: float) -> None:
        self.tried_at = now
        self.waiting += 1
        self._begun += now

    def answered(self, begun: float, now: float) -> None:
        """The first byte is here. At most once a request, before its `end`."""
        self._left(begun)
        self._time(now - begun, now)

    def end(self, begun: float, now: float, *, answered: bool, good: bool | None, tokens: int = 0) -> None:
        """Settle one request.

        Args:
            answered: whether `answered` was called for it.
            good: None where it tells nothing of the backend.
            tokens: of its answer; 0 where they are not known.
        """
        took = now - begun
        if not answered:
            self._left(begun)
            if good or took > self.first_byte_s > 0:  # without an answer it is known to take at least so long
                self._time(took, now)
            elif good is False and not self.first_byte_s:
                self._time(max(took, FAILED_S), now)
        if good is not None:
            share = _share(now - self._judged_at)
            self._judged_at = now
            self.good += share * (good - self.good)
        if tokens > 0:
            self.answer_tokens += (SAMPLE_SHARE if self.answer_tokens else 1.0) * (tokens - self.answer_tokens)

    def expected_s(self, now: float) -> float:
        """How long a caller is likely to wait for a good first byte; 0 while nothing is known."""
        seconds = self.first_byte_s
        if self.waiting:
            age_s = now - self._begun / self.waiting
            if age_s > (seconds * OVERDUE or FAILED_S):
                seconds = age_s
        # Squared: who has to ask twice waits twice, and has an attempt less. It also makes up for failures that end quickly and so leave
        # their backend looking idle.
        return seconds / max(self.good, GOOD_MIN) ** 2

    def _left(self, begun: float) -> None:
        self.waiting -= 1
        self._begun = self._begun - begun if self.waiting else 0.0

    def _time(self, seconds: float, now: float) -> None:
        share = _share(now - self._timed_at) if self.first_byte_s else 1.0
        self._timed_at = now
        self.first_byte_s += share * (seconds - self.first_byte_s)


def _share(since_s: float) -> float:
    """Of a new observation, by how long ago the last one was."""
    return max(SAMPLE_SHARE, 1.0 - math.exp(-max(0.0, since_s) / FORGET_S))
