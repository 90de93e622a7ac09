"""Counts of tokens that the gateway makes itself, where no backend can or will: an estimate is told in the caller's own words, and marked.

The rule: a count is advice, and a client that gets none may stop working. So when every backend that could count has failed, the caller
still gets the estimate; what is wrong with the caller's own request is told all the same.
"""

import trio

from appliance.core.fault import Blame, Fault, FaultKind
from appliance.dialects.protocol import COUNT
from appliance.gateway.answer_head import variant_headers
from appliance.gateway.call import Call, HeaderList

ESTIMATED = (b"x-gateway-estimated", b"true")
"""The response header of a count that is the gateway's own."""

COUNT_WAIT_MAX_S = 1.0
"""A count that has to wait longer to be asked for again is estimated: it is needed before the request that it is about."""

_OURS = frozenset({FaultKind.NO_BACKEND, FaultKind.BACKEND_BUSY})


def stands_in(call: Call, fault: Fault) -> bool:
    """Whether an estimate may be told instead of this last fault. A backend's refusal of a request that was written anew may be about our
    words, or about a model that it does not count for (Bedrock says 400 to most): only one of the caller's own words is their affair."""
    if call.parsed.operation != COUNT or call.outlet.started or call.outlet.gone:
        return False
    rewritten = call.translated and fault.upstream_status is not None
    return fault.row.blame is Blame.UPSTREAM or fault.kind in _OURS or rewritten


async def answer_estimate(call: Call, headers: HeaderList) -> Fault | None:
    """The fault is the caller's: a request that cannot be read."""
    from appliance.dialects.token_estimate import estimate  # with the codec that reads the request; see dialects.language_table
    from appliance.gateway.operation_translation import asked_of, asked_side

    conversation = asked_of(call)
    if isinstance(conversation, Fault):
        return conversation
    body = asked_side(call).write(estimate(conversation), conversation, call.parsed.model)
    call.outlet.modelled = True
    await call.outlet.answer(200, [*headers, ESTIMATED, (b"content-length", b"%d" % len(body))], body, trio.current_time())
    return None


def estimate_headers(call: Call) -> HeaderList:
    """Of an estimate that stands in for every backend: nobody served it."""
    record = call.record
    return [
        (b"x-request-id", record.request_id.encode()),
        (b"x-gateway-attempts", b"%d" % len(record.attempts)),
        (b"content-type", b"application/json"),
        *(variant_headers(record.experiment, record.variant) if record.experiment else ()),
    ]
