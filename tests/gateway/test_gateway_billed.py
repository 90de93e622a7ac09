"""What is booked for an attempt, as a table: the provider's count, an estimate on the dear side, or nothing."""

import attrs
import pytest

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.usage import Usage
from appliance.dialects.protocol import ParsedRequest
from appliance.gateway.billed import Passed, attempt_usage, billed

COUNTED = Usage(100, 50, cached_input_tokens=20)
BEGUN = Usage(100, 1)
PROMPT = 40
LEFT = "cancelled"


def parsed(operation: str = "chat", *, stream: bool = True) -> ParsedRequest:
    return ParsedRequest(operation, "m", stream, None, False, "", {}, lambda _: PROMPT)


def attempt(outcome: str, usage: Usage | None = None, finish: str = "", status: int = 200) -> AttemptRecord:
    return AttemptRecord("b", "v", "m", "m", 0.0, outcome=outcome, usage=usage, finish_reason=finish, status=status)


def estimated(output: int, prompt: int = PROMPT) -> Usage:
    return Usage(prompt, output, source="estimated")


ANSWERS = [
    # outcome, known usage, finish reason, status, what passed, what is booked
    ("success", COUNTED, "stop", 200, Passed(9, 35), COUNTED),
    ("success", COUNTED, "", 200, Passed(9, 35), COUNTED),
    ("success", COUNTED, "stop", 200, Passed(9, 35, drained=True), attrs.evolve(COUNTED, source="drained")),
    ("success", None, "stop", 200, Passed(9, 35), estimated(9)),
    (LEFT, COUNTED, "stop", 200, Passed(9, 35), COUNTED),  # all of it was told before they left
    (LEFT, None, "", 200, Passed(9, 35), estimated(9)),
    (LEFT, None, "", 200, Passed(9, 35, owed_tokens=70), estimated(70)),
    (LEFT, None, "", 200, Passed(90, 358, owed_tokens=70), estimated(90)),
    (LEFT, BEGUN, "", 200, Passed(9, 35), estimated(9, 100)),
    (LEFT, BEGUN, "", 200, Passed(9, 35, owed_tokens=70), estimated(70, 100)),
    (LEFT, Usage(100, 30), "", 200, Passed(9, 35), estimated(30, 100)),  # counted on the way, as Gemini does
    (LEFT, None, "", 0, Passed(), estimated(0)),
    (LEFT, None, "", 0, Passed(owed_tokens=70), estimated(70)),
    (LEFT, None, "", 0, Passed(sent=False), None),
    (LEFT, None, "", 503, Passed(), None),  # left while the refusal was read
    ("error", None, "", 200, Passed(9, 35, owed_tokens=70), estimated(9)),
    ("error", BEGUN, "", 200, Passed(9, 35), estimated(9, 100)),
]  # fmt: skip


@pytest.mark.parametrize(("outcome", "known", "finish", "status", "passed", "booked"), ANSWERS)
def test_an_answer_is_booked_as_far_as_it_is_known(outcome, known, finish, status, passed, booked):
    fault = Fault(FaultKind.STREAM_ERROR, "") if outcome == "error" else None
    assert attempt_usage(attempt(outcome, known, finish, status), fault, parsed(), passed) == booked


BROKEN_OFF = {FaultKind.FIRST_BYTE_TIMEOUT, FaultKind.IDLE_TIMEOUT, FaultKind.TOTAL_TIMEOUT, FaultKind.STREAM_CUT, FaultKind.DRAINING}


@pytest.mark.parametrize("kind", FaultKind)
def test_before_anything_came_only_what_was_broken_off_may_be_billed(kind):
    found = attempt_usage(attempt("error", status=0), Fault(kind, ""), parsed(), Passed())
    assert found == (estimated(0) if kind in BROKEN_OFF else None)
    assert attempt_usage(attempt("error", status=503), Fault(kind, ""), parsed(), Passed()) is None
    assert attempt_usage(attempt("error", status=0), Fault(kind, ""), parsed(), Passed(sent=False)) is None


def test_an_answer_that_had_begun_when_its_connection_was_lost_was_made_and_may_be_billed():
    lost = Fault(FaultKind.CONNECTION_LOST, "")
    assert attempt_usage(attempt("error", status=200), lost, parsed(stream=False), Passed()) == estimated(0)
    assert attempt_usage(attempt("error", status=0), lost, parsed(stream=False), Passed()) is None


def test_an_answer_that_nobody_counted_is_measured_by_what_the_model_wrote_whole_or_streamed():
    for stream in (True, False):
        for size, tokens in ((0, 0), (1, 1), (4, 1), (5, 2), (4000, 1000)):
            assert attempt_usage(attempt("success"), None, parsed(stream=stream), Passed(0, size)) == estimated(tokens)
            assert attempt_usage(attempt(LEFT), None, parsed(stream=stream), Passed(0, size)) == estimated(tokens)


def test_a_refusal_is_not_billed_for_the_words_in_it():
    refused = Fault(FaultKind.STREAM_ERROR, "")
    assert attempt_usage(attempt("error", status=200), refused, parsed(stream=False), Passed(0, 400)) is None


@pytest.mark.parametrize("operation", ["embeddings", "rerank", "image_generation"])
def test_only_answers_in_words_have_tokens(operation):
    assert attempt_usage(attempt("success"), None, parsed(operation), Passed(0, 4000)) == estimated(0)
    assert attempt_usage(attempt(LEFT), None, parsed(operation), Passed(owed_tokens=70)) == estimated(0)


def test_counting_tokens_costs_none():
    assert attempt_usage(attempt("success"), None, parsed("count_tokens"), Passed(0, 400)) is None


def test_a_request_costs_what_its_attempts_cost_together_and_is_as_certain_as_the_least_of_them():
    record = RequestRecord("1", "1", 0.0, 0.0)
    assert billed(record).source == "none"
    record.attempts = [attempt("error"), attempt("success", COUNTED)]
    assert billed(record) == COUNTED
    record.attempts = [attempt("error", estimated(3)), attempt("success", COUNTED), attempt("error")]
    assert billed(record) == Usage(140, 53, cached_input_tokens=20, source="estimated")
    record.attempts = [attempt("success", COUNTED)]
    assert billed(record) is COUNTED
