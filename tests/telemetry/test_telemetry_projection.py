"""Hand-made records and the exact series that each vocabulary makes of them."""

import attrs
import pytest
from telemetry_samples import (
    CACHE_HIT,
    CACHE_MISS,
    CALLERS_FAULT,
    CUT_STREAM,
    FELL_BACK,
    GONE_AFTER,
    GONE_BEFORE,
    LIVE,
    OVER_BUDGET,
    RATE_LIMITED,
    RETRIED,
    STREAM,
    SUCCESS,
    UNAUTHORIZED,
    UPSTREAM_FAULT,
    attempt,
    family,
    folded,
    request,
    scrape,
    series,
)

from appliance.core.fault import FAULTS, FaultKind
from appliance.core.usage import Usage
from appliance.telemetry.cells import Cells
from appliance.telemetry.live import BackendState, LiveState

LLM = "llm_gateway_llm_gateway_"
NOTHING = LiveState()


def requests_seen(cells: Cells) -> dict[str, dict[str, float]]:
    """The request counters of every vocabulary, without their zero series."""
    names = {
        "inference_gateway": "inference_gateway_requests_total",
        "llm_gateway": LLM + "requests_total",
        "aigateway": "aigateway_requests_total",
        "model": "model_requests_total",
        "gen_ai": "gen_ai_server_request_duration_seconds_count",
        "errors": "inference_gateway_request_errors_total",
        "model_errors": "model_errors_total",
        "attempt_errors": LLM + "errors_total",
        "provider_errors": "aigateway_provider_errors_total",
    }
    return {short: {labels: n for labels, n in family(cells, name, NOTHING).items() if n} for short, name in names.items()}


GENAI = "gen_ai_operation_name=chat,gen_ai_provider_name=openai,gen_ai_request_model=gpt-4o,gen_ai_response_model="
ANSWERED = {
    "inference_gateway": {"backend=alpha,route=chat,status=200": 1},
    "aigateway": {"model=gpt-4o,provider=alpha,status=success,tenant_id=acme": 1},
    "model": {"model=gpt-4o": 1},
    "gen_ai": {"error_type=," + GENAI + "gpt-4o-2024-08-06": 1},
}

