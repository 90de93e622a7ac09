"""An answer as the cache keeps it, and how it is given again.

The rule: only a whole, good answer of a backend is kept, byte for byte as its caller got it; of its head only what describes the body. What
tells of one exchange (ids, times, limits, attempts) is told anew.
"""

import trio

from appliance.core.fault import Fault
from appliance.gateway.answer_head import header_text, variant_headers
from appliance.gateway.cache import Entry
from appliance.gateway.call import Call, HeaderList
from appliance.gateway.counting import ESTIMATED
from appliance.gateway.faults import CLIENT_GONE
from appliance.gateway.nearness import Question
from appliance.gateway.pricing import usd_text
from appliance.gateway.recording import Recording

UNFIT = frozenset({"content_filter", "refusal", "pause", "context_length", "malformed_tool_call"})
"""Ends of answers that are not worth having again: filtered, refused, to be gone on with, or broken."""

REPLAY_BYTES = 65_536
"""Of a stream, at once: a caller who reads slowly holds up nothing but itself."""

HIT = (b"x-cache", b"HIT")
SERVED_BY = (b"x-served-by", b"cache")


def kept_answer(call: Call, recording: Recording, ttl_s: float, now: float, question: Question | None = None) -> Entry | None:
    """What is to be kept of the answer that a request has just got; None where that is nothing."""
    record, outlet = call.record, call.outlet
    if record.fault is not None or recording.body is None or recording.status != 200 or outlet.gone or not outlet.ended:
        return None
    last = record.attempts[-1] if record.attempts else None
    if last is None or last.outcome != "success" or last.finish_reason in UNFIT or ESTIMATED in recording.headers:
        return None
    headers = dict(recording.headers)
    return Entry(
        body=bytes(recording.body), content_type=headers.get(b"content-type", b""), stream=call.parsed.stream, model=record.model,
        made_at=now, expires_at=now + ttl_s, dropped=headers.get(b"x-gateway-dropped", b""), cost_nusd=record.cost_nusd,
        question=question,
    )  # fmt: skip


async def replay(call: Call, entry: Entry) -> Fault | None:
    """Send it: whole, or event for event as it was streamed."""
    outlet, now = call.outlet, trio.current_time()
    headers = _head(call, entry, now)
    outlet.modelled = True
    if not entry.stream:
        headers += [(b"x-gateway-cost-usd", usd_text(call.record.cost_nusd)), (b"content-length", b"%d" % len(entry.body))]
        await outlet.answer(200, headers, entry.body, now)
        return None
    await outlet.start(200, headers)
    for start in range(0, len(entry.body), REPLAY_BYTES):
        await outlet.write(entry.body[start : start + REPLAY_BYTES])
        if outlet.gone:
            return CLIENT_GONE
    await outlet.write(b"", more=False)
    return None


def _head(call: Call, entry: Entry, now: float) -> HeaderList:
    record = call.record
    headers = [
        (b"x-request-id", record.request_id.encode()),
        SERVED_BY,
        HIT,
        (b"age", b"%d" % (now - entry.made_at)),
        (b"x-gateway-model", header_text(entry.model)),
        (b"x-gateway-attempts", b"%d" % len(record.attempts)),
        (b"x-gateway-overhead-ms", b"%.3f" % ((now - record.started_at) * 1000)),
    ]
    if entry.content_type:
        headers.append((b"content-type", entry.content_type))
    if entry.dropped:
        headers.append((b"x-gateway-dropped", entry.dropped))
    if record.experiment:
        headers += variant_headers(record.experiment, record.variant)
    return headers
