"""Nothing that callers or upstreams send can make the metrics grow past their bounds, and the sums stay right."""

from telemetry_samples import attempt, family, fault, folded, request, scrape, series

from appliance.core.fault import FaultKind
from appliance.telemetry.cells import MODELS_MAX, RESPONSE_MODELS_MAX, SHAPES_MAX, Cells
from appliance.telemetry.labels import OTHER, VALUE_MAX_CHARS, LabelValues
from appliance.telemetry.live import LiveState


def labels_of(cells: Cells, name: str, label: str) -> set[str]:
    return {dict(pairs)[label] for (sample, pairs) in series(scrape(cells)) if sample == name}


def test_ten_thousand_users_become_a_hundred_and_other() -> None:
    cells = Cells(users_max=100)
    for number in range(10_000):
        folded(request(kind=FaultKind.RATE_LIMITED, status=429, limit_type="requests", user=f"user-{number}"), cells=cells)
    hits = family(cells, "inference_gateway_rate_limit_hits_total")
    assert len(hits) == 101
    assert hits["route=chat,user=other"] == 9_900
    assert sum(hits.values()) == 10_000


def test_models_that_no_route_knows_share_one_series() -> None:
    cells = Cells()
    for number in range(1_000):
        record = request(kind=FaultKind.UNKNOWN_MODEL, status=404, model="unknown")
        record.requested_model = f"model-{number}"
        folded(record, cells=cells)
    assert labels_of(cells, "aigateway_requests_total", "model") == {"unknown"}
    assert "model-7" not in scrape(cells)


def test_random_model_names_on_a_catch_all_route_are_bounded_and_cannot_crowd_out_configured_ones() -> None:
    cells = Cells()
    cells.configure(["late"])
    for number in range(2_000):
        name = f"model-{number}"
        folded(request(attempt(model=name), model=name), cells=cells)
    folded(request(attempt(model="late"), model="late"), cells=cells)
    counts = family(cells, "model_requests_total", LiveState())
    assert len(counts) == MODELS_MAX + 2
    assert counts["model=late"] == 1
    assert counts["model=other"] == 2_000 - MODELS_MAX
    assert family(cells, "appliance_metric_series_dropped_total")[""] > 0


def test_an_upstream_that_makes_up_model_names_is_bounded() -> None:
    cells = Cells()
    for number in range(2_000):
        folded(request(attempt(response_model=f"build-{number}")), cells=cells)
    assert len(labels_of(cells, "gen_ai_server_request_duration_seconds_count", "gen_ai_response_model")) == RESPONSE_MODELS_MAX + 1


def test_past_series_max_label_sets_fold_into_other_and_no_request_is_lost() -> None:
    cells = Cells(series_max=100)
    for number in range(1_000):
        folded(request(attempt(), tenant=f"t{number}"), cells=cells)
        folded(request(kind=FaultKind.UNAUTHORIZED, status=401, tenant=f"u{number}"), cells=cells)
    assert cells.series <= 110
    assert cells.dropped > 0
    counts = family(cells, "aigateway_requests_total")
    assert sum(counts.values()) == 2_000
    assert counts["model=other,provider=alpha,status=success,tenant_id=other"] > 800
    # what happened is never lost, only who it happened to: a refusal stays one that reached nobody
    assert counts["model=other,provider=none,status=unauthorized,tenant_id=other"] > 800
    assert sum(family(cells, "llm_gateway_llm_gateway_requests_total").values()) == 1_000


def test_rare_things_fold_into_other_too() -> None:
    cells = Cells(series_max=50, users_max=10**6)
    for number in range(500):
        more = {"fallbacks": [(f"a{number}", "b")], "limit_type": "tokens", "user": f"u{number}", "cache": "miss"}
        folded(request(attempt(), route=f"r{number}", **more), cells=cells)
    assert cells.series <= 60
    assert sum(family(cells, "inference_gateway_fallbacks_total").values()) == 500
    assert sum(family(cells, "inference_gateway_rate_limit_hits_total").values()) == 500
    assert sum(family(cells, "llm_gateway_llm_gateway_cache_operations_total").values()) == 500


def test_remembered_shapes_are_bounded_and_count_what_is_dropped_every_time() -> None:
    cells = Cells()
    for number in range(SHAPES_MAX + 10):
        folded(request(attempt(), tenant=f"t{number}"), cells=cells)
    assert 0 < len(cells.shapes) <= SHAPES_MAX
    cells = Cells(series_max=0)
    for _ in range(3):
        folded(request(attempt(), model="x" * (VALUE_MAX_CHARS + 1)), request(attempt()), cells=cells)
    assert not cells.shapes
    assert cells.dropped == 12


def test_a_label_value_is_cut_and_cleaned() -> None:
    values = LabelValues(10)
    huge = "x" * 10_000_000
    assert values.label(huge) == "x" * VALUE_MAX_CHARS
    assert values.label("a\udc80b") == "a?b"
    assert values.label("") == ""


def test_no_users_at_all_may_be_kept() -> None:
    values = LabelValues(0)
    assert values.label("ann") == OTHER
    assert values.label("") == ""
    assert values.dropped == 1


def test_reserved_values_never_become_other() -> None:
    values = LabelValues(1)
    values.label("stranger")
    values.reserve(["a", "b", "stranger"])
    assert [values.label(name) for name in ("a", "b", "stranger", "another")] == ["a", "b", "stranger", OTHER]


def test_a_fault_without_a_fault_is_still_counted() -> None:
    """An attempt that says `error` and names no fault is a bug of ours; it must not vanish from the counts."""
    cells = folded(request(attempt(outcome="error"), kind=FaultKind.INTERNAL, status=500))
    assert family(cells, "llm_gateway_llm_gateway_errors_total") == {"error_type=internal,provider=alpha": 1}
    assert fault(FaultKind.INTERNAL).row.label == "internal"