CASES = {
    "success": (SUCCESS, ANSWERED | {"llm_gateway": {"model=gpt-4o,provider=alpha,status=success,streaming=false": 1}}),
    "stream": (STREAM, ANSWERED | {"llm_gateway": {"model=gpt-4o,provider=alpha,status=success,streaming=true": 1}}),
    "unauthorized": (
        UNAUTHORIZED,
        {
            "inference_gateway": {"backend=none,route=none,status=401": 1},
            "aigateway": {"model=unknown,provider=none,status=unauthorized,tenant_id=none": 1},
            "errors": {"backend=none,error_type=unauthorized,route=none": 1},
        },
    ),
    "rate limited": (
        RATE_LIMITED,
        {
            "inference_gateway": {"backend=none,route=chat,status=429": 1},
            "aigateway": {"model=gpt-4o,provider=none,status=rate_limited,tenant_id=acme": 1},
            "errors": {"backend=none,error_type=rate_limit_exceeded,route=chat": 1},
        },
    ),
    "over budget": (
        OVER_BUDGET,
        {
            "inference_gateway": {"backend=none,route=chat,status=402": 1},
            "aigateway": {"model=gpt-4o,provider=none,status=budget_exceeded,tenant_id=acme": 1},
            "errors": {"backend=none,error_type=budget_exceeded,route=chat": 1},
        },
    ),
    "retry then success": (
        RETRIED,
        ANSWERED
        | {
            "llm_gateway": {"model=gpt-4o,provider=alpha,status=success,streaming=false": 1},
            "attempt_errors": {"error_type=server_error,provider=alpha": 1},
            "provider_errors": {"error_type=server_error,provider=alpha": 1},
        },
    ),
    "fallback": (
        FELL_BACK,
        {
            "inference_gateway": {"backend=beta,route=chat,status=200": 1},
            "llm_gateway": {"model=claude-haiku-4-5,provider=beta,status=success,streaming=false": 1},
            "aigateway": {"model=claude-haiku-4-5,provider=beta,status=success,tenant_id=acme": 1},
            "model": {"model=claude-haiku-4-5": 1},
            "gen_ai": {
                "error_type=,gen_ai_operation_name=chat,gen_ai_provider_name=mistral_ai,gen_ai_request_model=claude-haiku-4-5,"
                "gen_ai_response_model=claude-haiku-4-5-001": 1
            },
            "attempt_errors": {"error_type=timeout,provider=alpha": 1},
            "provider_errors": {"error_type=timeout,provider=alpha": 1},
        },
    ),
    "upstream fault": (
        UPSTREAM_FAULT,
        {
            "inference_gateway": {"backend=alpha,route=chat,status=502": 1},
            "llm_gateway": {"model=gpt-4o,provider=alpha,status=error,streaming=false": 1},
            "aigateway": {"model=gpt-4o,provider=alpha,status=provider_error,tenant_id=acme": 1},
            "model": {"model=gpt-4o": 1},
            "gen_ai": {"error_type=overloaded," + GENAI: 1},
            "errors": {"backend=alpha,error_type=overloaded,route=chat": 1},
            "model_errors": {"model=gpt-4o": 1},
            "attempt_errors": {"error_type=overloaded,provider=alpha": 1},
            "provider_errors": {"error_type=overloaded,provider=alpha": 1},
        },
    ),
    "the caller's fault, found upstream": (
        CALLERS_FAULT,
        {
            "inference_gateway": {"backend=alpha,route=chat,status=400": 1},
            "llm_gateway": {"model=gpt-4o,provider=alpha,status=error,streaming=false": 1},
            "aigateway": {"model=gpt-4o,provider=alpha,status=bad_request,tenant_id=acme": 1},
            "model": {"model=gpt-4o": 1},
            "gen_ai": {"error_type=context_length," + GENAI: 1},
            "errors": {"backend=alpha,error_type=context_length,route=chat": 1},
            "attempt_errors": {"error_type=context_length,provider=alpha": 1},
        },
    ),
    "stream cut after the commit": (
        CUT_STREAM,
        {
            "inference_gateway": {"backend=alpha,route=chat,status=200": 1},
            "llm_gateway": {"model=gpt-4o,provider=alpha,status=error,streaming=true": 1},
            "aigateway": {"model=gpt-4o,provider=alpha,status=provider_error,tenant_id=acme": 1},
            "model": {"model=gpt-4o": 1},
            "gen_ai": {"error_type=stream_cut," + GENAI: 1},
            "errors": {"backend=alpha,error_type=stream_cut,route=chat": 1},
            "model_errors": {"model=gpt-4o": 1},
            "attempt_errors": {"error_type=stream_cut,provider=alpha": 1},
            "provider_errors": {"error_type=stream_cut,provider=alpha": 1},
        },
    ),
    "cache hit": (
        CACHE_HIT,
        {
            "inference_gateway": {"backend=cache,route=chat,status=200": 1},
            "aigateway": {"model=gpt-4o,provider=cache,status=success,tenant_id=acme": 1},
        },
    ),
}
for moment, gone, streaming in (("before", GONE_BEFORE, "false"), ("after", GONE_AFTER, "true")):
    CASES[f"client gone {moment} the commit"] = (
        gone,
        {
            "inference_gateway": {"backend=alpha,route=chat,status=499": 1},
            "llm_gateway": {f"model=gpt-4o,provider=alpha,status=cancelled,streaming={streaming}": 1},
            "aigateway": {"model=gpt-4o,provider=alpha,status=client_gone,tenant_id=acme": 1},
            "model": {"model=gpt-4o": 1},
            "gen_ai": {"error_type=client_gone," + GENAI: 1},
            "errors": {"backend=alpha,error_type=client_gone,route=chat": 1},
        },
    )


@pytest.mark.parametrize("name", CASES)
def test_a_request_counts_in_every_vocabulary_as_the_contract_says(name) -> None:
    record, expected = CASES[name]
    found = requests_seen(folded(record))
    assert {short: counts for short, counts in found.items() if counts} == expected


def test_a_client_gone_counts_as_499_even_when_the_head_had_been_sent_with_200() -> None:
    cells = folded(request(attempt(outcome="cancelled"), kind=FaultKind.CLIENT_GONE, status=200, stream=True))
    assert family(cells, "inference_gateway_requests_total") == {"backend=alpha,route=chat,status=499": 1}


def test_success_and_error_exist_at_zero_for_everything_seen() -> None:
    assert family(folded(SUCCESS, STREAM), LLM + "requests_total") == {
        "model=gpt-4o,provider=alpha,status=success,streaming=false": 1,
        "model=gpt-4o,provider=alpha,status=error,streaming=false": 0,
        "model=gpt-4o,provider=alpha,status=success,streaming=true": 1,
        "model=gpt-4o,provider=alpha,status=error,streaming=true": 0,
    }
    assert family(folded(GONE_AFTER), LLM + "requests_total") == {
        "model=gpt-4o,provider=alpha,status=cancelled,streaming=true": 1,
        "model=gpt-4o,provider=alpha,status=success,streaming=true": 0,
        "model=gpt-4o,provider=alpha,status=error,streaming=true": 0,
    }


