"""The live counts: what every metric family and /admin/stats is a projection of.

`fold` is the only writer. A cell is one full tuple of dimensions (`family.DIMENSIONS`), so that any vocabulary's series are sums over
cells; no vocabulary has counters of its own that could disagree. At most `series_max` cells are kept: a further one folds into `other`.
"""

import math
from collections.abc import Iterable
from typing import Final

import attrs

from appliance.telemetry.histogram import Exemplar, Histogram
from appliance.telemetry.labels import OTHER, LabelValues
from appliance.telemetry.vocabularies import union_edges

SERIES_MAX: Final = 20_000
USERS_MAX: Final = 100
# Distinct model names beyond the configured ones. A route of `*` lets callers name any model; random names must not use up every series.
# A name is some 120 lines of a scrape, so that a hundred stay well below SERIES_MAX.
MODELS_MAX: Final = 100
# Distinct `response_model` values. The upstream chooses them; a broken one could send a new one each time, and most echo the caller's.
RESPONSE_MODELS_MAX: Final = 100

# Histograms that hold exemplars, of some 250 bytes for each bucket that has one; further ones go without.
EXEMPLIFIED_MAX: Final = 1_000

# Seconds. The gateway adds well under a millisecond when all is well; the last edges show a queue or a stalled reader.
OVERHEAD_EDGES_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LAG_EDGES_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

DURATION_EDGES_S: Final = union_edges("requests", "duration")
TTFT_EDGES_S: Final = union_edges("requests", "ttft")
TIME_PER_TOKEN_EDGES_S: Final = union_edges("requests", "time_per_token")
ATTEMPT_EDGES_S: Final = union_edges("attempts", "duration")
TOKEN_EDGES: Final = union_edges("attempts", "input_tokens")

RequestKey = tuple[str, str, str, str, str, str, str, str, str, bool, bool]
AttemptKey = tuple[str, str, str, str, str, str, str]

# What a request with one attempt and no fault looks like before its values have become labels; in `fold`'s order.
Shape = tuple[str, str, str, str, int, bool, str, str, str, str, str]
# Shapes whose cells are remembered; past it all are forgotten and found again, which costs a request 5 µs once.
SHAPES_MAX: Final = 4_096


@attrs.define(eq=False)
class RequestCell:
    """Requests of one label set. `ttft` and `time_per_token` are made when first observed: most cells never need them."""

    duration: Histogram = attrs.field(factory=lambda: Histogram(DURATION_EDGES_S))
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    ttft: Histogram | None = None
    time_per_token: Histogram | None = None

    @property
    def count(self) -> int:
        """Each has a duration."""
        return self.duration.count

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@attrs.define(eq=False)
class AttemptCell:
    """Attempts of one label set. The histograms of tokens begin with the first that are counted."""

    duration: Histogram = attrs.field(factory=lambda: Histogram(ATTEMPT_EDGES_S))
    input_tokens: Histogram | None = None
    output_tokens: Histogram | None = None

    @property
    def count(self) -> int:
        """Each has a duration."""
        return self.duration.count

    def begin_input(self) -> Histogram:
        self.input_tokens = Histogram(TOKEN_EDGES)
        return self.input_tokens

    def begin_output(self) -> Histogram:
        self.output_tokens = Histogram(TOKEN_EDGES)
        return self.output_tokens


@attrs.define(eq=False)
class Rate:
    """The speed of the last generation of one model on one backend, and when it ended (monotonic seconds; infinitely long ago before the
    first). Overwritten in place."""

    tokens_per_s: float = 0.0
    at: float = -math.inf


# Where a shape is counted: its request cell, its attempt cell, and its speed.
Places = tuple[RequestCell, AttemptCell, Rate]


