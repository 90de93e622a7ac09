"""What a request asks of its limits, and what it turned out to use.

The rule: what can be known beforehand is an estimate (the prompt's length, the caller's bound on the answer), which is taken; what is known
afterwards (tokens as billed, over all attempts) is what counts in the end.
"""

import attrs
import trio

from appliance.config.schema import Limits
from appliance.core.claim import Refusal, limit_headers
from appliance.core.fault import Blame, Fault, FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.dialects.protocol import COUNT, ParsedRequest
from appliance.gateway.billed import ANSWERING
from appliance.gateway.call import Call, HeaderList
from appliance.gateway.limits import Granted, Limiter
from appliance.gateway.plan import KeyPlan, Resolved

NEVER = (b"x-should-retry", b"false")
"""What keeps the official SDKs of OpenAI and Anthropic from asking again (their _base_client reads it)."""

CHOICES_MAX = 128
"""OpenAI's bound on `n`: answers to one request, each as long as the caller lets it be."""

UNUSUAL = frozenset({"n", "modalities", "generationConfig", "generation_config"})
"""Members of a chat without which it has one answer, in words."""

DIGITS_MAX = 10
"""A text with more of them is no number of answers."""


@attrs.define(eq=False)
class Allowances:
    """The limits of everybody.

    Attributes:
        answer_tokens_max: of an answer, counted when its request is admitted; see the setting `limits.answer_tokens_max`.
    """

    limiter: Limiter
    answer_tokens_max: int

    async def admit(self, call: Call, resolved: Resolved, now: float) -> Fault | None:
        """Whether the limits let a request go to a backend, which takes its part of them; a fault is the caller's to hear, and nothing was
        taken then."""
        key, limited = call.key, resolved.route.claims
        tokens = spare = 0
        if key.counts_tokens or resolved.route.counts_tokens:
            tokens, spare = needed(call.parsed, self.answer_tokens_max)
        user = user_of(key, call.record.user) if limited else ""
        granted = await self.limiter.admit(key.claims + limited, user, tokens, spare, now)
        call.outlet.limited = limit_headers(granted.requests, granted.tokens)
        if isinstance(granted, Refusal):
            call.record.limit_type, call.record.verdict = granted.kind, granted
            if not granted.passes_later:
                call.outlet.limited.append(NEVER)
            return refused(granted)
        call.allowance = granted
        return None

    async def admit_hit(self, call: Call, resolved: Resolved) -> Fault | None:
        """The same for a request whose answer is there: it counts as one, and as no tokens."""
        claims = call.key.claims + resolved.route.claims
        if not claims:
            return None
        granted = await self.limiter.admit(claims, user_of(call.key, call.record.user), 0, 0, trio.current_time())
        call.outlet.limited = limit_headers(granted.requests, granted.tokens)
        if isinstance(granted, Refusal):
            call.record.limit_type = granted.kind
            return refused(granted)
        call.allowance = granted
        return None

    async def admit_waiting(self, call: Call, resolved: Resolved) -> Granted | Fault | None:
        """A place among its limits' requests at once for a request that waits for the answer to another, which is to be settled before it
        asks for more; None where it needs none. It counts as a request of a minute when it goes on, with the limits of that moment."""
        claims = call.key.claims + resolved.route.claims
        if not claims:
            return None
        granted = await self.limiter.take_place(claims, user_of(call.key, call.record.user), trio.current_time())
        if isinstance(granted, Refusal):
            call.outlet.limited = limit_headers(granted.requests, granted.tokens)
            call.record.limit_type, call.record.verdict = granted.kind, granted
            return refused(granted)
        return granted

    async def standing(self, key: KeyPlan) -> HeaderList | None:
        """What a caller is told whose request was refused before its limits were asked: how those of its tenant and key stand."""
        return limit_headers(*await self.limiter.look(key.claims, "", trio.current_time())) if key.claims else None

    async def admit_look(self, key: KeyPlan) -> tuple[HeaderList, Fault | None]:
        """A question that no backend is asked, like the list of models: it counts as a request and as no tokens. The headers that tell of
        the limits, and the fault where there are too many."""
        if not key.claims:
            return [], None
        granted = await self.limiter.admit(key.claims, "", 0, 0, trio.current_time())
        headers = limit_headers(granted.requests, granted.tokens)
        if isinstance(granted, Refusal):
            return headers, refused(granted)
        granted.settle(0)
        return headers, None

    def fit(self, settings: Limits) -> None:
        """The settings that hold from now on."""
        self.answer_tokens_max = settings.answer_tokens_max
        self.limiter.fit(settings)


