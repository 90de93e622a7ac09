"""A record put in words: each thing that can have happened to a request has its line, in the order of time."""

from typing import Any

import pytest
from telemetry.telemetry_samples import attempt, request

from appliance.cli.story import story, usd
from appliance.core.budget import Refused, Reservation
from appliance.core.claim import Claim, Refusal
from appliance.core.fault import FaultKind
from appliance.core.usage import Usage

PLAN = {
    "matched": "route", "pattern": "gpt-*", "asked_for": "gpt-4o", "conditions": {}, "prompt_tokens": None, "narrowed": [],
    "strategy": "weighted", "seen": None, "passed_over": [], "steps": [], "attempts_max": 3, "budget_s": 30.0,
    "candidates": [
        {"backend": "alpha", "model": "gpt-4o", "role": "target", "weight": 8}, {"backend": "beta", "model": "haiku", "role": "fallback"},
    ],
}  # fmt: skip


def told(plan: dict[str, Any] | None = None, **changes: Any) -> str:
    """The story of one good request, with other fields of its record where the test says so."""
    record = request(attempt(usage=Usage(10, 20)), usage=Usage(10, 20), cost_usd=0.00012).as_dict()
    return story({**record, "plan": {**PLAN, **(plan or {})}, **changes})


def test_a_request_that_went_well() -> None:
    record = request(attempt(usage=Usage(10, 20)), usage=Usage(10, 20), cost_usd=0.00012).as_dict()
    assert story({**record, "plan": PLAN}).splitlines() == [
        "request    request-1  (id id-1)",
        "time       2023-11-14 22:13:20.000 UTC",
        "caller     tenant acme, key ci",
        "asked for  gpt-4o (chat, openai_chat)",
        "route      chat: the first whose models (gpt-*) and conditions fit",
        "strategy   weighted",
        "order      1 alpha (gpt-4o), weight 8",
        "           2 beta (haiku), fallback",
        "",
        " +50.0 ms  attempt 1 alpha (vendor/gpt-4o) asked",
        "+250.0 ms  attempt 1 alpha answered 200",
        "+300.0 ms  answered 200",
        "",
        "tokens     10 in, 20 out (as the provider counts)",
        "cost       $0.00012",
        "took       300 ms, of which the gateway's own 100 ms",
    ]


STEPS = [
    {"at_ms": 250, "do": "try", "backend": "beta", "why": "it was not asked yet"},
    {"at_ms": 400, "do": "pause", "pause_ms": 100, "backend": "alpha", "why": "back-off: every candidate was asked"},
    {"at_ms": 900, "do": "give_up", "why": "3 attempts were made, as many as the route allows"},
]


def test_attempts_pauses_and_their_reasons_stand_in_the_order_of_time() -> None:
    failed = request(
        attempt("alpha", FaultKind.SERVER_ERROR), attempt("beta", FaultKind.CONNECT, at=100.2, took=0.15),
        attempt("alpha", FaultKind.SERVER_ERROR, at=100.5, took=0.35), kind=FaultKind.SERVER_ERROR, status=502, took=0.95,
    )  # fmt: skip
    lines = story({**failed.as_dict(), "plan": {**PLAN, "steps": STEPS}}).splitlines()
    begin, end = lines.index(""), len(lines) - lines[::-1].index("")
    assert [line.split(" ms  ")[1] for line in lines[begin + 1 : end - 1]] == [
        "attempt 1 alpha (vendor/gpt-4o) asked",
        "attempt 1 alpha failed 500 server_error: what went wrong",
        "next is beta: it was not asked yet",
        "attempt 2 beta (vendor/gpt-4o) asked",
        "attempt 2 beta failed 500 connection: what went wrong",
        "pause of 100 ms, then alpha again: back-off: every candidate was asked",
        "attempt 3 alpha (vendor/gpt-4o) asked",
        "attempt 3 alpha failed 500 server_error: what went wrong",
        "no further attempt: 3 attempts were made, as many as the route allows",
        "answered 502 server_error: what went wrong",
    ]


def test_a_first_token_is_told_after_the_attempt_that_it_is_of() -> None:
    record = request(
        attempt("alpha", FaultKind.SERVER_ERROR, took=0.5), attempt("beta", at=105.0, took=1.0), stream=True, took=6.0,
    )  # fmt: skip
    record.attempts[-1].first_token_at = record.attempts[-1].started_at + 0.25
    lines = story({**record.as_dict(), "plan": PLAN}).splitlines()
    asked = next(place for place, line in enumerate(lines) if "attempt 2 beta (vendor/gpt-4o) asked" in line)
    assert lines[asked + 1].endswith("attempt 2 beta gave the first token")


def test_two_attempts_at_once_are_told_as_such() -> None:
    hedged = request(attempt("alpha", outcome="cancelled", took=0.4), attempt("beta", at=100.2, took=0.2), took=0.5)
    text = story({**hedged.as_dict(), "plan": PLAN})
    assert "attempt 2 beta (vendor/gpt-4o) asked, beside the one before (hedge)" in text
    assert "attempt 1 alpha was cancelled 200" in text


