"""The numbers of all vocabularies agree with each other and with a naive recount, whatever happened."""

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from telemetry_samples import attempt, fault, folded, request, scrape, series

from appliance.core.fault import FAULTS, Blame, FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.trace_context import Trace
from appliance.core.usage import Usage
from appliance.telemetry.cells import Cells
from appliance.telemetry.exposition import OPENMETRICS
from appliance.telemetry.fold import _fold_unusual, fold
from appliance.telemetry.vocabularies import VOCABULARIES

LLM = "llm_gateway_llm_gateway_"
NAMES = st.sampled_from(["alpha", "beta", "gamma"])
MODELS = st.sampled_from(["gpt-4o", "claude-haiku-4-5", 'odd"\\\n'])
SOURCES = st.sampled_from(["provider", "drained", "estimated"])
USAGES = st.none() | st.builds(Usage, st.integers(0, 5000), st.integers(0, 5000), source=SOURCES)
SECONDS = st.floats(0.0, 200.0)
KINDS = st.none() | st.sampled_from(FaultKind)


@st.composite
def attempts(draw: st.DrawFn) -> AttemptRecord:
    kind = draw(KINDS)
    outcome = "success" if kind is None else "cancelled" if kind is FaultKind.CLIENT_GONE else "error"
    begin, took = 1000.0 + draw(SECONDS), draw(SECONDS)
    first = begin + draw(st.floats(0.0, 1.0)) * took
    streamed = draw(st.booleans())
    return AttemptRecord(
        draw(NAMES), draw(st.sampled_from(["openai", "mistral"])), "m", draw(MODELS), begin, begin + took, outcome,
        fault=None if kind is None else fault(kind), usage=draw(USAGES), response_model=draw(st.sampled_from(["", "m-1"])),
        first_token_at=first if streamed else 0.0, last_token_at=begin + took if streamed else 0.0,
    )  # fmt: skip


@st.composite
def records(draw: st.DrawFn) -> RequestRecord:
    tried = draw(st.lists(attempts(), max_size=3))
    kind = draw(KINDS) if tried else draw(st.sampled_from(FaultKind))
    hit = not tried and draw(st.booleans())
    kind = None if hit else kind
    stream = draw(st.booleans())
    return RequestRecord(
        "i", "r", 1000.0, 1.7e9, tenant=draw(st.sampled_from(["acme", "globex"])), route=draw(st.sampled_from(["chat", "code"])),
        model=draw(MODELS), stream=stream, attempts=tried, status=200 if kind is None else FAULTS[kind].status,
        fault=None if kind is None else fault(kind), ended_at=1000.0 + draw(SECONDS), usage=draw(USAGES),
        first_token_at=1000.0 + draw(SECONDS) if stream else 0.0, cost_usd=draw(st.integers(0, 100)) / 4, cache="hit" if hit else "",
    )  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(records(), max_size=40))
def test_all_vocabularies_agree_with_each_other_and_with_a_recount(batch) -> None:
    found = series(scrape(folded(*batch)))

    def total(name: str, **labels: str) -> float:
        return sum(n for (sample, pairs), n in found.items() if sample == name and labels.items() <= dict(pairs).items())

    def but(name: str, label: str, *values: str) -> float:
        return total(name) - sum(total(name, **{label: value}) for value in values)

    reached = [record for record in batch if record.attempts]
    requests = len(reached)
    assert but("inference_gateway_requests_total", "backend", "none", "cache") == requests
    assert total(LLM + "requests_total") == requests
    assert but("aigateway_requests_total", "provider", "none", "cache") == requests
    assert total("model_requests_total") == requests
    for name in (LLM + "request_duration_seconds", "model_latency_ms", "gen_ai_server_request_duration_seconds"):
        assert total(name + "_count") == total(name + "_bucket", le="+Inf") == requests
    everything = len(batch)
    assert total("inference_gateway_requests_total") == total("aigateway_requests_total") == everything
    assert total("inference_gateway_request_duration_seconds_count") == total("aigateway_request_duration_seconds_count") == everything

    tried = [attempt for record in batch for attempt in record.attempts]
    assert total("gen_ai_client_operation_duration_seconds_count") == len(tried)
    failed = Counter(one.error_type for one in tried if one.outcome == "error")
    for error_type, times in failed.items():
        assert total(LLM + "errors_total", error_type=error_type) == times
    assert total(LLM + "errors_total") == failed.total()
    blamed = [one for one in tried if one.outcome == "error" and one.fault is not None and one.fault.row.blame is Blame.UPSTREAM]
    assert total("aigateway_provider_errors_total") == len(blamed)

    bad = [one for one in reached if one.fault is not None and one.fault.row.blame is not Blame.CALLER]
    assert total("model_errors_total") == len(bad)
    assert total("inference_gateway_request_errors_total") == sum(one.fault is not None for one in batch)

    tokens = sum(one.usage.total_tokens for one in reached if one.usage is not None)
    for name in ("inference_gateway_tokens_total", LLM + "tokens_total", "aigateway_tokens_total", "model_tokens_used_total"):
        assert total(name) == tokens
    assert total("inference_gateway_cost_total") == total("aigateway_cost_usd_total") == sum(one.cost_usd for one in reached)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(records(), max_size=40))
def test_every_bucket_is_an_exact_count(batch) -> None:
    found = series(scrape(folded(*batch)))
    reached = [record for record in batch if record.attempts]
    for families in VOCABULARIES.values():
        for family in families:
            if family.source != "requests" or family.measure != "duration":
                continue
            counted = reached if "reached" in family.where else batch
            for edge in family.edges:
                expected = sum(record.duration_s <= edge / family.scale for record in counted)
                labels = ("le", repr(float(edge)))
                assert sum(n for (name, pairs), n in found.items() if name == family.name + "_bucket" and labels in pairs) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(records(), max_size=8), st.sampled_from(["", "miss"]), st.sampled_from([[], [("alpha", "beta")]]))
def test_a_usual_request_counts_as_it_would_on_the_long_way(given_records, cache, fallbacks):
    short, long = Cells(), Cells()
    for record in given_records:
        attempt = record.attempts[-1] if record.attempts else None
        if attempt is None or attempt.fault is not None:
            continue
        record.attempts, record.fault, record.cache, record.fallbacks = [attempt], None, cache, fallbacks
        record.experiment, record.variant = "trial", "control"
        record.trace = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", kept=True)
        for cells, count in ((short, fold), (long, _fold_unusual)):
            count(record, cells)
    assert scrape(short, form=OPENMETRICS) == scrape(long, form=OPENMETRICS)


def test_attempts_of_one_request_each_that_ended_differently_are_counted_apart():
    cells = Cells()
    ends = [{}, {"outcome": "cancelled"}, {"kind": FaultKind.OVERLOADED}, {"kind": FaultKind.SERVER_ERROR}]
    for end in ends * 2:
        fold(request(attempt(**end), limit_type="tokens"), cells)  # type: ignore[arg-type]
    assert sorted(cell.count for cell in cells.attempts.values()) == [2, 2, 2, 2]
    assert sum(cells.limits.values()) == 8
