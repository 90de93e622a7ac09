"""What a backend bills for an attempt, as far as anybody can know. Pure.

The rule: the provider's own count where it came whole; else an estimate that errs on the dear side, and says that it is one; nothing where
nobody bills. A provider bills what it processed, whoever broke the answer off; it does not bill what it refused.

    ended                                     tokens                                              source
    whole, and counted                        the provider's                                      provider, or drained
    whole, and not counted                    prompt estimated, answer by what the model wrote    estimated
    broken off, by whomever                   input as told or estimated, answer as far as it     estimated
                                              had come
    the same with on_disconnect = estimate,   answer at least as long as the request would have   estimated
      when the client had left or another     let it become (limits.answer_tokens_max at most)
      attempt had answered first
    refused, or never reached                 none                                                none
"""

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.usage import Usage
from appliance.dialects.answer_size import BYTES_PER_TOKEN
from appliance.dialects.protocol import COUNT, ParsedRequest

ANSWERING = frozenset({"chat", "text_completion"})
"""Operations whose answers are tokens."""

NOTHING_BILLED = "none"
UNBILLED = Usage(source=NOTHING_BILLED)
"""To be read only."""

_UNCERTAIN = {NOTHING_BILLED: 0, "provider": 1, "drained": 2, "estimated": 3}
_BROKEN_OFF = frozenset(
    {FaultKind.FIRST_BYTE_TIMEOUT, FaultKind.IDLE_TIMEOUT, FaultKind.TOTAL_TIMEOUT, FaultKind.STREAM_CUT, FaultKind.DRAINING}
)
"""Faults behind which a backend may well have worked on, or had worked: it is not known to have refused."""


@attrs.frozen
class Passed:
    """What passed of an attempt's answer.

    Attributes:
        deltas: content events of a stream. size: bytes that the model wrote, see dialects.answer_size and uncounted.
        sent: the request may have left.
        drained: the client had left, and the answer was read on.
        owed_tokens: of an answer that its client broke off, at least; 0 where what passed is enough.
    """

    deltas: int = 0
    size: int = 0
    sent: bool = True
    drained: bool = False
    owed_tokens: int = 0


def attempt_usage(record: AttemptRecord, fault: Fault | None, parsed: ParsedRequest, passed: Passed) -> Usage | None:
    """The tokens to book for a settled attempt; None where nobody bills any."""
    known = record.usage
    whole = record.outcome == "success"
    if known is not None and (whole or record.finish_reason):
        return attrs.evolve(known, source="drained") if passed.drained and known.source == "provider" else known
    if parsed.operation == COUNT:
        return None
    if not whole and known is None and not passed.deltas and not _may_be_billed(record, fault, passed):
        return None
    answer = 0
    if parsed.operation in ANSWERING:
        answer = -(-passed.size // BYTES_PER_TOKEN)
        if record.outcome == "cancelled":
            answer = max(answer, passed.owed_tokens)
    if known is None or not known.input_tokens:
        return Usage(max(1, parsed.prompt_tokens_estimate), answer, source="estimated")
    return attrs.evolve(known, output_tokens=max(known.output_tokens, answer), source="estimated")


def _may_be_billed(record: AttemptRecord, fault: Fault | None, passed: Passed) -> bool:
    """Of an attempt that broke off before anything of its answer was seen."""
    if not passed.sent or record.status >= 300:
        return False
    if record.outcome == "cancelled":
        return True
    if fault is None:
        return False
    # Without a head of an answer a lost connection may as well have carried nothing; behind one of a good answer that answer was made.
    return fault.kind in _BROKEN_OFF or (fault.kind is FaultKind.CONNECTION_LOST and record.status > 0)


def billed(record: RequestRecord) -> Usage:
    """The tokens of all attempts of a request together; its source is the least certain one among them."""
    if len(record.attempts) == 1:
        return record.attempts[0].usage or UNBILLED
    total = Usage(source=NOTHING_BILLED)
    for attempt in record.attempts:
        usage = attempt.usage
        if usage is None:
            continue
        total.input_tokens += usage.input_tokens
        total.output_tokens += usage.output_tokens
        total.cached_input_tokens += usage.cached_input_tokens
        total.cache_write_tokens += usage.cache_write_tokens
        total.reasoning_tokens += usage.reasoning_tokens
        total.input_audio_tokens += usage.input_audio_tokens
        total.output_audio_tokens += usage.output_audio_tokens
        total.search_units += usage.search_units
        if _UNCERTAIN[usage.source] > _UNCERTAIN[total.source]:
            total.source = usage.source
    return total
