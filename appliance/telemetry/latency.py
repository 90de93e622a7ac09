"""How long backends take, from the latest requests: percentiles for eyes. Pure; the histograms of the metrics are for machines."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

import attrs

from appliance.core.record import RequestRecord

# Records looked at, the newest first: half a millisecond.
LOOKED_AT_MAX: Final = 1000


@attrs.frozen
class Latency:
    """Of one backend's attempts that went well, from the request sent to the answer's last byte; attempts: how many those were."""

    attempts: int
    p50_s: float
    p95_s: float


def latencies(newest_first: Iterable[RequestRecord]) -> dict[str, Latency]:
    """By backend; one that answered nothing lately is not among them."""
    spans: dict[str, list[float]] = {}
    for record in islice(newest_first, LOOKED_AT_MAX):
        for one in record.attempts:
            if one.outcome == "success":
                spans.setdefault(one.backend, []).append(one.ended_at - one.started_at - one.waited_s)
    return {name: _latency(sorted(found)) for name, found in spans.items()}


def _latency(ascending: Sequence[float]) -> Latency:
    return Latency(len(ascending), _quantile(ascending, 0.50), _quantile(ascending, 0.95))


def _quantile(ascending: Sequence[float], share: float) -> float:
    """The nearest rank: a span that was really seen."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]