def test_before_the_first_request_the_series_that_dashboards_start_from_are_there() -> None:
    found = series(scrape(Cells()))
    by_name: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for (name, labels), value in found.items():
        by_name.setdefault(name, {})[labels] = value
    alpha, beta = (("provider", "alpha"),), (("provider", "beta"),)
    assert by_name[LLM + "provider_health"] == {alpha: 1, beta: 0}
    assert by_name[LLM + "active_requests"] == {alpha: 2, beta: 0}
    assert by_name["inference_gateway_backend_health"] == {
        (("backend", "alpha"), ("namespace", "default")): 1,
        (("backend", "beta"), ("namespace", "default")): 0,
    }
    for name in ("model_requests_total", "model_errors_total", "model_tokens_used_total"):
        assert by_name[name] == {(("model", "gpt-4o"),): 0, (("model", "claude-haiku-4-5"),): 0}
    assert by_name[LLM + "rate_limit_hits_total"] == {(("limit_type", "budget"), ("tenant", "acme")): 0}
    assert by_name["aigateway_cache_hits_total"] == {(("tenant_id", "acme"),): 0, (("tenant_id", "globex"),): 0}
    assert by_name["aigateway_cache_misses_total"] == by_name["aigateway_cache_hits_total"]
    assert by_name[LLM + "cache_operations_total"] == {
        (("operation", "get"), ("result", "hit")): 0,
        (("operation", "get"), ("result", "miss")): 0,
    }
    assert by_name["aigateway_active_streams"] == {(): 5}
    assert by_name["aigateway_budget_usage_ratio"] == {(("tenant_id", "acme"),): 0.25}
    assert LLM + "tokens_per_second" not in by_name
    assert LLM + "requests_total" not in by_name


def test_a_model_not_configured_gets_its_zero_errors_when_first_seen() -> None:
    assert family(folded(request(attempt(model="qwen"), model="qwen")), "model_errors_total") == {
        "model=qwen": 0, "model=gpt-4o": 0, "model=claude-haiku-4-5": 0,
    }  # fmt: skip


@pytest.mark.parametrize(("state", "llm", "ai"), [("closed", 0, 0), ("open", 1, 2), ("half_open", 2, 1)])
def test_the_breaker_gauge_has_each_vocabularys_own_numbers(state, llm, ai) -> None:
    live = LiveState(backends=(BackendState("alpha", breaker=state),))
    assert family(Cells(), LLM + "circuit_breaker_state", live) == {"provider=alpha": llm}
    assert family(Cells(), "aigateway_circuit_breaker_state", live) == {"provider=alpha": ai}


def test_tokens_and_cost_count_streams_too() -> None:
    cells = folded(SUCCESS, STREAM, RATE_LIMITED)
    assert family(cells, "inference_gateway_tokens_total") == {
        "backend=alpha,route=chat,type=input": 15,
        "backend=alpha,route=chat,type=output": 31,
    }
    assert family(cells, LLM + "tokens_total") == {
        "model=gpt-4o,provider=alpha,type=input": 15,
        "model=gpt-4o,provider=alpha,type=output": 31,
    }
    assert family(cells, "aigateway_tokens_total") == {
        "model=gpt-4o,provider=alpha,tenant_id=acme,type=input": 15,
        "model=gpt-4o,provider=alpha,tenant_id=acme,type=output": 31,
    }
    assert family(cells, "model_tokens_used_total", NOTHING) == {"model=gpt-4o": 46}
    assert family(cells, "inference_gateway_cost_total") == {"backend=alpha,route=chat": 0.75}
    assert family(cells, "aigateway_cost_usd_total") == {"model=gpt-4o,provider=alpha,tenant_id=acme": 0.75}


def test_limits_fallbacks_experiments_and_lookups_count_once_each() -> None:
    assigned = request(attempt(), experiment="trial", variant="control")
    cells = folded(RATE_LIMITED, OVER_BUDGET, FELL_BACK, CACHE_HIT, CACHE_HIT, CACHE_MISS, assigned)
    assert family(cells, "inference_gateway_rate_limit_hits_total") == {"route=chat,user=ann": 1}
    assert family(cells, "aigateway_rate_limit_hits_total") == {"tenant_id=acme": 1}
    assert family(cells, LLM + "rate_limit_hits_total") == {"limit_type=requests,tenant=acme": 1, "limit_type=budget,tenant=acme": 1}
    assert family(cells, "inference_gateway_fallbacks_total") == {"from_backend=alpha,route=chat,to_backend=beta": 1}
    assert family(cells, LLM + "cache_operations_total") == {"operation=get,result=hit": 2, "operation=get,result=miss": 1}
    assert family(cells, "aigateway_cache_hits_total") == {"tenant_id=acme": 2, "tenant_id=globex": 0}
    assert family(cells, "aigateway_cache_misses_total") == {"tenant_id=acme": 1, "tenant_id=globex": 0}
    assert family(cells, "inference_gateway_experiment_assignments_total") == {"experiment=trial,variant=control": 1}


