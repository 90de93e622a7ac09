"""What is written down about one request: what it reserved before a backend saw it, and what became of it.

Both are named tuples, not attrs classes: they are made on the way of every request, where this costs a third, and they travel as plain
arrays through the journal.
"""

from typing import NamedTuple

import orjson

USER_MAX_CHARS = 64
TEXT_MAX_CHARS = 128
"""Longest text taken from a caller, and longest name of anything else: a row has its room in the journal before it is known."""

ATTEMPT_FIELDS = ("backend", "model", "outcome", "status", "error_type", "duration_ms", "input_tokens", "output_tokens", "usage_source")
"""What each of a row's `attempts` holds, in this order."""


class Spent(NamedTuple):
    """What a request costs one budget. scope: `tenant:NAME`, `key:TENANT/ID`; period_start: seconds since the epoch, 0 for a total.

    Rows hold plain tuples of the same, which the journal writes at half the price.
    """

    scope: str
    period_start: int
    nusd: int


class Opened(NamedTuple):
    """Before upstream: who asks, and what it may cost at most as far as can be known.

    Attributes:
        id: of the ledger, see `Ledger.new_id`.
        started: seconds since the epoch.
        input_tokens, output_tokens, cost_nusd: the estimates that were reserved.
        spent: the reservation of each budget it counts against.
    """

    id: int
    started: float
    request_id: str
    tenant: str
    key: str
    user: str
    route: str
    model: str
    dialect: str
    operation: str
    stream: bool
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int = 0
    spent: tuple[tuple[str, int, int], ...] = ()


class LedgerRow(NamedTuple):
    """What became of it.

    Attributes:
        request_id: the one the caller sees; empty where that is the ledger's own id in hex.
        user: as the caller named them, cut to USER_MAX_CHARS.
        backend: of the last attempt; model: as served.
        status: HTTP status sent, 499 when the client left, 0 for one whose process was killed.
        error_type: the fault's label; `recovered` for one whose process was killed; empty where there was none.
        usage_source: `provider`, `drained`, `estimated`; `none` where no backend asks money, as far as is known: it was refused,
            or nobody could be reached.
        input_tokens to search_units: as in `core.usage.Usage`; of all attempts that are billed.
        ttft_ms: to the first token of a stream, None where none came.
        attempts: JSON, where there was more than one: a list of lists, see ATTEMPT_FIELDS.
        spent: what it costs each budget it counts against.
        experiment, variant: which it took part in, as what; empty of most. What a killed process left says nothing of them.
    """

    id: int
    started: float
    request_id: str
    tenant: str
    key: str
    user: str
    route: str
    backend: str
    model: str
    dialect: str
    operation: str
    stream: bool
    status: int
    error_type: str
    usage_source: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    search_units: int = 0
    cost_nusd: int = 0
    duration_ms: int = 0
    ttft_ms: int | None = None
    attempts: str = ""
    spent: tuple[tuple[str, int, int], ...] = ()
    experiment: str = ""
    variant: str = ""

    @property
    def failed(self) -> bool:
        return has_failed(self.error_type)


def has_failed(error_type: str) -> bool:
    """Whether a row of this type counts under `errors`: a client that left is nobody's error."""
    return bool(error_type) and error_type != "client_gone"


def recovered(opened: Opened) -> LedgerRow:
    """The row of a request whose process was killed before it could say what became of it: it may have been billed in full."""
    return LedgerRow(
        opened.id, opened.started, opened.request_id, opened.tenant, opened.key, opened.user, opened.route, "unknown", opened.model,
        opened.dialect, opened.operation, opened.stream, 0, "recovered", "estimated", opened.input_tokens, opened.output_tokens,
        cost_nusd=opened.cost_nusd, spent=opened.spent,
    )  # fmt: skip


def attempts_text(attempts: list[tuple[object, ...]]) -> str:
    """The `attempts` of a row."""
    return orjson.dumps(attempts).decode()
