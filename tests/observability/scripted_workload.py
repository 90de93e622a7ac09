"""The workload that the end-to-end test watches: who asks what how often, where it must land, and what its caller saw.

The rule: nothing here reads the gateway's metrics, log or ledger. What is expected of them is counted from the script and from the answers.
Every step runs twice, a first time so that every series is there, and again while Prometheus looks.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import httpx
from watched_gateway import FLAT_USD, PRICES_USD, SLOW_S, STRANGER, secret_of

CHAT, MESSAGES, EMBEDDINGS = "/v1/chat/completions", "/v1/messages", "/v1/embeddings"
AT_ONCE = 6
PATIENCE_S = 60.0
FIRST_TOKEN_S = 0.01
"""What the simulator waits before its first token unless a model's name says otherwise: no answer can take less."""

COUNTED_OUT = {"left", "hedged"}
"""Routes whose tokens a caller cannot count: of an answer that it left, and of an attempt that another one overtook."""


@attrs.frozen
class Step:
    """One kind of request.

    Attributes:
        route, backend, model: where it must land, in the words of the metrics. An experiment's are those of its control.
        fault: the error type of the request, "" when it succeeds; attempts: (backend, error type) of each try.
        limit: which limit refused it. cache: hit or miss, where it was looked up.
        warm, times: how often in the first round and in the watched one.
    """

    name: str
    key: str
    asked: str
    route: str
    backend: str
    model: str
    warm: int
    times: int
    status: int = 200
    fault: str = ""
    attempts: tuple[tuple[str, str], ...] = ()
    path: str = CHAT
    stream: bool = False
    user: str = ""
    limit: str = ""
    cache: str = ""
    experiment: str = ""
    text: str = "Hello!"
    floor_s: float = FIRST_TOKEN_S

    @property
    def tenant(self) -> str:
        return "none" if self.key == STRANGER else self.key.removesuffix("-again")

    @property
    def reached(self) -> bool:
        return bool(self.attempts)


@attrs.frozen
class Seen:
    """What its caller saw of one request. Tokens as the answer told them; times on the caller's clock."""

    step: Step
    user: str
    backend: str
    variant: str
    input_tokens: int
    output_tokens: int
    duration_s: float
    first_token_s: float | None

    @property
    def model(self) -> str:
        return "gpt-4o-mini" if self.variant == "treatment" else self.step.model

    @property
    def usd(self) -> float:
        if self.step.model == "flat":
            return FLAT_USD if self.step.status == 200 else 0.0
        each = PRICES_USD.get(self.model, (0.0, 0.0))
        return self.input_tokens * each[0] + self.output_tokens * each[1] if self.step.reached else 0.0


OF_ALPHA, OF_BETA, OF_CLAUDE, OF_FLAKY = ((("alpha", ""),), (("beta", ""),), (("claude", ""),), (("flaky", "server_error"),))
STEPS = (
    Step("whole", "acme", "gpt-4o-mini", "chat", "alpha", "gpt-4o-mini", 2, 20, attempts=OF_ALPHA),
    Step("streamed", "acme", "gpt-4o-mini", "chat", "alpha", "gpt-4o-mini", 2, 10, attempts=OF_ALPHA, stream=True),
    Step("claude", "globex", "claude", "claude", "claude", "claude-3-5-haiku", 1, 6, attempts=OF_CLAUDE, path=MESSAGES, floor_s=SLOW_S),
    Step("claude streamed", "globex", "claude", "claude", "claude", "claude-3-5-haiku", 1, 4, attempts=OF_CLAUDE, path=MESSAGES,
         stream=True, floor_s=SLOW_S),
    Step("gemini", "globex", "gemini-2.5-flash", "others", "beta", "gemini-2.5-flash", 1, 8, attempts=OF_BETA),
    Step("llama", "acme", "llama", "llama", "beta", "llama-3.1-8b", 1, 2, attempts=OF_BETA, stream=True, text="Go on [[tokens=101]]"),
    Step("embedding", "globex", "embedder", "others", "beta", "embedder", 1, 3, attempts=OF_BETA, path=EMBEDDINGS),
    Step("without a price", "acme", "house", "others", "beta", "house", 1, 2, attempts=OF_BETA),
    Step("failing", "acme", "failing", "failing", "flaky", "mistral-small", 1, 40, 502, "server_error", OF_FLAKY),
    Step("refused credentials", "acme", "rescued-1", "rescued-1", "alpha", "gpt-4o", 1, 3,
         attempts=(("flaky", "authentication"), ("alpha", ""))),
    Step("provider's rate limit", "globex", "rescued-2", "rescued-2", "alpha", "gpt-4o", 1, 2,
         attempts=(("flaky", "rate_limited"), ("alpha", ""))),
    Step("too long", "globex", "too-long", "too-long", "beta", "gemini-2.5-flash", 1, 2, 400, "context_length",
         (("beta", "context_length"),)),
    Step("stranger", STRANGER, "gpt-4o-mini", "none", "none", "unknown", 1, 3, 401, "unauthorized"),
    Step("no such model", "acme", "no-such-model", "none", "none", "unknown", 1, 2, 404, "unknown_model"),
    Step("within the limit", "limited", "gemini-2.5-flash", "others", "beta", "gemini-2.5-flash", 1, 0, attempts=OF_BETA, user="ann"),
    Step("over the limit", "limited", "gemini-2.5-flash", "others", "none", "gemini-2.5-flash", 1, 0, 429, "rate_limit_exceeded",
         limit="requests", user="ann"),
    Step("within the limit", "limited-again", "gemini-2.5-flash", "others", "beta", "gemini-2.5-flash", 0, 1, attempts=OF_BETA, user="ann"),
    Step("over the limit", "limited-again", "gemini-2.5-flash", "others", "none", "gemini-2.5-flash", 0, 14, 429, "rate_limit_exceeded",
         limit="requests", user="ann"),
    Step("asked first", "acme", "cached", "cached", "beta", "gpt-4o", 1, 0, attempts=OF_BETA, cache="miss", text="First"),
    Step("asked again", "acme", "cached", "cached", "cache", "gpt-4o", 1, 0, cache="hit", text="First"),
    Step("asked first", "acme", "cached", "cached", "beta", "gpt-4o", 0, 1, attempts=OF_BETA, cache="miss", text="Second"),
    Step("asked again", "acme", "cached", "cached", "cache", "gpt-4o", 0, 3, cache="hit", text="Second"),
    Step("careful", "careful", "flat", "others", "beta", "flat", 8, 9, attempts=OF_BETA),
    Step("poor", "poor", "flat", "others", "beta", "flat", 8, 12, attempts=OF_BETA),
    Step("too dear", "poor", "dear", "others", "none", "dear", 1, 2, 402, "budget_exceeded", limit="budget"),
    Step("hedged", "acme", "hedged", "hedged", "beta", "hedged", 1, 3, attempts=(("alpha", "cancelled"), ("beta", ""))),
    Step("shadowed", "globex", "shadowed", "shadowed", "alpha", "gpt-4o", 1, 3, attempts=OF_ALPHA),
)  # fmt: skip
TRIED = Step("experiment", "globex", "tried", "tried", "alpha", "gpt-4o", 20, 20, attempts=OF_ALPHA, experiment="trial")
RESTING = Step("resting", "acme", "resting", "resting", "resting", "mistral-small", 2, 0, 502, "server_error",
               (("resting", "server_error"),))  # fmt: skip
