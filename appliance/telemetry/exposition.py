"""The Prometheus text format 0.0.4 and OpenMetrics 1.0.0, written in small pieces.

The server writes one piece, lets the event loop run, and asks for the next: no piece holds more than LINES_MAX lines, and an empty piece is
a pause alone. Sources: the Prometheus exposition format documentation, the OpenMetrics 1.0.0 specification.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Final

import attrs

from appliance.telemetry.cells import Cells
from appliance.telemetry.family import Family, Scope
from appliance.telemetry.histogram import Exemplar, Histogram
from appliance.telemetry.live import LiveState
from appliance.telemetry.projection import LabelTuple, Projection, cut, histograms, numbers
from appliance.telemetry.vocabularies import VOCABULARIES

LINES_MAX: Final = 200


@attrs.frozen
class Format:
    """One exposition format and the Content-Type that announces it."""

    name: str
    content_type: str


TEXT: Final = Format("text", "text/plain; version=0.0.4; charset=utf-8")
OPENMETRICS: Final = Format("openmetrics", "application/openmetrics-text; version=1.0.0; charset=utf-8")


@attrs.frozen
class UnknownVocabulary:
    """A `?vocabulary=` that is not exposed; the server answers 400."""

    name: str
    exposed: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"unknown vocabulary {self.name!r}; exposed are: {', '.join(self.exposed) or 'none'}"


def choose_vocabularies(asked: Sequence[str], exposed: Sequence[str]) -> tuple[str, ...] | UnknownVocabulary:
    """What to show: what the query's `vocabulary` parameters name, in the configured order; all that is exposed when they name none."""
    for name in asked:
        if name not in exposed:
            return UnknownVocabulary(name[:64], tuple(exposed))
    return tuple(name for name in exposed if not asked or name in asked)


def lines(cells: Cells, live: LiveState, now: float, form: Format = TEXT, names: Iterable[str] = tuple(VOCABULARIES)) -> Iterator[bytes]:
    """One scrape, in pieces of at most LINES_MAX whole lines. An empty piece means: nothing to write, let others run.

    `now` is on the monotonic clock of the records, in seconds. Folding may go on between the pieces: a series' lines come from one instant.
    """
    scope = Scope(cells, live, now)
    for name in names:
        for family in VOCABULARIES[name]:
            yield from family_lines(family, scope, form)
    if form is OPENMETRICS:
        yield b"# EOF\n"


def family_lines(family: Family, scope: Scope, form: Format) -> Generator[bytes, None, None]:
    """One family, in pieces."""
    batch = _head(family, form)
    series = yield from _pausing((histograms if family.kind == "histogram" else numbers)(family, scope))
    names = [f'{name}="' for name in family.label_names]
    for values, value in series.items():
        labels = ",".join([name + _escaped(text) + '"' for name, text in zip(names, values, strict=True)])
        fresh = _histogram_lines(family, labels, value, form) if isinstance(value, Histogram) else [_line(family.name, labels, value)]
        if len(batch) + len(fresh) > LINES_MAX:
            yield _bytes(batch)
            batch = []
        batch += fresh
    yield _bytes(batch)


def _pausing(projection: Projection) -> Generator[bytes, None, dict[LabelTuple, Any]]:
    """Turns a projection's pauses into empty pieces and hands on what it found."""
    while True:
        try:
            next(projection)
        except StopIteration as finished:
            series: dict[LabelTuple, Any] = finished.value
            return series
        yield b""


def _line(name: str, labels: str, value: float) -> str:
    return f"{name}{{{labels}}} {value!r}\n" if labels else f"{name} {value!r}\n"


def _histogram_lines(family: Family, labels: str, histogram: Histogram, form: Format) -> list[str]:
    """One series. `le` is canonical ("1.0", not "1") in both formats: a server that changes from one to the other keeps its series."""
    name = family.name
    buckets = cut(family, histogram)
    before = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
    counted = [
        *[f'{before}le="{edge!r}"}} {count}\n' for edge, count in zip(buckets.edges, buckets.cumulative, strict=True)],
        f'{before}le="+Inf"}} {buckets.count}\n',
    ]
    if buckets.exemplars and form is OPENMETRICS:  # the older format has no room for them
        counted = [line[:-1] + _exemplar(one) + "\n" for line, one in zip(counted, buckets.exemplars, strict=True)]
    return [
        *counted,
        _line(name + "_sum", labels, buckets.sum),
        _line(name + "_count", labels, buckets.count),
    ]


def _exemplar(one: Exemplar | None) -> str:
    """OpenMetrics allows 128 characters of names and values of its labels; these are some 70."""
    return "" if one is None else f' # {{trace_id="{one.trace_id}",request_id="{one.request_id}"}} {one.value!r} {one.at:.3f}'


def _head(family: Family, form: Format) -> list[str]:
    """HELP, TYPE and UNIT. OpenMetrics names a counter's or info's family without its suffix, and alone knows UNIT and info."""
    name, kind = family.name, str(family.kind)
    if form is TEXT:
        kind = "gauge" if kind == "info" else kind
        return [f"# HELP {name} {_escaped_help(family.help)}\n", f"# TYPE {name} {kind}\n"]
    name = name.removesuffix({"counter": "_total", "info": "_info"}.get(kind, ""))
    unit = [f"# UNIT {name} {family.unit}\n"] if family.unit else []
    return [f"# TYPE {name} {kind}\n", *unit, f"# HELP {name} {_escaped(family.help)}\n"]


def _escaped(text: str) -> str:
    """Label values in both formats, and OpenMetrics' help: backslash, double quote and line feed."""
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text


def _escaped_help(text: str) -> str:
    """The text format's help leaves quotes alone."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _bytes(batch: list[str]) -> bytes:
    """Lone surrogates (from an undecodable environment or file name) become `?`: one odd name must not cost the whole scrape."""
    return "".join(batch).encode("utf-8", "replace")
