"""What a request is estimated to use, and what it turned out to have used, as tables."""

from typing import Any

import pytest

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.usage import Usage
from appliance.dialects.protocol import ParsedRequest
from appliance.gateway.allowance import CHOICES_MAX, choices, needed, reached, used_tokens

PROMPT = 40


def parsed(operation: str = "chat", max_tokens: int | None = None, prompt: int = PROMPT, **fields: Any) -> ParsedRequest:
    return ParsedRequest(operation, "m", False, max_tokens, True, "", fields, lambda _: prompt)


NEEDED = [
    ("the caller's bound", parsed(max_tokens=100), (140, 0)),
    ("a bound above the setting's", parsed(max_tokens=10**9), (1040, 0)),
    ("no bound: what is there", parsed(), (40, 1000)),
    ("a bound that makes no sense", parsed(max_tokens=-5), (40, 0)),
    ("several answers", parsed(max_tokens=100, n=3), (340, 0)),
    ("several of Gemini's", parsed(max_tokens=100, generationConfig={"candidateCount": 2}), (240, 0)),
    ("more answers than there can be", parsed(max_tokens=10, n=10**9), (1320, 0)),
    ("a number of answers that only lenient backends read", parsed(max_tokens=10, n="9"), (130, 0)),
    ("another one", parsed(max_tokens=10, n=3.0), (70, 0)),
    ("a strange number of answers", parsed(max_tokens=10, n="1" * 50), (50, 0)),
    ("no number of answers", parsed(max_tokens=10, n=[]), (50, 0)),
    ("an infinite one", parsed(max_tokens=10, n=1e300), (1320, 0)),
    ("a negative one", parsed(max_tokens=10, n=-1e300), (50, 0)),
    ("an empty prompt", parsed(prompt=0, max_tokens=0), (1, 0)),
    ("a legacy completion", parsed("text_completion", max_tokens=16), (56, 0)),
    ("embeddings", parsed("embeddings"), (40, 0)),
    ("a ranking", parsed("rerank", max_tokens=9), (40, 0)),
    ("a file of which nobody can say", parsed("transcription", prompt=0), (1, 0)),
    ("a count of tokens", parsed("count_tokens"), (0, 0)),
]


OF_PROMPTS = [
    ("one text", {"prompt": "a"}, 1), ("three texts", {"prompt": ["a", "b", "c"]}, 3), ("tokens of one", {"prompt": [1, 2, 3]}, 1),
    ("tokens of two", {"prompt": [[1, 2], [3]]}, 2), ("two for each", {"prompt": ["a", "b", "c"], "n": 2}, 6),
    ("the best of five each", {"prompt": ["a", "b"], "n": 2, "best_of": 5}, 10), ("none", {"prompt": []}, 1),
    ("more than there can be", {"prompt": ["a"] * 100, "n": 2}, CHOICES_MAX),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "answers"), [row[1:] for row in OF_PROMPTS], ids=[row[0] for row in OF_PROMPTS])
def test_a_legacy_completion_has_answers_to_each_of_its_prompts(fields: dict[str, Any], answers: int) -> None:
    assert choices(ParsedRequest("text_completion", "m", False, 16, True, "", fields, lambda _: PROMPT)) == answers


@pytest.mark.parametrize(("request_", "tokens"), [row[1:] for row in NEEDED], ids=[row[0] for row in NEEDED])
def test_a_request_takes(request_: ParsedRequest, tokens: tuple[int, int]) -> None:
    assert needed(request_, 1000) == tokens


def one(outcome: str = "success", usage: Usage | None = None, fault: Fault | None = None) -> AttemptRecord:
    return AttemptRecord("b", "v", "m", "m", 1.0, 2.0, outcome, 200, fault=fault, usage=usage)


FAILED = one("error", fault=Fault(FaultKind.SERVER_ERROR, "x", upstream_status=500))
BROKEN = one("error", Usage(10, 5, source="estimated"))
USED = [
    ("as the provider counted", [one(usage=Usage(10, 20))], 30),
    ("cached tokens are among its input", [one(usage=Usage(10, 20, cached_input_tokens=8))], 30),
    ("a failed attempt that was billed, and the next", [BROKEN, one(usage=Usage(10, 20))], 45),
    ("a failed attempt that was not, and the next", [FAILED, one(usage=Usage(10, 20))], 30),
    ("nothing but failures", [FAILED, FAILED], 0),
    ("left in the middle", [one("cancelled", Usage(40, 7, source="estimated"))], 47),
]  # fmt: skip


@pytest.mark.parametrize(("attempts", "tokens"), [row[1:] for row in USED], ids=[row[0] for row in USED])
def test_a_request_used(attempts: list[AttemptRecord], tokens: int) -> None:
    assert used_tokens(RequestRecord("1", "1", 0.0, 0.0, attempts=attempts)) == tokens


@pytest.mark.parametrize(
    ("kind", "status", "asked"),
    [
        (FaultKind.SERVER_ERROR, 500, True),
        (FaultKind.CONNECT, None, True),
        (FaultKind.INVALID_REQUEST, 400, True),
        (FaultKind.CLIENT_GONE, None, True),
        (FaultKind.BACKEND_BUSY, None, False),
        (FaultKind.NO_BACKEND, None, False),
        (FaultKind.BAD_REQUEST, None, False),
    ],
)
def test_a_request_counts_where_a_backend_was_asked_or_failed_and_not_where_we_had_no_place(
    kind: FaultKind, status: int | None, *, asked: bool
) -> None:
    assert reached(one("error", fault=Fault(kind, "x", upstream_status=status))) is asked
    assert reached(one())


@pytest.mark.parametrize("kind", [FaultKind.DRAINING, FaultKind.INTERNAL])
def test_an_attempt_that_the_gateway_itself_broke_off_counts_where_it_is_billed(kind: FaultKind) -> None:
    fault = Fault(kind, "x")
    assert reached(one("error", Usage(10, 5, source="estimated"), fault))
    assert not reached(one("error", fault=fault))
