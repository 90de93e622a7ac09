"""The exposition is valid in both formats, whatever the labels hold, and comes in pieces that let a stream run in between."""

import random
import shutil
import subprocess

import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from telemetry_samples import EVERY_KIND, LIVE, SUCCESS, attempt, family, folded, request, scrape, series

from appliance.telemetry.cells import Cells
from appliance.telemetry.exposition import LINES_MAX, OPENMETRICS, TEXT, UnknownVocabulary, choose_vocabularies, lines
from appliance.telemetry.fold import fold
from appliance.telemetry.live import LedgerState, LiveState
from appliance.telemetry.negotiation import negotiate
from appliance.telemetry.vocabularies import VOCABULARIES

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def test_both_formats_say_the_same() -> None:
    cells = folded(*EVERY_KIND)
    assert series(scrape(cells, form=TEXT)) == series(scrape(cells, form=OPENMETRICS), openmetrics=True)


def test_openmetrics_has_its_types_units_and_its_end() -> None:
    text = scrape(folded(SUCCESS), form=OPENMETRICS)
    assert text.endswith("# EOF\n")
    assert text.count("# EOF") == 1
    families = {one.name: one for one in parse_openmetrics(text)}
    assert families["inference_gateway_requests"].type == "counter"
    assert families["appliance_build"].type == "info"
    assert families["model_latency_ms"].unit == "ms"
    assert families["aigateway_cost_usd"].unit == "usd"
    assert "# EOF" not in scrape(folded(SUCCESS), form=TEXT)


@pytest.mark.parametrize("form", [TEXT, OPENMETRICS])
@pytest.mark.parametrize("odd", ['quo"te', "back\\slash", "line\nfeed", "\\n", "ünïcödé ☃", 'a="b",c="d"', "", "} 1", "tab\tcr\r"])
def test_any_label_value_survives_the_round_trip(form, odd) -> None:
    text = scrape(folded(request(attempt(), route=odd)), form=form)
    found = series(text, openmetrics=form is OPENMETRICS)
    assert ("inference_gateway_requests_total", (("backend", "alpha"), ("route", odd), ("status", "200"))) in found


def test_a_lone_surrogate_costs_no_scrape() -> None:
    cells = folded(request(attempt(), route="odd\udc80"))
    assert family(cells, "inference_gateway_requests_total") == {"backend=alpha,route=odd?,status=200": 1}


@pytest.mark.parametrize("form", [TEXT, OPENMETRICS])
@pytest.mark.parametrize("name", VOCABULARIES)
def test_each_vocabulary_alone_is_a_whole_exposition(form, name) -> None:
    text = scrape(folded(*EVERY_KIND), form=form, names=(name,))
    assert series(text, openmetrics=form is OPENMETRICS)
    named = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert len(named) == len(VOCABULARIES[name])


def test_promtool_has_nothing_to_say_but_its_remark_on_milliseconds() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not on PATH (Debian: apt-get install prometheus)")
    live = LiveState(**{**{one.name: getattr(LIVE, one.name) for one in LIVE.__attrs_attrs__}, "ledger": LedgerState(1, 2, 3)})
    for cells in (Cells(), folded(*EVERY_KIND)):
        done = subprocess.run([promtool, "check", "metrics"], input=scrape(cells, live), capture_output=True, text=True, timeout=60)
        remarks = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        assert remarks in ([], ["model_latency_ms metric names should not contain abbreviated units"]), remarks


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain", TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("APPLICATION/OPENMETRICS-TEXT; VERSION=1.0.0", OPENMETRICS),
        ('application/openmetrics-text; version="1.0.0"', OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.8", TEXT),
        ("text/plain;q=0.2,application/openmetrics-text;q=0.8", OPENMETRICS),
        ("text/plain;version=0.0.4,application/openmetrics-text", TEXT),
        ("application/openmetrics-text,text/plain;version=0.0.4", OPENMETRICS),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=0.1,*/*", TEXT),
        ("application/openmetrics-text;q=banana", TEXT),
        ("application/json", TEXT),
        (";;;,,,=", TEXT),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily,text/plain;version=0.0.4;q=0.5", TEXT),
    ],
)
def test_the_scrapers_wish_decides_the_format(accept, form) -> None:
    assert negotiate(accept) is form


def test_a_scrape_may_ask_for_some_of_the_exposed_vocabularies() -> None:
    exposed = ("llm_gateway", "model")
    assert choose_vocabularies([], exposed) == exposed
    assert choose_vocabularies(["model"], exposed) == ("model",)
    assert choose_vocabularies(["model", "llm_gateway"], exposed) == exposed
    unknown = choose_vocabularies(["gen_ai"], exposed)
    assert isinstance(unknown, UnknownVocabulary)
    assert "llm_gateway, model" in unknown.message


def test_a_gauge_is_a_number_and_a_scrape_without_state_is_valid() -> None:
    assert series(scrape(Cells(), LiveState())) != {}
    assert series(scrape(Cells(), LiveState(), form=OPENMETRICS), openmetrics=True) != {}


def crowd(count: int) -> Cells:
    cells = Cells(series_max=10**6)
    for number in range(count):
        fold(request(attempt(), tenant=f"t{number}", route=f"r{number % 20}"), cells)
    return cells


@pytest.mark.parametrize("form", [TEXT, OPENMETRICS])
async def test_twenty_thousand_series_come_in_small_pieces_while_folding_goes_on(form) -> None:
    cells = crowd(2000)
    draw = random.Random(7)
    pieces: list[bytes] = []
    folds = 0
    for piece in lines(cells, LIVE, 101.0, form):
        assert piece.count(b"\n") <= LINES_MAX
        assert piece in (b"",) or piece.endswith(b"\n")
        pieces.append(piece)
        number = draw.randrange(3000)
        fold(request(attempt(), tenant=f"t{number}", route=f"r{number % 20}", took=draw.random() * 20), cells)
        folds += 1
        await trio.lowlevel.checkpoint()
    text = b"".join(pieces).decode()
    assert text.count("\n") > 20_000
    assert folds > 150
    found = series(text, openmetrics=form is OPENMETRICS)
    whole: dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[float, float]]] = {}
    for (name, pairs), value in found.items():
        if name.endswith("_bucket"):
            labels = dict(pairs)
            edge = float(labels.pop("le"))
            whole.setdefault((name.removesuffix("_bucket"), frozenset(labels.items())), []).append((edge, value))
    for (name, labels), buckets in whole.items():
        counts = [value for _, value in sorted(buckets)]
        assert counts == sorted(counts)
        assert counts[-1] == found[name + "_count", tuple(sorted(labels))]


def test_no_more_cells_are_worked_through_between_two_pieces_than_lines() -> None:
    """A family that sums many cells into few series pauses too: it has cells to go through, if no lines to write."""
    cells = crowd(2000)
    pauses = sum(piece == b"" for piece in lines(cells, LIVE, 101.0, TEXT, ("model",)))
    assert pauses >= 4 * 2000 // LINES_MAX
