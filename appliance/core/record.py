"""What happened to one request, written down while it happens.

The record is the single source of the access log, the metrics, the ledger row and `explain`. It is made before the first await of a
request, filled by plain assignment, and read once (`telemetry.fold`) in `finally`. Times are seconds of one monotonic clock.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import attrs

from appliance.core.fault import Fault
from appliance.core.price import Price, rates_told
from appliance.core.trace_context import Trace
from appliance.core.usage import Usage

WORDS_MAX_CHARS = 500
"""Of a text that a caller or a backend chose, in the record as it is shown."""


def shown(text: str) -> str:
    """A text that a caller or a backend chose, bounded, and without the lone surrogates that JSON bodies may hold."""
    text = text[:WORDS_MAX_CHARS]
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class Told(Protocol):
    """What was decided about a request: kept as it was, and put in words only when somebody asks. Nothing in it may change afterwards."""

    def told(self, record: "RequestRecord") -> dict[str, object]:
        """JSON-ready; no text of a prompt or an answer, and no secret."""
        ...


@attrs.define
class AttemptRecord:
    """One try at one backend. Recorded before its first await, settled in `finally`.

    Attributes:
        backend: the configured backend's name; vendor: its provider row's name.
        model: what was asked of the backend; served_model: bare, for metrics (a target's `label` or the model without vendor prefix).
        outcome: `success`, `error`, `cancelled` (the client left or a hedge lost), `running` until settled.
        status: the upstream's HTTP status, 0 when there was no answer.
        waited_s: time spent waiting for a slot of `max_concurrency` or for a pooled connection.
        head_at: when the response head had arrived; first_token_at: first content or tool-call delta; last_token_at: the latest one.
        reused: whether a pooled connection carried it.
        key: which of the backend's keys it was made with, from 1 on; 0 where the backend has one.
        cost_nusd: what it cost, in nano-USD; price_basis: by whose price (`own`, `table`, `estimate`, or `zero` for none), empty until it
            is charged; price: that price.
        hedge: it was made beside a slow first attempt: `sent`, or `won` when the caller gets its answer. lost: another answered first.
    """

    backend: str
    vendor: str
    model: str
    served_model: str
    started_at: float
    ended_at: float = 0.0
    outcome: str = "running"
    status: int = 0
    fault: Fault | None = None
    waited_s: float = 0.0
    head_at: float = 0.0
    first_token_at: float = 0.0
    last_token_at: float = 0.0
    usage: Usage | None = None
    response_model: str = ""
    finish_reason: str = ""
    reused: bool = False
    half_open: bool = False
    key: int = 0
    cost_nusd: int = 0
    price_basis: str = ""
    price: Price | None = None
    hedge: str = ""
    lost: bool = False

    @property
    def error_type(self) -> str:
        """The fault's metric label, empty when there was none."""
        return "" if self.fault is None else self.fault.row.label


@attrs.define
class RequestRecord:
    """One request of a caller, from parsed head to last byte.

    Attributes:
        id: ours, unique for the life of the store; request_id: the one the caller sees, theirs when it was acceptable.
        tenant, key: names, `none` where the request was refused before they were known.
        route: the route's name, `none` when refused before routing; `direct` for `backend/model` and bare names.
        requested_model: as the caller wrote it; it becomes a label only through `model`.
        model: the served model, bare; `unknown` for one that no route knows.
        dialect: of the caller; operation: GenAI semantic-convention operation name (`chat`, `text_completion`, `embeddings`).
        started_at: when the request was whole, body and all (of one refused before that: when its head was): how long an upload takes is
            the caller's time, neither the gateway's nor a backend's.
        status: HTTP status sent, 499 when the client left first.
        committed: whether a status line went to the client.
        attempts: in the order they were made; but the one that answers comes last, also where another was made beside it.
        fallbacks: (from_backend, to_backend) in order.
        limit_type: which limit refused it: requests, tokens, concurrency, budget; empty when none did.
        cache: `hit`, `miss` or empty when the cache was not asked. cache_waited_s: spent waiting for another's answer to the same request.
        lookup: the embedding that the cache asked for, to compare the question in meaning; no attempt at answering it.
        usage: of the answer the caller got; attempts keep their own.
        cost_nusd, cost_usd: of all attempts and the lookup together, in nano-USD and USD.
        decision: why it was sent where it was sent; None where that was never asked.
        verdict: the limit or budget that refused it, or what its budgets reserved for it.
        trace: where it stands in its trace; None where the caller named none and the gateway begins none.
    """

    id: str
    request_id: str
    started_at: float
    wall_time: float
    method: str = ""
    path: str = ""
    dialect: str = "openai_chat"
    operation: str = "chat"
    tenant: str = "none"
    key: str = "none"
    user: str = ""
    client: str = ""
    route: str = "none"
    requested_model: str = ""
    model: str = "unknown"
    stream: bool = False
    attempts: list[AttemptRecord] = attrs.field(factory=list)
    fallbacks: Sequence[tuple[str, str]] = ()
    status: int = 0
    fault: Fault | None = None
    committed: bool = False
    ended_at: float = 0.0
    first_token_at: float = 0.0
    usage: Usage | None = None
    cost_usd: float = 0.0
    cost_nusd: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    limit_type: str = ""
    cache: str = ""
    cache_waited_s: float = 0.0
    lookup: AttemptRecord | None = None
    experiment: str = ""
    variant: str = ""
    dropped_fields: Sequence[str] = ()
    decision: Told | None = None
    verdict: Told | None = None
    trace: Trace | None = None

    @property
    def duration_s(self) -> float:
        return self.ended_at - self.started_at

    @property
    def upstream_s(self) -> float:
        """Seconds during which at least one attempt was running: the union of the attempts' spans (they may overlap when hedged)."""
        if len(self.attempts) == 1:
            only = self.attempts[0]
            return only.ended_at - only.started_at
        return self.upstream_until(math.inf)

    def upstream_until(self, at: float) -> float:
        """The same up to an instant, at which those that have not ended are still running."""
        total, reached = 0.0, 0.0
        for attempt in self.in_time:
            begin, end = max(attempt.started_at, reached), min(attempt.ended_at or at, at)
            if end > begin:
                total += end - begin
                reached = end
        return total

    @property
    def overhead_s(self) -> float:
        """What the gateway added: the request's span minus the union of its upstream spans."""
        return max(0.0, self.duration_s - self.upstream_s)

    @property
    def in_time(self) -> list[AttemptRecord]:
        """Attempts in the order they were made, whichever answers."""
        return sorted(self.attempts, key=lambda one: one.started_at)

    @property
    def backend(self) -> str:
        """The backend of the last attempt, `none` when the request reached none; `cache` when the answer was there already."""
        if self.cache == "hit":
            return "cache"
        return self.attempts[-1].backend if self.attempts else "none"

    @property
    def error_type(self) -> str:
        return "" if self.fault is None else self.fault.row.label

    def as_dict(self, *, kept: bool = False) -> dict[str, object]:
        """The record as `explain --json` and /admin/requests/{id} show it: JSON-ready, times in milliseconds since the request's start.

        Args:
            kept: for longer than this process lives, and so without a backend's own words for an error: they may quote a prompt.
        """
        usage, fault = self.usage, self.fault
        words = "" if fault is None else shown(fault.noted if kept else fault.message)
        return {
            "id": self.id, "request_id": self.request_id, "time": self.wall_time, "tenant": self.tenant, "key": self.key,
            "route": self.route, "requested_model": shown(self.requested_model), "model": shown(self.model),
            "dialect": self.dialect, "operation": self.operation, "stream": self.stream,
            "attempts": [self._attempt_dict(one, kept) for one in self.in_time], "status": self.status,
            "error_type": self.error_type, "error": words, "limit_type": self.limit_type,
            "fallbacks": [list(pair) for pair in self.fallbacks],
            "usage": None if usage is None else attrs.asdict(usage), "cost_usd": self.cost_usd,
            "overhead_ms": round(self.overhead_s * 1000, 3),
            "ttft_ms": round((self.first_token_at - self.started_at) * 1000, 3) if self.first_token_at else None,
            "duration_ms": round(self.duration_s * 1000, 3), "dropped_fields": list(self.dropped_fields),
            "experiment": self.experiment, "variant": self.variant, "cache": self.cache,
            "cache_waited_ms": round(self.cache_waited_s * 1000, 3),
            "lookup": None if self.lookup is None else self._attempt_dict(self.lookup, kept),
            "plan": None if self.decision is None else self.decision.told(self),
            "verdict": None if self.verdict is None else self.verdict.told(self),
            "trace_id": None if self.trace is None else self.trace.trace_id,
        }  # fmt: skip

    def _attempt_dict(self, one: AttemptRecord, kept: bool) -> dict[str, object]:
        detail = "" if one.fault is None else one.fault.detail or one.fault.message
        if kept and one.status:  # of an answer: "status 400, type X, code Y: its words"
            detail = detail.partition(": ")[0]
        return {
            "backend": one.backend, "model": shown(one.model), "outcome": one.outcome, "status": one.status, "error_type": one.error_type,
            "detail": shown(detail),
            "started_ms": round((one.started_at - self.started_at) * 1000, 3),
            "duration_ms": round((one.ended_at - one.started_at) * 1000, 3), "waited_ms": round(one.waited_s * 1000, 3),
            "first_token_ms": round((one.first_token_at - one.started_at) * 1000, 3) if one.first_token_at else None,
            "finish_reason": one.finish_reason, "reused_connection": one.reused, "cost_usd": one.cost_nusd / 1e9,
            "price": one.price_basis, "price_usd": _price_dict(one), "usage_source": "" if one.usage is None else one.usage.source,
            "half_open": one.half_open, "hedge": one.hedge, "lost": one.lost, "key": one.key, "served_model": shown(one.served_model),
        }  # fmt: skip


def _price_dict(one: AttemptRecord) -> dict[str, str] | None:
    """The rates that an attempt was charged by, in USD per million tokens (searches and requests apiece)."""
    if one.price is None:
        return None
    return rates_told(one.price.base if one.usage is None else one.price.rates(one.usage.input_tokens))