@pytest.mark.parametrize(
    ("plan", "changes", "words"),
    [
        ({"asked_for": "gpt-4o-mini"}, {"requested_model": "fast"}, "; the alias stands for gpt-4o-mini"),
        ({"matched": "prefix"}, {"requested_model": "alpha/gpt-4o"}, "the name says which backend"),
        ({"matched": "vendor"}, {}, "only one that has a model of that name"),
        ({"matched": "pin"}, {}, "X-Provider names the backend"),
        ({"conditions": {"headers": {"x-team": "s*"}}, "prompt_tokens": 70}, {}, "condition headers = x-team: s*"),
        ({"prompt_tokens": 70}, {}, "estimated at 70 tokens"),
        ({"narrowed": ["X-Provider: only beta"]}, {}, "X-Provider: only beta"),
        ({"passed_over": [{"backend": "beta", "why": "breaker open for 2.0 s"}]}, {}, "passed over  beta: breaker open for 2.0 s"),
        ({"seen": {"what": "ms to first byte", "figures": [{"backend": "alpha", "model": "", "value": 12.5}]}}, {}, "byte: alpha 12.5"),
        ({}, {"experiment": "trial", "variant": "treatment"}, "experiment  trial: treatment"),
        ({}, {"cache": "miss"}, "cache      miss"),
        ({}, {"cache": "hit", "attempts": []}, "answered 200 from the cache"),
        ({}, {"cache": "hit", "cache_waited_ms": 1500.0}, "waited     1500 ms of it for the answer to the same request"),
        ({}, {"dropped_fields": ["logit_bias", "seed"]}, "dropped    logit_bias, seed"),
        ({}, {"usage": {"input_tokens": 9, "output_tokens": 4, "cached_input_tokens": 3, "source": "estimated"}}, "9 in, 3 of them cached"),
        ({}, {"ttft_ms": 41.5}, "first token after 41.5 ms"),
        ({}, {"status": 499, "error_type": "client_gone"}, "the caller had left (499)"),
        ({}, {"attempts": []}, "no backend was asked"),
        ({}, {"others": [{"id": "1f", "time": 1.7e9, "status": 200, "model": "m"}]}, "1f  2023-11-14 22:13:20  200  m"),
        ({}, {"kept_in": "store"}, "from the store"),
        ({}, {"trace_id": "0af7651916cd43dd8448eb211c80319c"}, "trace      0af7651916cd43dd8448eb211c80319c"),
        ({}, {"kept_in": "ledger"}, "only what the ledger has"),
    ],
)
def test_what_else_there_is_to_say_is_said(plan: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    assert words not in told()
    assert words in told(plan, **changes)


def test_a_limit_and_a_budget_are_told_with_their_figures() -> None:
    limit = Refusal(Claim("tenant", "acme", rpm=60), "requests", 12.2, 0, None, None).told(None)
    assert "limit      tenant acme has 60 requests per minute; free again in 13 s" in told(verdict=limit)
    tokens = Refusal(Claim("key", "ci", tpm=500), "tokens", float("inf"), 900, None, None).told(None)
    assert "limit      key ci has 500 tokens per minute, 900 needed; it can never pass" in told(verdict=tokens)
    budget = Refused("tenant:acme", 5_000_000_000, 4_990_000_000, 2_000_000, 30_000_000, 1_800_000_000).told(None)
    assert "budget     tenant:acme has $5: $4.99 spent, $0.002 reserved, $0.03 needed" in told(verdict=budget)
    assert "budget     $0.03 were reserved: 12 tokens in, 800 out" in told(verdict=Reservation(12, 800, 30_000_000).told(None))


def test_a_price_is_told_by_whose_it_is_and_at_which_rates() -> None:
    one = {
        **request(attempt()).as_dict()["attempts"][0],
        "cost_usd": 0.00012,
        "price": "own",
        "price_usd": {"input": "0.15", "output": "1"},
    }
    assert "alpha: $0.00012 by your [prices]: input 0.15, output 1 USD per million tokens" in told(attempts=[one])
    assert "alpha: $0 the model has no price" in told(attempts=[{**one, "cost_usd": 0.0, "price": "zero", "price_usd": {}}])


def test_a_callers_text_moves_no_cursor_and_starts_no_line() -> None:
    plain, evil = told(), told(requested_model="\x1b[2J\nroute      elsewhere", error="\r\x07")
    assert "\x1b" not in evil
    assert len(evil.splitlines()) == len(plain.splitlines())


def test_on_a_terminal_lines_end_where_it_ends_and_go_on_under_their_beginning() -> None:
    long = {**request(kind=FaultKind.SERVER_ERROR, status=502).as_dict(), "error": "word " * 50}
    lines = story(long, 80).splitlines()
    assert max(map(len, lines)) <= 80
    place = next(index for index, line in enumerate(lines) if "answered 502" in line)
    assert lines[place + 1].startswith(" " * lines[place].index("answered 502") + "word")
    assert max(map(len, story(long).splitlines())) > 200


@pytest.mark.parametrize(("amount", "text"), [(0, "$0"), (1e-9, "$0.000000001"), (0.00012, "$0.00012"), (12.5, "$12.5"), (100.0, "$100")])
def test_money_has_no_exponent(amount: float, text: str) -> None:
    assert usd(amount) == text
