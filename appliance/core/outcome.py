"""What became of one variant's requests: figures that add up over days, and what they say. Pure.

The rule: times are of answers that came whole. A fault may be quick or slow, and would make a variant that fails look better or worse than
its answers are; faults have their own line. Tokens are of those answers, too; money is of all requests, for what failed was paid as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from appliance.core.interval import Interval, Tally, mean_interval, share_interval
from appliance.core.spread import Spread

COUNTS: Final = ("requests", "errors", "client_gone", "fallbacks", "estimated_requests")
MEASURES: Final = ("latency_ms", "ttft_ms", "input_tokens", "output_tokens", "cost_usd")
SPREADS: Final = ("latency_ms", "ttft_ms")
PERCENTS: Final = (50, 95)

Figures = dict[str, Any]
"""An outcome in plain values that JSON can carry."""


@attrs.define
class Outcome:
    """One variant's figures.

    Attributes:
        client_gone: callers who left before; that is nobody's fault.
        fallbacks: another backend than the variant's had to be asked.
        estimated_requests: whose tokens are.
    """

    requests: int = 0
    errors: int = 0
    client_gone: int = 0
    fallbacks: int = 0
    estimated_requests: int = 0
    measures: dict[str, Tally] = attrs.field(factory=lambda: {name: Tally() for name in MEASURES})
    spreads: dict[str, Spread] = attrs.field(factory=lambda: {name: Spread() for name in SPREADS})

    def merge(self, other: "Outcome") -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, tally in self.measures.items():
            tally.merge(other.measures[name])
        for name, spread in self.spreads.items():
            spread.merge(other.spreads[name].counts)

    @property
    def decided(self) -> int:
        """Requests of which it is known whether they went well: all but those whose callers left."""
        return self.requests - self.client_gone

    def figures(self) -> Figures:
        """For keeping; `of_figures` takes it back."""
        return {
            **{name: getattr(self, name) for name in COUNTS},
            "measures": {name: [one.count, one.total, one.squares] for name, one in self.measures.items()},
            "spreads": {name: [[place, count] for place, count in sorted(one.counts.items())] for name, one in self.spreads.items()},
        }

    def shown(self) -> Figures:
        """For people and programs: each figure with its count and its 95 % interval."""
        error_ratio = share_interval(self.errors, self.decided)
        found: Figures = {
            **{name: getattr(self, name) for name in COUNTS},
            "error_ratio": {"count": self.decided, **interval_dict(error_ratio, "value")},
        }
        for name, tally in self.measures.items():
            found[name] = {"count": tally.count, **interval_dict(mean_interval(tally), "mean", tally.mean)}
            if name in SPREADS:
                for percent in PERCENTS:
                    found[name] |= _percentile(self.spreads[name], percent)
            else:
                found[name]["total"] = _rounded(tally.total)
        return found


def of_figures(kept: Mapping[str, Any]) -> Outcome:
    """What `Outcome.figures` gave, perhaps in an earlier version: what is not there counts nothing."""
    found = Outcome()
    for name in COUNTS:
        setattr(found, name, int(kept.get(name, 0)))
    for name, (count, total, squares) in kept.get("measures", {}).items():
        if name in found.measures:
            found.measures[name] = Tally(count, total, squares)
    for name, pairs in kept.get("spreads", {}).items():
        if name in found.spreads:
            found.spreads[name].merge(dict(_pairs(pairs)))
    return found


def interval_dict(found: Interval | None, name: str, alone: float | None = None) -> Figures:
    """`{name, low, high}`. alone: what is known of a value that has no interval."""
    if found is None:
        return {name: None if alone is None else _rounded(alone), "low": None, "high": None}
    return {name: _rounded(found.value), "low": _rounded(found.low), "high": _rounded(found.high)}


def _percentile(spread: Spread, percent: int) -> Figures:
    found, name = spread.percentile(percent), f"p{percent}"
    return {name: None, f"{name}_low": None, f"{name}_high": None} if found is None else {
        name: _rounded(found.value), f"{name}_low": _rounded(found.low), f"{name}_high": _rounded(found.high),
    }  # fmt: skip


def _pairs(pairs: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    return [(place, count) for place, count in pairs]


def _rounded(value: float) -> float:
    """Nine digits: enough for money, and no rest of binary fractions."""
    return float(f"{value:.9g}")
