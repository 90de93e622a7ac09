"""Every family of the metric contract, written out again by hand: names, types, labels and bucket edges are what dashboards anchor on."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from telemetry_samples import EVERY_KIND, folded, scrape

from appliance.core.fault import ERROR_TYPES, FAULTS, FaultKind
from appliance.telemetry.vocabularies import VOCABULARIES, aigateway, llm_gateway

TEN = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
OTEL = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
LLM = "llm_gateway_llm_gateway_"
GENAI = "gen_ai_operation_name gen_ai_provider_name gen_ai_request_model gen_ai_response_model error_type"

# vocabulary → (family, type, labels, edges)
CONTRACT = {
    "inference_gateway": [
        ("inference_gateway_requests_total", "counter", "route backend status", ()),
        ("inference_gateway_request_duration_seconds", "histogram", "route backend", TEN),
        ("inference_gateway_request_errors_total", "counter", "route backend error_type", ()),
        ("inference_gateway_backend_health", "gauge", "backend namespace", ()),
        ("inference_gateway_active_requests", "gauge", "backend", ()),
        ("inference_gateway_rate_limit_hits_total", "counter", "route user", ()),
        ("inference_gateway_experiment_assignments_total", "counter", "experiment variant", ()),
        ("inference_gateway_cost_total", "counter", "route backend", ()),
        ("inference_gateway_tokens_total", "counter", "route backend type", ()),
        ("inference_gateway_fallbacks_total", "counter", "route from_backend to_backend", ()),
    ],
    "llm_gateway": [
        (LLM + "requests_total", "counter", "model provider status streaming", ()),
        (
            LLM + "request_duration_seconds", "histogram", "model provider streaming",
            (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
        ),
        (LLM + "tokens_total", "counter", "model provider type", ()),
        (LLM + "active_requests", "gauge", "provider", ()),
        (LLM + "provider_health", "gauge", "provider", ()),
        (LLM + "errors_total", "counter", "provider error_type", ()),
        (LLM + "circuit_breaker_state", "gauge", "provider", ()),
        (LLM + "rate_limit_hits_total", "counter", "tenant limit_type", ()),
        (LLM + "cache_operations_total", "counter", "operation result", ()),
        (LLM + "ttft_seconds", "histogram", "model provider", (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)),
        (LLM + "tokens_per_second", "gauge", "model provider", ()),
    ],
    "aigateway": [
        ("aigateway_requests_total", "counter", "tenant_id provider model status", ()),
        ("aigateway_request_duration_seconds", "histogram", "tenant_id provider model", TEN),
        ("aigateway_tokens_total", "counter", "tenant_id provider model type", ()),
        ("aigateway_cost_usd_total", "counter", "tenant_id provider model", ()),
        ("aigateway_cache_hits_total", "counter", "tenant_id", ()),
        ("aigateway_cache_misses_total", "counter", "tenant_id", ()),
        ("aigateway_circuit_breaker_state", "gauge", "provider", ()),
        ("aigateway_provider_errors_total", "counter", "provider error_type", ()),
        ("aigateway_rate_limit_hits_total", "counter", "tenant_id", ()),
        ("aigateway_active_streams", "gauge", "", ()),
        ("aigateway_budget_usage_ratio", "gauge", "tenant_id", ()),
    ],
    "model": [
        ("model_requests_total", "counter", "model", ()),
        ("model_errors_total", "counter", "model", ()),
        ("model_latency_ms", "histogram", "model", (50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000)),
        ("model_tokens_used_total", "counter", "model", ()),
    ],
    "gen_ai": [
        ("gen_ai_client_operation_duration_seconds", "histogram", GENAI, OTEL),
        (
            "gen_ai_client_token_usage", "histogram", GENAI + " gen_ai_token_type",
            (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864),
        ),
        ("gen_ai_server_request_duration_seconds", "histogram", GENAI, OTEL),
        (
            "gen_ai_server_time_to_first_token_seconds", "histogram", GENAI,
            (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
        ),
        (
            "gen_ai_server_time_per_output_token_seconds", "histogram", GENAI,
            (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
        ),
    ],
}  # fmt: skip

ROWS = [(vocabulary, *row) for vocabulary, rows in CONTRACT.items() for row in rows]


@pytest.fixture(scope="module")
def exposed() -> dict[str, object]:
    cells = folded(*EVERY_KIND)
    cells.experiments["haiku-trial", "control"] = 1
    return {one.name: one for one in text_string_to_metric_families(scrape(cells))}


@pytest.mark.parametrize(("vocabulary", "name", "kind", "labels", "edges"), ROWS, ids=[row[1] for row in ROWS])
def test_every_family_of_the_contract_has_its_type_labels_and_buckets(exposed, vocabulary, name, kind, labels, edges) -> None:
    assert name in {family.name for family in VOCABULARIES[vocabulary]}
    family = exposed[name.removesuffix("_total") if kind == "counter" else name]
    assert family.type == kind
    assert family.documentation
    assert family.samples, "every family is filled by the sample records"
    for sample in family.samples:
        assert set(sample.labels) - {"le"} == set(labels.split())
    if kind == "histogram":
        one = family.samples[0].labels
        same = [sample for sample in family.samples if {**sample.labels, "le": ""} == {**one, "le": ""} and sample.name.endswith("_bucket")]
        assert [float(sample.labels["le"]) for sample in same] == [*edges, float("inf")]


@pytest.mark.parametrize("vocabulary", CONTRACT)
def test_a_vocabulary_holds_nothing_but_its_contract(vocabulary) -> None:
    assert {family.name for family in VOCABULARIES[vocabulary]} == {row[0] for row in CONTRACT[vocabulary]}


def test_no_two_vocabularies_use_one_name() -> None:
    names = [family.name for families in VOCABULARIES.values() for family in families]
    assert len(names) == len(set(names))


def test_every_fault_has_a_word_in_every_vocabulary_that_uses_words() -> None:
    assert set(aigateway.STATUS) == ERROR_TYPES | {""}
    assert set(llm_gateway.STATUS) == ERROR_TYPES | {""}
    assert set(llm_gateway.STATUS.values()) == {"success", "error", "cancelled"}


STATUS_OF_KIND = {
    "unauthorized": "unauthorized model_forbidden",
    "budget_exceeded": "budget_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "bad_request": (
        "bad_request method_not_allowed request_timeout body_too_large unsupported_media invalid_request context_length content_filtered"
    ),
    "no_provider": "unknown_model not_found upstream_not_found no_backend backend_busy draining ledger_unavailable",
    "provider_error": (
        "upstream_authentication upstream_quota upstream_rate_limited server_error overloaded connect connection_lost connect_timeout "
        "first_byte_timeout idle_timeout total_timeout protocol stream_cut stream_error internal"
    ),
    "client_gone": "client_gone",
}


def test_aigateway_statuses_are_those_of_the_contract() -> None:
    expected = {FaultKind(kind): status for status, kinds in STATUS_OF_KIND.items() for kind in kinds.split()}
    assert {kind: aigateway.STATUS[row.label] for kind, row in FAULTS.items()} == expected
    assert aigateway.STATUS[""] == "success"


def test_faults_that_share_a_label_share_their_blame() -> None:
    blames: dict[str, set[str]] = {}
    for row in FAULTS.values():
        blames.setdefault(row.label, set()).add(row.blame)
    assert all(len(found) == 1 for found in blames.values())
