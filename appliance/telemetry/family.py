"""What one row of a vocabulary's table says: a metric family, where its numbers come from and what its labels are called.

A family is data. It names a source (which cells), a measure (which of their numbers) and its labels (which dimensions, renamed and mapped);
`projection` does the arithmetic, `exposition` the writing.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from appliance.telemetry.histogram import Histogram
from appliance.telemetry.live import LiveState

if TYPE_CHECKING:
    from appliance.telemetry.cells import Cells

Kind = Literal["counter", "gauge", "histogram", "info"]
Source = Literal["requests", "attempts", "limits", "fallbacks", "experiments", "lookups", "live"]

# The dimensions of each source's keys, in the order in which `fold` builds the tuples. `status` is text, `stream` and `reached` are bools;
# `reached` says whether a backend was asked: a refusal or a cache hit is a request, and not one that reached a backend.
DIMENSIONS: dict[Source, tuple[str, ...]] = {
    "requests": (
        "tenant", "route", "backend", "vendor", "model", "response_model", "operation", "status", "error_type", "stream", "reached",
    ),
    "attempts": ("backend", "vendor", "model", "response_model", "operation", "outcome", "error_type"),
    "limits": ("tenant", "route", "user", "limit_type"),
    "fallbacks": ("route", "from_backend", "to_backend"),
    "experiments": ("experiment", "variant"),
    "lookups": ("tenant", "operation", "result"),
}  # fmt: skip

BOOL_TEXT: Mapping[Any, str] = {True: "true", False: "false"}


@attrs.frozen
class Label:
    """One label: its name in the vocabulary, the dimension it shows (by default the one of that name), and other names for some values.

    Values that `values` does not mention keep their own.
    """

    name: str
    dimension: str = attrs.field(default=attrs.Factory(lambda self: self.name, takes_self=True))
    values: Mapping[Any, str] = attrs.field(factory=dict)


Reading = Iterable[tuple[tuple[str, ...], "float | Histogram"]]


@attrs.frozen
class Family:
    """One metric family.

    Attributes:
        name: as Prometheus shows it; a counter's ends in `_total`.
        help: one sentence.
        source: which cells it is a projection of; `live` and `process` ones are read by `read`.
        measure: the cell attribute that is summed: a number, or a `Histogram` (None where nothing was observed). Empty where the source is
            a plain count.
        labels: in the order in which they are written. With `split` the split label comes last.
        split: (label name, {label value: measure}) where one family shows several measures side by side.
        where: dimension → values that a cell must have to count.
        counted: like `where`, but a cell that fails it leaves a zero series behind instead of none.
        fill: label → values that exist at 0 in each group seen.
        seed: label tuples that exist at 0 from start.
        edges: bucket edges, in the family's own unit; scale: what seconds (or tokens) are multiplied by to get that unit.
        unit: as OpenMetrics' UNIT, when the name ends in it.
        read: for `live` families, which have no cells: (label values, number or histogram) pairs from a `Scope`.
    """

    name: str
    kind: Kind
    help: str
    source: Source
    labels: tuple[Label, ...] = ()
    measure: str = ""
    split: tuple[str, Mapping[str, str]] | None = None
    where: Mapping[str, frozenset[Any]] = attrs.field(factory=dict)
    counted: Mapping[str, frozenset[Any]] = attrs.field(factory=dict)
    fill: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    seed: Callable[[LiveState], Iterable[tuple[str, ...]]] | None = None
    edges: tuple[float, ...] = ()
    scale: float = 1.0
    unit: str = ""
    read: Callable[["Scope"], Reading] | None = None

    @property
    def label_names(self) -> tuple[str, ...]:
        names = tuple(label.name for label in self.labels)
        return names if self.split is None else (*names, self.split[0])


REACHED: Mapping[str, frozenset[Any]] = {"reached": frozenset({True})}


@attrs.frozen
class Scope:
    """What one scrape may read: the cells, one instant of live state, and the monotonic clock that the records use, in seconds."""

    cells: "Cells"
    live: LiveState
    now: float
