"""A histogram with fixed edges: one integer per bucket, one bisect per observation.

Buckets are kept apart, not cumulated: folding touches one integer, and cumulating is left to whoever reads. Of observations that belong to
a recorded trace the last one of each bucket is kept as its exemplar.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple


class Exemplar(NamedTuple):
    """One observation that can be looked up: in which trace, of which request (our own id), and when, in seconds since the epoch."""

    trace_id: str
    request_id: str
    value: float
    at: float


class Histogram:
    """Counts per bucket; the last one is everything past the last edge. A value equal to an edge belongs below it (Prometheus `le`).

    Attributes:
        exemplars: one place a bucket, None as long as none was given: most histograms never get one.
    """

    __slots__ = ("counts", "edges", "exemplars", "sum")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.sum = 0.0
        self.exemplars: list[Exemplar | None] | None = None

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.edges, value)] += 1
        self.sum += value

    def exemplify(self, exemplar: Exemplar) -> None:
        """Keeps it as its bucket's; where it was observed is up to the caller."""
        if self.exemplars is None:
            self.exemplars = [None] * len(self.counts)
        self.exemplars[bisect_left(self.edges, exemplar.value)] = exemplar

    @property
    def count(self) -> int:
        return sum(self.counts)


def latest(exemplars: Iterable[Exemplar | None]) -> Exemplar | None:
    """The one that was observed last; None of none."""
    return max((one for one in exemplars if one is not None), key=lambda one: one.at, default=None)


def quantile(edges: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The value below which `share` (0 to 1) of the observations lie, interpolated inside its bucket; None when there are none.

    Past the last edge the last edge is given, as PromQL's histogram_quantile does.
    """
    cumulative = list(accumulate(counts))
    if not cumulative or not cumulative[-1]:
        return None
    rank = share * cumulative[-1]
    index = bisect_left(cumulative, rank)
    while index < len(counts) and not counts[index]:
        index += 1
    if index >= len(edges):
        return edges[-1]
    low = edges[index - 1] if index else 0.0
    below = cumulative[index - 1] if index else 0
    return low + (edges[index] - low) * (rank - below) / counts[index]
