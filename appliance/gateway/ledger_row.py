"""From a request's record to the rows of the ledger. Pure.

The rule: a row says what is known. Tokens and costs are those of every attempt that a backend bills, not of the last one alone.
"""

from appliance.core.budget import Counted, Reservation
from appliance.core.record import RequestRecord
from appliance.gateway.billed import UNBILLED, billed
from appliance.gateway.plan import Resolved
from appliance.store.row import TEXT_MAX_CHARS, USER_MAX_CHARS, LedgerRow, Opened, attempts_text

BYTES_PER_TOKEN = 4
"""Of a request's body: rather too many tokens, as JSON has more than words in it."""

ATTEMPTS_MAX = 8
"""Attempts of one request that its row names, the last ones; more take more room than the journal keeps for a row."""

BEGUN = Opened._fields.index("model")
"""So many fields, with which both entries begin: who asked, and by which route."""

_new = tuple.__new__
"""Makes a named tuple of all of its fields, in their order: at half the price of its own constructor, which is written in Python."""


def opened_of(record: RequestRecord, resolved: Resolved, held: Reservation | None) -> Opened:
    """What is written down before a backend sees the request. The served model is not known yet; the requested one is.

    Without a budget nobody needs to know its tokens beforehand: the size of its body stands for the prompt, which is not looked through.
    """
    if held is None:
        asked, answered, nusd = record.bytes_in // BYTES_PER_TOKEN, 0, 0
        spent: tuple[Counted, ...] = ()
    else:
        asked, answered, nusd, spent = held.input_tokens, held.output_tokens, held.nusd, held.spent
    return _new(Opened, (
        int(record.id, 16), record.wall_time, "" if record.request_id == record.id else record.request_id, record.tenant, record.key,
        record.user[:USER_MAX_CHARS], resolved.route.name, resolved.model[:TEXT_MAX_CHARS], record.dialect, record.operation, record.stream,
        asked, answered, nusd, spent,
    ))  # fmt: skip


def row_of(record: RequestRecord, opened: Opened, spent: tuple[Counted, ...]) -> LedgerRow:
    """What became of it. spent: what it costs each budget it counts against."""
    attempts = record.attempts
    if len(attempts) == 1:
        usage, more = attempts[0].usage or UNBILLED, ""
    else:
        usage, more = billed(record), _attempts(record)
    first, fault = record.first_token_at, record.fault
    became = (
        record.backend, record.model[:TEXT_MAX_CHARS], record.dialect, record.operation, record.stream, record.status,
        "" if fault is None else fault.row.label, usage.source,
        usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.cache_write_tokens, usage.reasoning_tokens,
        usage.input_audio_tokens, usage.output_audio_tokens, usage.search_units, record.cost_nusd,
        round((record.ended_at - record.started_at) * 1000), round((first - record.started_at) * 1000) if first else None, more, spent,
        record.experiment, record.variant,
    )  # fmt: skip
    return _new(LedgerRow, opened[:BEGUN] + became)


def _attempts(record: RequestRecord) -> str:
    if not record.attempts:
        return ""
    return attempts_text([
        (
            attempt.backend[:TEXT_MAX_CHARS], attempt.served_model[:TEXT_MAX_CHARS], attempt.outcome, attempt.status, attempt.error_type,
            round((attempt.ended_at - attempt.started_at) * 1000), 0 if attempt.usage is None else attempt.usage.input_tokens,
            0 if attempt.usage is None else attempt.usage.output_tokens, "" if attempt.usage is None else attempt.usage.source,
        )
        for attempt in record.attempts[-ATTEMPTS_MAX:]
    ])  # fmt: skip
