"""Exemplars: from a bucket of a latency histogram to a request that fell into it, by its trace. In OpenMetrics only, and bounded."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from rig import free_port
from telemetry_samples import STREAM, attempt, folded, request, scrape, series

from appliance.core.fault import FaultKind
from appliance.core.trace_context import Trace
from appliance.telemetry import cells as cells_module
from appliance.telemetry.cells import Cells
from appliance.telemetry.exposition import OPENMETRICS, TEXT
from appliance.telemetry.fold import fold


def trace(number: int, *, kept: bool = True) -> Trace:
    return Trace(f"{number:032x}", "b7ad6b7169203331", sampled=kept, kept=kept)


def exemplars(text: str, family: str) -> dict[float, tuple[str, float, float]]:
    """By the upper bound of the bucket: trace id, value, time."""
    (found,) = [one for one in parse_openmetrics(text) if one.name == family]
    return {
        float(sample.labels["le"]): (sample.exemplar.labels["trace_id"], sample.exemplar.value, float(sample.exemplar.timestamp))
        for sample in found.samples
        if sample.exemplar is not None
    }


def test_a_bucket_shows_the_last_recorded_request_that_fell_into_it() -> None:
    cells = folded(
        request(attempt(took=0.2), took=0.3, trace=trace(1)),
        request(attempt(took=0.2), took=0.31, trace=trace(2), id="id-2"),
        request(attempt(took=3.0), took=4.0, trace=trace(3)),
        request(attempt(took=0.2), took=0.32, trace=trace(4, kept=False)),
        request(attempt(took=0.2), took=0.33),
    )
    text = scrape(cells, form=OPENMETRICS)
    found = exemplars(text, "inference_gateway_request_duration_seconds")
    assert {edge: one[0] for edge, one in found.items()} == {0.5: trace(2).trace_id, 5.0: trace(3).trace_id}
    assert found[0.5][1:] == (pytest.approx(0.31), pytest.approx(1.7e9 + 0.31, abs=1e-3))
    assert 'request_id="id-2"' in text


def test_exemplars_lie_within_their_bucket_in_every_unit_and_vocabulary() -> None:
    durations = (0.001, 0.05, 0.3, 7.0, 400.0)
    cells = folded(*[request(attempt(took=took), took=took + 0.001, trace=trace(n)) for n, took in enumerate(durations)])
    seen = 0
    for family in parse_openmetrics(scrape(cells, form=OPENMETRICS)):
        edges = sorted({float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels})
        for sample in family.samples:
            if sample.exemplar is None:
                continue
            seen += 1
            place = edges.index(float(sample.labels["le"]))
            assert (edges[place - 1] if place else -1) < sample.exemplar.value <= edges[place], (sample.name, sample.labels)
            assert sum(map(len, [*sample.exemplar.labels, *sample.exemplar.labels.values()])) <= 128
    assert seen > 20
    assert exemplars(scrape(cells, form=OPENMETRICS), "model_latency_ms")[500.0][1] == pytest.approx(301)


def test_streams_attempts_and_overhead_have_them_too() -> None:
    STREAM.trace = trace(7)
    text = scrape(folded(STREAM), form=OPENMETRICS)
    STREAM.trace = None
    for family in ("gen_ai_server_time_to_first_token_seconds", "gen_ai_client_operation_duration_seconds", "appliance_overhead_seconds"):
        assert [one[0] for one in exemplars(text, family).values()] == [trace(7).trace_id], family


def test_each_attempt_of_a_failed_request_is_found_in_its_own_series() -> None:
    failed = [attempt("alpha", FaultKind.OVERLOADED, took=0.2), attempt("beta", FaultKind.OVERLOADED, took=3.0, vendor="xai")]
    text = scrape(folded(request(*failed, kind=FaultKind.OVERLOADED, status=502, took=5.0, trace=trace(9))), form=OPENMETRICS)
    assert [one[1] for one in exemplars(text, "gen_ai_client_operation_duration_seconds").values()] == [
        pytest.approx(0.2), pytest.approx(3.0),
    ]  # fmt: skip


def test_the_older_format_knows_none_and_the_numbers_are_the_same() -> None:
    cells = folded(request(attempt(), trace=trace(1)), request(attempt(took=2.0), took=2.5, trace=trace(2)))
    assert "trace_id" not in scrape(cells, form=TEXT)
    assert series(scrape(cells, form=TEXT)) == series(scrape(cells, form=OPENMETRICS), openmetrics=True)


def test_a_series_summed_from_several_cells_shows_the_latest() -> None:
    early = request(attempt("beta"), took=0.3, trace=trace(1))
    late = request(attempt("alpha"), took=0.3, trace=trace(2))
    late.wall_time += 5
    for order in ((early, late), (late, early)):
        found = exemplars(scrape(folded(*order), form=OPENMETRICS), "model_latency_ms")
        assert [one[0] for one in found.values()] == [trace(2).trace_id]


def test_no_more_histograms_hold_exemplars_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module, "EXEMPLIFIED_MAX", 5)
    cells = Cells()
    for number in range(20):
        fold(request(attempt(), tenant=f"t{number}", trace=trace(number)), cells)
    holding = [cell for cell in [*cells.requests.values(), *cells.attempts.values()] if cell.duration.exemplars is not None]
    assert len(holding) + (cells.overhead.exemplars is not None) == cells.exemplified == 5
    fold(request(attempt(), tenant="t0", trace=trace(99)), cells)
    assert trace(99).trace_id in scrape(cells, form=OPENMETRICS)  # those which have room go on


def test_untraced_requests_leave_histograms_as_they_are() -> None:
    cells = folded(request(attempt()), request(attempt(), trace=trace(1, kept=False)))
    assert cells.exemplified == 0
    assert all(cell.duration.exemplars is None for cell in cells.requests.values())


def test_a_real_prometheus_stores_them(tmp_path) -> None:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("prometheus is not on PATH (Debian: apt-get install prometheus)")
    now = time.time()
    record = request(attempt(), took=0.3, trace=trace(5))
    record.wall_time = now
    body = scrape(folded(record), form=OPENMETRICS).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", OPENMETRICS.content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    target = json.dumps([f"127.0.0.1:{server.server_port}"])
    config = tmp_path / "prometheus.yml"
    job = f"{{job_name: it, scrape_interval: 200ms, scrape_timeout: 200ms, static_configs: [{{targets: {target}}}]}}"
    config.write_text(f"scrape_configs: [{job}]")
    port = free_port()
    process = subprocess.Popen(
        [prometheus, f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}",
         "--enable-feature=exemplar-storage"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        query = {"query": "inference_gateway_request_duration_seconds_bucket", "start": now - 60, "end": now + 600}
        asked = f"http://127.0.0.1:{port}/api/v1/query_exemplars?{urllib.parse.urlencode(query)}"
        found: list[Any] = []
        end = time.monotonic() + 60
        while not found and time.monotonic() < end:
            time.sleep(0.2)
            try:
                with urllib.request.urlopen(asked, timeout=10) as answer:
                    found = json.load(answer)["data"]
            except OSError:
                continue  # it has not started yet
        (one,) = found[0]["exemplars"]
        assert one["labels"] == {"trace_id": trace(5).trace_id, "request_id": "id-1"}
        assert float(one["value"]) == pytest.approx(0.3)
    finally:
        process.kill()
        process.wait()
        server.shutdown()
        server.server_close()
