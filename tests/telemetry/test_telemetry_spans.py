"""The spans of a record: who is whose parent, when, and what they say; and that they say nothing that a caller or a model said."""

from collections.abc import Iterator

import pytest
from telemetry_samples import EVERY_KIND, attempt, request

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import RequestRecord
from appliance.core.trace_context import Trace, attempt_span_id
from appliance.core.usage import Usage
from appliance.telemetry.otlp import CLIENT, SERVER, Span, span_bytes
from appliance.telemetry.spans import TEXT_MAX_CHARS, request_spans

TRACE = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7", True, "a=1", True, True)
WHERE = {"alpha": ("api.example.com", 443), "beta": ("/run/vllm.sock", 0)}


def spans(record: RequestRecord, trace: Trace = TRACE, ahead_s: float = 1_700_000_000.0) -> list[Span]:
    return request_spans(record, trace, ahead_s, WHERE.get)


def test_attempts_are_children_of_their_request_and_it_of_its_caller() -> None:
    record = request(attempt("alpha", FaultKind.OVERLOADED, at=100.0), attempt("beta", at=100.3), took=0.7)
    own, first, second = spans(record)
    assert (own.kind, first.kind, second.kind) == (SERVER, CLIENT, CLIENT)
    assert (own.parent_id, own.span_id, own.remote) == (TRACE.parent_id, TRACE.span_id, True)
    assert [first.parent_id, second.parent_id] == [own.span_id] * 2
    assert [first.span_id, second.span_id] == [attempt_span_id(TRACE, 0), attempt_span_id(TRACE, 1)]
    assert {span.trace_id for span in (own, first, second)} == {TRACE.trace_id}
    assert {span.state for span in (own, first, second)} == {"a=1"}
    assert not first.remote
    assert own.start_ns <= first.start_ns < first.end_ns <= second.start_ns < second.end_ns <= own.end_ns
    assert own.start_ns == pytest.approx((1_700_000_000.0 + 99.95) * 1e9, abs=1e4)


def test_an_attempt_keeps_its_span_where_another_was_made_beside_it() -> None:
    """The one that answers comes last in its record; the backends were told of their spans before that was known."""
    record = request(attempt("beta", at=100.2), attempt("alpha", at=100.0), took=0.7)
    own, first, second = spans(record)
    assert [(one.attributes["appliance.backend"], one.span_id) for one in (first, second)] == [
        ("alpha", attempt_span_id(TRACE, 0)), ("beta", attempt_span_id(TRACE, 1)),
    ]  # fmt: skip
    assert ("http.request.resend_count" in first.attributes, second.attributes["http.request.resend_count"]) == (False, 1)
    assert own.attributes["gen_ai.provider.name"] == first.attributes["gen_ai.provider.name"]


def test_a_trace_that_begins_here_has_no_parent() -> None:
    own, *_ = spans(request(attempt()), Trace("1" * 32, "2" * 16, ours=True))
    assert (own.parent_id, own.remote, own.sampled) == ("", False, False)


def test_a_request_says_what_it_was_and_what_became_of_it() -> None:
    usage = Usage(10, 20, cached_input_tokens=4, reasoning_tokens=6)
    one = attempt("alpha", usage=usage, tokens_at=(100.05, 100.2))
    one.finish_reason = "stop"
    record = request(
        one, usage=usage, stream=True, first_token_at=100.05, cost_usd=0.25, method="POST", path="/v1beta/models/g:x?key=sk-secret",
        client="10.0.0.9", dialect="gemini", cache="miss", experiment="trial", variant="control",
    )  # fmt: skip
    own, child = spans(record)
    assert own.name == "chat gpt-4o"
    assert not own.error
    assert own.attributes == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.request.stream": True,
        "gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": pytest.approx(0.1), "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 4, "gen_ai.usage.reasoning.output_tokens": 6, "appliance.usage.source": "provider",
        "http.request.method": "POST", "url.path": "/v1beta/models/g:x", "http.response.status_code": 200, "client.address": "10.0.0.9",
        "appliance.id": "id-1", "appliance.request_id": "request-1", "appliance.tenant": "acme", "appliance.key": "ci",
        "appliance.route": "chat", "appliance.dialect": "gemini", "appliance.model": "gpt-4o", "appliance.attempts": 1,
        "appliance.cost_usd": 0.25, "appliance.overhead_s": pytest.approx(0.1), "appliance.cache": "miss",
        "appliance.experiment": "trial", "appliance.variant": "control",
    }  # fmt: skip
    assert child.name == "chat vendor/gpt-4o"
    assert child.attributes == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "vendor/gpt-4o",
        "gen_ai.request.stream": True, "gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": pytest.approx(0.05), "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 4, "gen_ai.usage.reasoning.output_tokens": 6, "appliance.usage.source": "provider",
        "server.address": "api.example.com", "server.port": 443, "http.response.status_code": 200, "appliance.backend": "alpha",
        "appliance.outcome": "success", "appliance.cost_usd": 0.0, "appliance.connection_reused": False,
    }  # fmt: skip


