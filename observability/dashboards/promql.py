"""PromQL that is easy to get wrong, written once.

Two rules. A share of nothing is empty, never NaN: the whole is filtered with `> 0`. A share of something is 0, never empty, where no series
of the part exists yet: `or 0 * whole` makes the zeros, with the whole's labels.
"""

from collections.abc import Sequence
from typing import Final

# Grafana's own: at least four scrapes, and never narrower than a point of the graph.
RATE: Final = "$__rate_interval"


def _by(labels: Sequence[str]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""


def per_s(selector: str, *by: str, window: str = RATE) -> str:
    """A counter's rate, summed by these labels."""
    return f"sum{_by(by)} (rate({selector}[{window}]))"


def or_zero(part: str, whole: str) -> str:
    """`part`, with a zero wherever `whole` is and no series of the part yet; both sums by the same labels."""
    return f"{part} or 0 * {whole}"


def per_s_of_many(part: str, whole: str, *by: str) -> str:
    """The rate of a family with a label for every caller, 0 where `whole` counts and it does not.

    Most of its series begin at 1 and stay there, which is no growth to `rate`. Their sum grows, begins at 0, and starts anew with its
    process, as one counter does.
    """
    within_one = _by((*by, "instance"))
    return f"sum{_by(by)} (rate(({or_zero(f'sum{within_one} ({part})', f'sum{within_one} ({whole})')})[{RATE}:15s]))"


def percent(part: str, whole: str) -> str:
    """`part` of `whole` in percent, both sums by the same labels."""
    return f"100 * ({or_zero(part, whole)}) / ({whole} > 0)"


def quantile(q: float, buckets: str, *by: str, window: str = RATE) -> str:
    """An estimate from a histogram's buckets. `>= 0` drops the NaN of series without an observation in the window."""
    return f"histogram_quantile({q}, {per_s(buckets, 'le', *by, window=window)}) >= 0"


def mean(sums: str, counts: str, *by: str, window: str = RATE) -> str:
    """A histogram's mean: what its `_sum` gained over what its `_count` did."""
    return f"{per_s(sums, *by, window=window)} / ({per_s(counts, *by, window=window)} > 0)"


def percentiles(buckets: str, *by: str, window: str = RATE, qs: Sequence[float] = (0.5, 0.95, 0.99)) -> list[tuple[str, str]]:
    """(legend, expression) of each quantile; the legend is the `by` labels and p50, p95, p99."""
    name = " / ".join(f"{{{{{label}}}}}" for label in by)
    return [(f"{name} p{q * 100:g}".strip(), quantile(q, buckets, *by, window=window)) for q in qs]
