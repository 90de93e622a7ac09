"""The row that each ending leaves in the ledger, in every language that callers speak and with each policy for clients that leave.

What a provider counted is booked exactly; what nobody counted is estimated, and says so; what nobody bills costs nothing.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ledger_reader import ledger_row, ledger_rows, store_of
from raw_client import RawClient
from recorded.callers import CALLERS, Caller
from rig import Gateway, Simulator, call, chat, eventually, running

POLICIES = ("cancel", "drain", "estimate")
LANGUAGES = {one.name: one for one in CALLERS if one.name in ("chat", "responses", "messages", "gemini", "completions")}
BACKEND_OF = {"chat": "gpt", "responses": "gpt", "completions": "gpt", "messages": "claude", "gemini": "google"}
ANSWER_MAX = 77
"""limits.answer_tokens_max: below the 100 that some of the callers let an answer have."""
WORD_TOKENS_MAX = 3
"""By which a word of the simulator's is estimated: the longest has eight letters, and a space before it."""

CONFIG = f"""
[limits]
answer_tokens_max = {ANSWER_MAX}
""" + """
[backends.gpt]
provider = "openai"
base_url = "{url}/v1"
api_key = "sk-operator-0123456789"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.claude]
provider = "anthropic"
base_url = "{url}"
api_key = "sk-ant-operator-0123456789"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.google]
provider = "gemini"
base_url = "{url}"
api_key = "AIza-operator-0123456789"
breaker = {{ consecutive_failures = 0, failure_ratio = 0 }}
[backends.spare]
provider = "custom"
base_url = "{url}/v1"
[[routes]]
name = "twice"
models = ["twice*"]
targets = [ {{ backend = "gpt" }} ]
fallback = [ {{ backend = "spare", model = "sim" }} ]
retry = {{ attempts = 2, backoff_s = 0.01 }}
[[routes]]
name = "short"
models = ["short*"]
targets = [ {{ backend = "gpt" }} ]
on_disconnect = "drain"
drain_max_tokens = 4
"""  # fmt: skip
ROUTE = """
[[routes]]
name = "{policy}-{backend}"
models = ["{policy}-{backend}*"]
targets = [ {{ backend = "{backend}" }} ]
on_disconnect = "{policy}"
retry = {{ attempts = 1 }}
"""
NUMBERS = itertools.count(1)
SLOWLY = "@tps=10+endless"
"""For clients that leave: it takes seven seconds to come to ANSWER_MAX, which nobody must take to notice that they left."""

ENDING = "@tps=40+stall=6;for=3s"
"""The same of an answer that has an end."""