def test_the_hit_of_an_anonymous_user_is_counted_under_none() -> None:
    cells = folded(request(kind=FaultKind.RATE_LIMITED, status=429))
    assert family(cells, "inference_gateway_rate_limit_hits_total") == {"route=chat,user=none": 1}


def test_time_to_first_token_is_the_callers_and_of_streams_alone() -> None:
    whole_with_a_first_token = request(attempt(), first_token_at=100.1)
    cells = folded(STREAM, CUT_STREAM, whole_with_a_first_token)
    assert family(cells, LLM + "ttft_seconds_count") == {"model=gpt-4o,provider=alpha": 2}
    assert family(cells, LLM + "ttft_seconds_sum")["model=gpt-4o,provider=alpha"] == pytest.approx(0.1 + 0.15)
    # the conventions want successful responses
    assert family(cells, "gen_ai_server_time_to_first_token_seconds_count") == {"error_type=," + GENAI + "gpt-4o-2024-08-06": 1}


def test_speed_is_that_of_the_last_generation_and_falls_silent_when_idle() -> None:
    key = "model=gpt-4o,provider=alpha"
    cells = folded(SUCCESS)
    assert family(cells, LLM + "tokens_per_second")[key] == pytest.approx(20 / 0.2)
    folded(STREAM, cells=cells)
    assert family(cells, LLM + "tokens_per_second")[key] == pytest.approx(10 / 0.2)
    one_token = request(attempt(usage=Usage(3, 1)), usage=Usage(3, 1))
    folded(one_token, GONE_AFTER, cells=cells)
    assert family(cells, LLM + "tokens_per_second")[key] == pytest.approx(10 / 0.2)
    assert family(cells, LLM + "tokens_per_second", now=100.3 + 299) != {}
    assert family(cells, LLM + "tokens_per_second", now=100.3 + 301) == {}


def test_a_burst_without_measurable_duration_has_no_speed() -> None:
    burst = request(attempt(usage=Usage(1, 9), tokens_at=(100.1, 100.1)), usage=Usage(1, 9), stream=True, first_token_at=100.1)
    assert family(folded(burst), LLM + "tokens_per_second") == {}


def test_gen_ai_token_usage_counts_attempts_and_never_guesses() -> None:
    guessed = request(attempt(usage=Usage(7, 7, source="estimated")), usage=Usage(7, 7, source="estimated"))
    embedded = request(attempt(usage=Usage(9, 0)), usage=Usage(9, 0), operation="embeddings")
    cells = folded(SUCCESS, RETRIED, guessed, embedded, request(attempt()))
    counts = family(cells, "gen_ai_client_token_usage_count")
    chat = "error_type=," + GENAI + "gpt-4o-2024-08-06,gen_ai_token_type="
    assert counts == {chat + "input": 2, chat + "output": 2, chat.replace("=chat", "=embeddings") + "input": 1}
    sums = family(cells, "gen_ai_client_token_usage_sum")
    assert (sums[chat + "input"], sums[chat + "output"]) == (11, 22)


def test_gen_ai_client_families_count_attempts_and_server_families_requests() -> None:
    cells = folded(RETRIED, FELL_BACK)
    assert sum(family(cells, "gen_ai_client_operation_duration_seconds_count").values()) == 4
    assert sum(family(cells, "gen_ai_server_request_duration_seconds_count").values()) == 2


def test_time_per_output_token_leaves_the_first_token_out() -> None:
    sums = family(folded(STREAM), "gen_ai_server_time_per_output_token_seconds_sum")
    assert list(sums.values()) == [pytest.approx((100.30 - 100.05) / 10)]


def test_a_lost_hedge_is_neither_an_error_nor_a_client_gone() -> None:
    cells = folded(request(attempt("alpha", outcome="cancelled"), attempt("beta")))
    assert family(cells, LLM + "errors_total") == {}
    durations = family(cells, "gen_ai_client_operation_duration_seconds_count")
    assert sorted(labels.split(",")[0] for labels in durations) == ["error_type=", "error_type=cancelled"]