def needed(parsed: ParsedRequest, answer_tokens_max: int) -> tuple[int, int]:
    """Tokens that must be there, and tokens that are taken beside them as far as they are there.

    The whole prompt is looked at for it, so it is asked only where tokens are limited.
    """
    operation, answers = parsed.operation, 1
    if operation != "chat" or not UNUSUAL.isdisjoint(parsed.fields):
        if operation == COUNT:
            return 0, 0
        if operation not in ANSWERING:
            return parsed.prompt_tokens_estimate or 1, 0
        answers = choices(parsed)
    prompt, bound = parsed.prompt_tokens_estimate or 1, parsed.max_tokens
    if bound is None:
        return prompt, answer_tokens_max * answers
    if bound > answer_tokens_max:
        bound = answer_tokens_max
    elif bound < 0:
        bound = 0
    return prompt + bound * answers, 0


def choices(parsed: ParsedRequest) -> int:
    """How many answers the caller wants to the one request: OpenAI's `n`, Gemini's `candidateCount`; of a legacy completion, to each of its
    prompts, and also those that are made only to choose from (`best_of`)."""
    fields = parsed.fields
    if parsed.operation == "chat" and UNUSUAL.isdisjoint(fields):
        return 1
    wanted = fields.get("n")
    if wanted is None:
        settings = fields.get("generationConfig") or fields.get("generation_config")
        wanted = (settings.get("candidateCount") or settings.get("candidate_count")) if isinstance(settings, dict) else None
    found = 1 if wanted is None else _number(wanted)
    if parsed.operation == "text_completion":
        prompts = fields.get("prompt")
        if not isinstance(prompts, list) or not prompts or isinstance(prompts[0], int):  # numbers are the tokens of one
            prompts = ("",)
        found = max(found, _number(fields.get("best_of"))) * len(prompts)
    return min(found, CHOICES_MAX)


def _number(wanted: object) -> int:
    """A count as lenient backends read it: pydantic takes `4.0` and `"4"` for 4."""
    if isinstance(wanted, float):
        wanted = int(max(0.0, min(wanted, CHOICES_MAX)))
    elif isinstance(wanted, str):
        digits = wanted.strip()
        wanted = int(digits) if digits.isdecimal() and len(digits) < DIGITS_MAX else None
    return wanted if isinstance(wanted, int) and wanted > 1 else 1


def user_of(key: KeyPlan, user: str) -> str:
    """Whose limits those for each user are: the user that the request names, a tenant's own; else its key stands for one."""
    return f"{key.tenant}\0user\0{user}" if user else f"{key.tenant}\0key\0{key.id}"


def refused(refusal: Refusal) -> Fault:
    """What the caller hears."""
    return Fault(FaultKind.RATE_LIMITED, refusal.message, retry_after_s=refusal.retry_after_s)


def reached(attempt: AttemptRecord) -> bool:
    """Whether a backend was asked, or is what failed; not where the gateway itself had no place for the request, or no words. One that is
    billed was asked, whoever broke it off: a gateway that shuts down, too."""
    fault = attempt.fault
    if fault is None or attempt.usage is not None or fault.upstream_status is not None:
        return True
    return fault.row.blame is Blame.UPSTREAM or fault.kind is FaultKind.CLIENT_GONE


def consumed(record: RequestRecord) -> bool:
    """Whether a request came to something: a backend was asked for something, or the answer was there already."""
    for one in record.attempts:
        if one.fault is None or reached(one):
            return True
    return record.cache == "hit" or record.lookup is not None


def used_tokens(record: RequestRecord) -> int:
    """Tokens that a request used, over all of its attempts: as they were told, else as they are estimated; see gateway.billed."""
    tokens = 0
    for one in record.attempts:
        if one.usage is not None:
            tokens += one.usage.total_tokens
    return tokens