@pytest.fixture(scope="module")
def gateway(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    backends = ("gpt", "claude", "google", "spare")
    routes = "".join(ROUTE.format(policy=policy, backend=backend) for policy in POLICIES for backend in backends)
    one = Gateway(tmp_path_factory.mktemp("rows"), CONFIG.format(url=simulator.url) + routes)
    with running(one):
        yield one
    rows = ledger_rows(store_of(one))
    assert len({row["id"] for row in rows}) == len(rows)
    assert len(rows) == len({row["request_id"] for row in rows}), "one row a request"


@pytest.fixture(params=LANGUAGES)
def caller(request: pytest.FixtureRequest) -> Caller:
    return LANGUAGES[request.param]


def ask(
    gateway: Gateway, caller: Caller, model: str, *, stream: bool, leave_after: int = -1, leaves: Callable[[], Any] | None = None
) -> dict[str, Any]:
    """The row of one request. leave_after: events of the answer that the client waits for before it leaves, -1 to stay. leaves: what it
    waits for instead, true when it may go."""
    request_id = f"row-{next(NUMBERS)}"
    with RawClient(gateway.url) as client:
        client.ask(caller.body(model, stream), caller.path(model, stream), x_request_id=request_id)
        if leaves is not None:
            eventually(leaves)
            client.leave()
        elif leave_after < 0:
            _, headers = client.read_head()
            client.read_body(headers)
        else:
            client.read_until(b"\r\n\r\n")
            body = b""
            while body.count(b"data:") < leave_after:
                body += client.read_chunk()
            client.leave()
    return ledger_row(gateway, request_id)


def of(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def seen(simulator: Simulator) -> dict[str, Any]:
    last: dict[str, Any] = simulator.stats(1)["last"][0]
    return last


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("stream", [True, False])
def test_a_finished_answer_is_booked_as_its_provider_counted(gateway, simulator, caller, policy, stream):
    backend = BACKEND_OF[caller.name]
    row = ask(gateway, caller, f"{policy}-{backend}@tps=0", stream=stream)
    told = seen(simulator)
    assert of(row, "status", "error_type", "usage_source") == (200, "", "provider")
    assert of(row, "input_tokens", "output_tokens") == (told["prompt_tokens"], told["completion_tokens"])
    assert of(row, "tenant", "key", "route", "backend", "stream") == ("test", "test", f"{policy}-{backend}", backend, stream)
    assert (row["ttft_ms"] is not None) == stream


def test_a_client_that_leaves_with_cancel_costs_what_had_passed(gateway, simulator, caller):
    row = ask(gateway, caller, f"cancel-{BACKEND_OF[caller.name]}{SLOWLY}", stream=True, leave_after=6)
    told = eventually(lambda: (one := seen(simulator)) and one["outcome"] == "client_gone" and one)
    assert of(row, "status", "error_type", "usage_source") == (499, "client_gone", "estimated")
    assert 1 <= row["output_tokens"] < ANSWER_MAX, "six events, and what was on its way"
    assert row["input_tokens"] >= 1
    if caller.name == "messages":
        assert row["input_tokens"] == told["prompt_tokens"], "told with the first event"


def test_a_client_that_leaves_with_drain_costs_what_the_provider_counted(gateway, simulator, caller):
    row = ask(gateway, caller, f"drain-{BACKEND_OF[caller.name]}{ENDING}", stream=True, leave_after=4)
    told = seen(simulator)
    assert told["outcome"] == "complete"
    assert of(row, "status", "error_type", "usage_source") == (499, "client_gone", "drained")
    assert of(row, "input_tokens", "output_tokens") == (told["prompt_tokens"], told["completion_tokens"])


def test_a_client_that_leaves_with_estimate_costs_the_longest_answer_there_could_have_been(gateway, simulator, caller):
    row = ask(gateway, caller, f"estimate-{BACKEND_OF[caller.name]}{SLOWLY}", stream=True, leave_after=4)
    eventually(lambda: seen(simulator)["outcome"] == "client_gone")
    assert of(row, "status", "error_type", "usage_source") == (499, "client_gone", "estimated")
    assert row["output_tokens"] == ANSWER_MAX
    assert row["input_tokens"] >= 1


@pytest.mark.parametrize("policy", POLICIES)
def test_a_translated_stream_that_is_left_costs_the_same(gateway, simulator, caller, policy):
    row = ask(gateway, caller, f"{policy}-spare" + (ENDING if policy == "drain" else SLOWLY), stream=True, leave_after=4)
    told = eventually(lambda: (one := seen(simulator)) and one["outcome"] != "running" and one)
    assert of(row, "status", "error_type", "backend") == (499, "client_gone", "spare")
    if policy == "drain":
        assert row["usage_source"] == "drained"
        assert of(row, "input_tokens", "output_tokens") == (told["prompt_tokens"], told["completion_tokens"])
    else:
        assert row["usage_source"] == "estimated"
        assert row["output_tokens"] == ANSWER_MAX if policy == "estimate" else 1 <= row["output_tokens"] < ANSWER_MAX


@pytest.mark.parametrize(("policy", "source", "output"), [("cancel", "estimated", 0), ("estimate", "estimated", ANSWER_MAX)])
def test_a_client_that_leaves_before_a_whole_answer_has_its_prompt_processed(gateway, simulator, caller, policy, source, output):
    before = simulator.stats()["requests"]
    model = f"{policy}-{BACKEND_OF[caller.name]}@ttft=30s"
    row = ask(gateway, caller, model, stream=False, leaves=lambda: simulator.stats()["requests"] > before)
    assert of(row, "status", "usage_source", "output_tokens") == (499, source, output)
    assert row["input_tokens"] >= 1


def test_reading_on_is_bounded_in_tokens(gateway, simulator):
    row = ask(gateway, LANGUAGES["chat"], f"short{SLOWLY}", stream=True, leave_after=4)
    eventually(lambda: seen(simulator)["outcome"] == "client_gone")
    assert row["usage_source"] == "estimated"
    assert 4 <= row["output_tokens"] < ANSWER_MAX, "it was read on for four events, not to its end"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("fault", "error_type"), [("cut=6", "stream_cut"), ("error_event=6", "server_error")])
def test_a_stream_that_breaks_off_costs_what_had_passed(gateway, caller, policy, fault, error_type):
    row = ask(gateway, caller, f"{policy}-{BACKEND_OF[caller.name]}@tps=200+{fault}", stream=True)
    assert of(row, "status", "error_type", "usage_source") == (200, error_type, "estimated")
    assert 1 <= row["output_tokens"] <= 7 * WORD_TOKENS_MAX
    assert row["input_tokens"] >= 1


@pytest.mark.parametrize("stream", [True, False])
def test_what_a_backend_refuses_costs_nothing(gateway, caller, stream):
    row = ask(gateway, caller, f"cancel-{BACKEND_OF[caller.name]}+400", stream=stream)
    assert of(row, "status", "usage_source", "input_tokens", "output_tokens", "cost_nusd") == (400, "none", 0, 0, 0)
    assert row["error_type"] == "invalid_request"


@pytest.mark.parametrize("translated", [False, True])
def test_an_answer_that_nobody_counted_is_estimated_by_its_text_streamed_and_whole_alike(gateway, simulator, caller, translated):
    tokens = []
    for stream in (True, False):
        row = ask(gateway, caller, f"cancel-{'spare' if translated else BACKEND_OF[caller.name]}@tps=0+no_usage", stream=stream)
        assert of(row, "status", "usage_source", "stream") == (200, "estimated", stream)
        assert row["input_tokens"] >= 1
        told = seen(simulator)["completion_tokens"]
        assert told * 0.9 <= row["output_tokens"] <= told * 1.8, "the simulator's words are long"
        tokens.append(row["output_tokens"])
    assert abs(tokens[0] - tokens[1]) <= 1


def test_a_failed_attempt_stands_in_its_requests_row(gateway, simulator):
    row = ask(gateway, LANGUAGES["chat"], "twice@tps=0+503", stream=False)
    told = seen(simulator)
    assert of(row, "status", "usage_source", "backend") == (200, "provider", "spare")
    assert of(row, "input_tokens", "output_tokens") == (told["prompt_tokens"], told["completion_tokens"])
    assert '["gpt","twice@tps=0+503","error",503,' in row["attempts"]
    assert '["spare","sim","success",200,' in row["attempts"]


def test_requests_that_no_backend_saw_leave_no_row(gateway):
    before = len(ledger_rows(store_of(gateway)))
    assert call(f"{gateway.url}/v1/chat/completions", chat("nobody-has-this"))[0] == 404
    assert call(f"{gateway.url}/v1/chat/completions", b"{")[0] == 400
    assert call(f"{gateway.url}/v1/chat/completions", chat("cancel-gpt"), authorization="Bearer wrong")[0] == 401
    assert call(f"{gateway.url}/v1/chat/completions", chat("cancel-gpt@tps=0"), x_request_id="after")[0] == 200
    ledger_row(gateway, "after")
    assert len(ledger_rows(store_of(gateway))) == before + 1
