"""A histogram with fixed edges: one integer per bucket, one bisect per observation.

Buckets are kept apart, not cumulated: folding touches one integer, and cumulating is left to whoever reads.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Counts per bucket; the last one is everything past the last edge. A value equal to an edge belongs below it (Prometheus `le`)."""

    __slots__ = ("counts", "edges", "sum")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.edges, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)


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
