"""From cells to the series of one family: sums over the dimensions that a vocabulary does not show.

Projection happens at scrape and never blocks for long: it works through a snapshot of the keys and pauses (yields None) every PAUSE_CELLS
cells, while folding goes on. Each cell is read in one step, so a histogram's buckets, sum and count always belong together.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from itertools import accumulate, pairwise
from operator import attrgetter, itemgetter
from typing import Any

import attrs

from appliance.telemetry.family import DIMENSIONS, Family, Scope
from appliance.telemetry.histogram import Exemplar, Histogram, latest

# Cells worked through between two pauses. One takes 1 to 3 µs, so a pause comes after about half a millisecond.
PAUSE_CELLS = 200

LabelTuple = tuple[str, ...]
Projection = Generator[None, None, "dict[LabelTuple, Any]"]


@attrs.frozen
class Buckets:
    """One histogram series in the family's own unit: cumulative counts per edge, the whole count, the sum.

    exemplars: of each bucket and of what is past the last edge; empty where no bucket has one.
    """

    edges: tuple[float, ...]
    cumulative: tuple[int, ...]
    count: int
    sum: float
    exemplars: tuple[Exemplar | None, ...] = ()


def numbers(family: Family, scope: Scope) -> Projection:
    """The series of a counter, gauge or info family: label values → number. Yields None to let others run."""
    series: dict[LabelTuple, Any] = dict.fromkeys(family.seed(scope.live), 0) if family.seed is not None else {}
    if family.read is not None:
        series.update(family.read(scope))
        return series
    select, counts = _selector(family), _allowed(family, family.counted)
    parts = _parts(family)
    for done, (key, cell) in enumerate(_cells(family, scope)):
        if done % PAUSE_CELLS == PAUSE_CELLS - 1:
            yield
        found = select(key)
        if found is None:
            continue
        counted = counts is None or counts(key)
        for suffix, measure in parts:
            labels = found + suffix
            amount = (cell if measure is None else measure(cell)) if counted else 0
            series[labels] = series.get(labels, 0) + amount
            if family.fill:
                _fill(family, labels, series)
    return series


def histograms(family: Family, scope: Scope) -> Projection:
    """The series of a histogram family: label values → the sum of the cells' histograms, for `cut`. Yields None to let others run."""
    if family.read is not None:
        return dict(family.read(scope))
    select = _selector(family)
    parts = _parts(family)
    sums: dict[LabelTuple, Histogram] = {}
    for done, (key, cell) in enumerate(_cells(family, scope)):
        if done % PAUSE_CELLS == PAUSE_CELLS - 1:
            yield
        found = select(key)
        if found is None:
            continue
        for suffix, measure in parts:
            observed: Histogram | None = measure(cell) if measure is not None else None
            if observed is None:
                continue
            labels = found + suffix
            total = sums.get(labels)
            if total is None:
                total = sums[labels] = Histogram(observed.edges)
            total.counts = [a + b for a, b in zip(total.counts, observed.counts, strict=True)]
            total.sum += observed.sum
            if observed.exemplars is not None:
                pairs = zip(total.exemplars or observed.exemplars, observed.exemplars, strict=True)
                total.exemplars = [latest(pair) for pair in pairs]
    return sums


def cut(family: Family, histogram: Histogram) -> Buckets:
    """From the union's edges and the cells' unit to the family's. Both edges were computed the same way from the same literals, so the
    floats are equal. A family without edges of its own shows the histogram as it is."""
    edges = family.edges or histogram.edges
    cumulative = list(accumulate(histogram.counts))
    if edges == histogram.edges:
        return Buckets(edges, tuple(cumulative[:-1]), cumulative[-1], histogram.sum, tuple(histogram.exemplars or ()))
    places = [histogram.edges.index(edge / family.scale) for edge in edges]
    exemplars = _cut_exemplars(histogram.exemplars, places, family.scale) if histogram.exemplars is not None else ()
    return Buckets(edges, tuple([cumulative[place] for place in places]), cumulative[-1], histogram.sum * family.scale, exemplars)


def _cut_exemplars(exemplars: list[Exemplar | None], places: list[int], scale: float) -> tuple[Exemplar | None, ...]:
    """The latest one between each two of the family's edges. places: where its edges lie among the union's."""
    bounds = [0, *[place + 1 for place in places], len(exemplars)]
    found = [latest(exemplars[low:high]) for low, high in pairwise(bounds)]
    return tuple([None if one is None else one._replace(value=one.value * scale) for one in found])


def _cells(family: Family, scope: Scope) -> Iterable[tuple[Any, Any]]:
    """Every cell by a snapshot of the keys: folding may add cells while a scrape pauses.

    A list of the items would do too, but makes a tuple for each: 20,000 objects at once, enough to set off a full garbage collection.
    """
    table = getattr(scope.cells, family.source)
    for key in list(table):
        yield key, table[key]


def _parts(family: Family) -> list[tuple[LabelTuple, Callable[[Any], Any] | None]]:
    """What to take from a cell, and which label value to put behind its others. No getter means that the cell is a plain count."""
    if family.split is not None:
        return [((value,), attrgetter(measure)) for value, measure in family.split[1].items()]
    return [((), attrgetter(family.measure) if family.measure else None)]


def _selector(family: Family) -> Callable[[Any], LabelTuple | None]:
    """From a cell's key to the family's label values, None where the cell does not belong to the family."""
    dimensions = DIMENSIONS[family.source]
    pick = _tuple_getter([dimensions.index(label.dimension) for label in family.labels])
    maps = [(place, label.values) for place, label in enumerate(family.labels) if label.values]
    belongs = _allowed(family, family.where)

    def select(key: Any) -> LabelTuple | None:
        if belongs is not None and not belongs(key):
            return None
        picked = pick(key)
        if not maps:
            return picked
        values = list(picked)
        for place, names in maps:
            values[place] = names.get(values[place], values[place])
        return tuple(values)

    return select


def _tuple_getter(places: list[int]) -> Callable[[Any], LabelTuple]:
    """itemgetter gives a bare value for one place and refuses none."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda key: tuple(key[place] for place in places)


def _allowed(family: Family, conditions: Mapping[str, frozenset[Any]]) -> Callable[[Any], bool] | None:
    dimensions = DIMENSIONS[family.source]
    tests = [(dimensions.index(name), allowed) for name, allowed in conditions.items()]
    return (lambda key: all(key[place] in allowed for place, allowed in tests)) if tests else None


def _fill(family: Family, labels: LabelTuple, series: dict[LabelTuple, Any]) -> None:
    """The zero series that a ratio needs to read 0 and not nothing."""
    names = family.label_names
    for name, values in family.fill.items():
        place = names.index(name)
        for value in values:
            series.setdefault((*labels[:place], value, *labels[place + 1 :]), 0)