class Cells:
    """Every count of the process.

    Attributes:
        requests, attempts: cells by their full dimension tuple.
        limits, fallbacks, experiments, lookups, hedges: plain counts of rarer things, by theirs.
        rates: the last generation's speed by (model, backend).
        overhead: what the gateway added to requests that reached a backend; loop_lag: how late the event loop's timers fire. Seconds.
        shapes: a shortcut to the cells of common requests, see `fold`. Cells are never taken away, so it cannot go stale.
        exemplified: how many histograms hold exemplars.
        dropped: how often a label set or a value was folded into `other`.
    """

    __slots__ = (
        "_overflows", "attempts", "exemplified", "experiments", "fallbacks", "hedges", "limits", "lookups", "loop_lag", "models",
        "overhead", "rates", "requests", "response_models", "series_max", "shapes", "users",
    )  # fmt: skip

    def __init__(self, series_max: int = SERIES_MAX, users_max: int = USERS_MAX) -> None:
        self.series_max = series_max
        self.requests: dict[RequestKey, RequestCell] = {}
        self.attempts: dict[AttemptKey, AttemptCell] = {}
        self.limits: dict[tuple[str, ...], int] = {}
        self.fallbacks: dict[tuple[str, ...], int] = {}
        self.experiments: dict[tuple[str, ...], int] = {}
        self.lookups: dict[tuple[str, ...], int] = {}
        self.hedges: dict[tuple[str, ...], int] = {}
        self.rates: dict[tuple[str, str], Rate] = {}
        self.shapes: dict[Shape, Places] = {}
        self.overhead: Histogram = Histogram(OVERHEAD_EDGES_S)
        self.loop_lag: Histogram = Histogram(LAG_EDGES_S)
        self.models = LabelValues(MODELS_MAX)
        self.response_models = LabelValues(RESPONSE_MODELS_MAX)
        self.users = LabelValues(users_max)
        self.exemplified = 0
        self._overflows = 0

    @property
    def series(self) -> int:
        """Label sets kept."""
        rarer = (self.limits, self.fallbacks, self.experiments, self.lookups, self.hedges)
        return len(self.requests) + len(self.attempts) + sum(map(len, rarer))

    @property
    def dropped(self) -> int:
        return self._overflows + self.models.dropped + self.response_models.dropped + self.users.dropped

    def configure(self, models: Iterable[str]) -> None:
        """Keeps room for the models that the configuration names. Call it at start and after a reload."""
        self.models.reserve(["unknown", *models])

    def open_request(self, key: RequestKey) -> RequestCell:
        """The cell of a key not seen before. What is open in a key becomes `other` when there is no room; its verdict is never lost."""
        if self.series >= self.series_max:
            self._overflows += 1
            _, _, backend, vendor, _, _, operation, status, error_type, stream, reached = key
            key = (OTHER, OTHER, backend, vendor, OTHER, OTHER, operation, status, error_type, stream, reached)
            known = self.requests.get(key)
            if known is not None:
                return known
        cell = self.requests[key] = RequestCell()
        return cell

    def open_attempt(self, key: AttemptKey) -> AttemptCell:
        if self.series >= self.series_max:
            self._overflows += 1
            backend, vendor, _, _, operation, outcome, error_type = key
            key = (backend, vendor, OTHER, OTHER, operation, outcome, error_type)
            known = self.attempts.get(key)
            if known is not None:
                return known
        cell = self.attempts[key] = AttemptCell()
        return cell

    def exemplify(self, histogram: Histogram, exemplar: Exemplar) -> None:
        """Keeps an exemplar of a value that was counted, while there is room."""
        if histogram.exemplars is None:
            if self.exemplified >= EXEMPLIFIED_MAX:
                return
            self.exemplified += 1
        histogram.exemplify(exemplar)

    def count(self, table: dict[tuple[str, ...], int], key: tuple[str, ...], closed: str = "") -> None:
        """One more in a table of plain counts. `closed` is the last element of a key whose values are few and must survive the bound."""
        if key not in table and self.series >= self.series_max:
            self._overflows += 1
            key = (*[OTHER] * (len(key) - 1), closed or OTHER)
        table[key] = table.get(key, 0) + 1