def test_hedges_are_counted_by_route_and_one_that_lost_before_its_client_left_is_no_client_gone() -> None:
    won, lost = request(attempt("alpha", outcome="cancelled"), attempt("beta")), request(attempt("alpha"), attempt("beta"))
    won.attempts[0].lost, won.attempts[1].hedge = True, "won"
    lost.attempts[1].hedge, lost.attempts[1].lost, lost.attempts[1].outcome = "sent", True, "cancelled"
    left = request(attempt("alpha", outcome="cancelled"), attempt("beta", FaultKind.CLIENT_GONE), kind=FaultKind.CLIENT_GONE, status=499)
    left.attempts[0].lost, left.attempts[1].hedge = True, "won"
    cells = folded(won, lost, left)
    (sent,) = family(cells, "appliance_hedges_sent_total").values()
    assert (sent, *family(cells, "appliance_hedges_won_total").values()) == (3, 2)
    durations = family(cells, "gen_ai_client_operation_duration_seconds_count")
    assert sum(times for labels, times in durations.items() if labels.startswith("error_type=cancelled")) == 3
    assert sum(times for labels, times in durations.items() if labels.startswith("error_type=client_gone")) == 1
    assert family(cells, "inference_gateway_fallbacks_total") == {}


def test_a_backends_busy_queue_is_its_attempts_error_but_no_provider_error() -> None:
    cells = folded(request(attempt("alpha", FaultKind.BACKEND_BUSY), kind=FaultKind.BACKEND_BUSY, status=503))
    assert family(cells, LLM + "errors_total") == {"error_type=backend_busy,provider=alpha": 1}
    assert family(cells, "aigateway_provider_errors_total") == {}


def test_latency_in_milliseconds_is_the_same_measurement_in_another_unit() -> None:
    record = request(attempt(), took=0.25)
    cells = folded(record, request(attempt(), took=0.7))
    assert family(cells, "model_latency_ms_sum")["model=gpt-4o"] == pytest.approx(record.duration_s * 1000 + 700, abs=1e-6)
    buckets = {labels.split(",")[0]: n for labels, n in family(cells, "model_latency_ms_bucket").items()}
    assert buckets["le=100.0"] == 0
    assert buckets["le=500.0"] == 1
    assert buckets["le=1000.0"] == 2


def test_overhead_is_what_the_gateway_added_to_requests_that_reached_a_backend() -> None:
    cells = folded(SUCCESS, UNAUTHORIZED)
    assert family(cells, "appliance_overhead_seconds_count") == {"": 1}
    assert family(cells, "appliance_overhead_seconds_sum")[""] == pytest.approx(0.1)


def test_a_status_that_was_never_sent_is_the_faults_own() -> None:
    crashed = request(attempt("alpha", FaultKind.INTERNAL), kind=FaultKind.INTERNAL, status=0)
    assert family(folded(crashed), "inference_gateway_requests_total") == {"backend=alpha,route=chat,status=500": 1}
    assert family(folded(request(attempt(), status=0)), "inference_gateway_requests_total") == {"backend=alpha,route=chat,status=0": 1}


@pytest.mark.parametrize("kind", FaultKind)
def test_every_kind_of_fault_is_counted_under_its_label(kind) -> None:
    cells = folded(request(attempt("alpha", kind), kind=kind, status=FAULTS[kind].status))
    assert family(cells, "inference_gateway_request_errors_total") == {f"backend=alpha,error_type={FAULTS[kind].label},route=chat": 1}
    errors = {} if kind is FaultKind.CLIENT_GONE else {f"error_type={FAULTS[kind].label},provider=alpha": 1}
    assert family(cells, LLM + "errors_total") == errors


def test_the_gateways_own_gauges_are_read_from_live_state() -> None:
    found = series(scrape(Cells(), attrs.evolve(LIVE, draining=True, reloads_failed=2, log_dropped=3)))
    own = {(name, *[value for _, value in labels]): n for (name, labels), n in found.items() if name.startswith("appliance_")}
    assert own["appliance_build_info", "abc", "3.11", "1.2.3"] == 1
    assert own["appliance_draining",] == 1
    assert own["appliance_in_flight_requests",] == 6
    assert own["appliance_config_reloads_total", "failed"] == 2
    assert own["appliance_service_restarts_total", "health"] == 1
    assert own["appliance_upstream_connections", "alpha", "open"] == 3
    assert own["appliance_upstream_connections", "alpha", "idle"] == 1
    assert own["appliance_upstream_queued_requests", "alpha"] == 4
    assert own["appliance_log_lines_dropped_total",] == 3
    assert not [key for key in own if key[0].startswith("appliance_ledger")]