def test_a_failed_attempt_says_why_and_a_unix_socket_has_no_port() -> None:
    own, first, second = spans(request(attempt("alpha", FaultKind.OVERLOADED), attempt("beta", vendor="bedrock")))
    assert not own.error
    assert (first.error, first.attributes["error.type"], first.attributes["http.response.status_code"]) == (True, "overloaded", 500)
    assert not second.error
    assert (second.attributes["server.address"], second.attributes["http.request.resend_count"]) == ("/run/vllm.sock", 1)
    assert second.attributes["gen_ai.provider.name"] == own.attributes["gen_ai.provider.name"] == "aws.bedrock"
    assert "server.port" not in second.attributes
    assert "http.request.resend_count" not in first.attributes


def test_what_callers_do_wrong_and_callers_who_leave_are_no_errors_of_ours() -> None:
    (refused,) = spans(request(kind=FaultKind.RATE_LIMITED, status=429, limit_type="tokens"))
    assert (refused.error, refused.attributes["error.type"]) == (False, "rate_limit_exceeded")
    assert refused.attributes["appliance.limit"] == "tokens"
    assert "gen_ai.provider.name" not in refused.attributes
    gone = attempt("alpha", FaultKind.CLIENT_GONE, outcome="cancelled")
    own, child = spans(request(gone, kind=FaultKind.CLIENT_GONE, status=499))
    assert (own.error, child.error) == (False, False)
    assert own.attributes["error.type"] == child.attributes["error.type"] == "client_gone"
    (lost,) = spans(request(attempt(outcome="cancelled")))[1:]
    assert (lost.error, lost.attributes["error.type"]) == (False, "cancelled")
    own, _ = spans(request(attempt(kind=FaultKind.OVERLOADED), kind=FaultKind.OVERLOADED, status=502))
    assert (own.error, own.attributes["error.type"], own.attributes["http.response.status_code"]) == (True, "overloaded", 502)


def test_an_attempt_that_another_was_quicker_than_lost_no_caller_even_where_the_caller_left_later() -> None:
    loser, winner = attempt("alpha", outcome="cancelled"), attempt("beta", FaultKind.CLIENT_GONE, outcome="cancelled", at=100.1)
    loser.lost, winner.hedge = True, "won"
    _, lost, won = spans(request(loser, winner, kind=FaultKind.CLIENT_GONE, status=499))
    assert (lost.error, lost.attributes["error.type"], won.attributes["error.type"]) == (False, "cancelled", "client_gone")
    assert ("appliance.hedge" in lost.attributes, won.attributes["appliance.hedge"]) == (False, "won")


def test_any_callers_model_names_no_span() -> None:
    record = request(kind=FaultKind.UNKNOWN_MODEL, status=404)
    record.model, record.requested_model = "unknown", "tell me a secret"
    assert spans(record)[0].name == "chat"


@pytest.mark.parametrize("record", EVERY_KIND)
def test_every_kind_of_record_has_spans(record: RequestRecord) -> None:
    found = spans(record)
    assert len(found) == 1 + len(record.attempts)
    assert all(span_bytes(span) for span in found)


def texts(span: Span) -> Iterator[str]:
    yield span.name
    for value in span.attributes.values():
        yield from [value] if isinstance(value, str) else value if isinstance(value, tuple) else []


def test_texts_are_bounded_and_no_words_of_an_error_are_in_them() -> None:
    words = Fault(FaultKind.INVALID_REQUEST, "the prompt was: hello", body=b"the prompt was: hello", detail="hello")
    one = attempt(response_model="m" * 10_000)
    one.fault, one.outcome, one.finish_reason, one.model = words, "error", "f" * 10_000, "n" * 10_000
    record = request(one, request_id="r" * 10_000, path="/" + "p" * 10_000, requested_model="q" * 10_000)
    record.fault = words
    found = [text for span in spans(record) for text in texts(span)]
    assert max(map(len, found)) <= TEXT_MAX_CHARS + len("chat ")
    assert not any("hello" in text for text in found)