BREAKING = Step("breaking", "acme", "breaking", "breaking", "broken", "mistral-small", 3, 3, 502, "server_error",
                (("broken", "server_error"),))  # fmt: skip
OPEN = Step("open breaker", "acme", "breaking", "breaking", "none", "breaking", 1, 2, 503, "no_backend")
LEFT = Step("left", "globex", "left", "left", "alpha", "left", 1, 2, 499, "client_gone", (("alpha", "cancelled"),), stream=True,
            text="Go on [[tokens=2000]]")  # fmt: skip


@attrs.frozen
class Callers:
    """Everybody who asks."""

    client: httpx.Client

    def run(self, step: Step, times: int) -> list[Seen]:
        """So many at once, or one after the other where one depends on the other."""
        users = [step.user or (f"user-{number}" if step.experiment else "") for number in range(times)]
        if step.limit or step.cache or step.route in ("breaking", "resting", "shadowed"):
            return [self.ask(step, user) for user in users]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda user: self.ask(step, user), users))

    def ask(self, step: Step, user: str) -> Seen:
        begun = time.monotonic()
        headers = {**headers_of(step.key), **({"x-user-id": user} if user else {})}
        with self.client.stream("POST", step.path, json=body_of(step), headers=headers) as answer:
            assert answer.status_code == step.status, f"{step.name}: {answer.status_code} {answer.read()!r}"
            first, events, whole = None, [], b""
            if step.stream:
                for event in events_of(answer.iter_lines()):
                    events.append(event)
                    if first is None and says_something(event):
                        first = time.monotonic() - begun
            else:
                whole = answer.read()
            took = time.monotonic() - begun
        variant, served = answer.headers.get("x-variant", ""), answer.headers.get("x-served-by", "none")
        wanted = "beta" if variant == "treatment" else step.backend
        if step.status == 200:
            assert served == wanted, f"{step.name}: served by {served}"
        used = usage_of(events or [json.loads(whole)]) if step.status == 200 and step.reached else (0, 0)
        return Seen(step, user, wanted, variant if step.experiment else "", *used, took, first)


def headers_of(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret_of(key)}"}


def body_of(step: Step) -> dict[str, Any]:
    if step.path == EMBEDDINGS:
        return {"model": step.asked, "input": step.text}
    asked: dict[str, Any] = {"model": step.asked, "messages": [{"role": "user", "content": step.text}], "stream": step.stream}
    if step.path == MESSAGES:
        return {**asked, "max_tokens": 100}
    return {**asked, **({"stream_options": {"include_usage": True}} if step.stream else {})}


def events_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def says_something(event: dict[str, Any]) -> bool:
    """Whether an event of either language has a piece of text."""
    choices = event.get("choices") or [{}]
    return bool(choices[0].get("delta", {}).get("content")) or event.get("type") == "content_block_delta"


def usage_of(parts: list[dict[str, Any]]) -> tuple[int, int]:
    """Tokens of the prompt and of the answer, whichever language told them: the last that was said of each counts."""
    told: dict[str, int] = {}
    for part in parts:
        for usage in (part.get("usage"), part.get("message", {}).get("usage")):
            told |= {name: count for name, count in (usage or {}).items() if isinstance(count, int)}
    return told.get("prompt_tokens", told.get("input_tokens", 0)), told.get("completion_tokens", told.get("output_tokens", 0))
