"""One attempt at one backend: admitted, bounded in time, recorded before its first await and settled in `finally`.

It returns None when the caller has been answered, or the fault for the retry policy to judge.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
import trio

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord
from appliance.dialects.language import Verbatim
from appliance.dialects.protocol import COUNT, FORWARDED, SHARED, Rewrite
from appliance.gateway.answer_head import OWN_HEAD, decoded, response_headers
from appliance.gateway.billed import Passed, attempt_usage
from appliance.gateway.call import Call, within_scope
from appliance.gateway.counting import answer_estimate
from appliance.gateway.faults import wire_fault, without_secrets
from appliance.gateway.plan import TargetPlan
from appliance.gateway.pump import forward
from appliance.gateway.rotation import next_key, settle_key
from appliance.gateway.running import Running
from appliance.gateway.tracer import forwarded
from appliance.gateway.uncounted import size_so_far
from appliance.http1.transport import Exchange, Failure, Hold, UpstreamRequest
from appliance.providers import request_rewrite

ERROR_BODY_MAX_BYTES = 262_144
"""Of an upstream's error answer; the longest seen are a few kilobytes of validation errors."""

NOT_ANSWERED = (Failure, Fault)

NO_OVERRIDES: Mapping[str, object] = {}


async def attempt(call: Call, target: TargetPlan, model: str, now: float, *, hedge: bool = False) -> Fault | None:
    """Ask one backend once.

    Args:
        hedge: beside another attempt that is under way.
        model: the requested name after aliases, used where the target names none.
        now: the clock, just read.
    """
    upstream, parsed, request = target.upstream, call.parsed, call.record
    permit = upstream.state.begin(now)
    if permit is None:
        return Fault(FaultKind.NO_BACKEND, "no healthy backend for this model right now; try again shortly")
    way = target.way(call.language, parsed.operation, model, parsed.stream)
    asked = way.asked
    # Cancelled until known better: only a cancellation from outside leaves it so.
    record = AttemptRecord(
        upstream.name, upstream.provider.gen_ai_name, asked, way.served, now, outcome="cancelled", half_open=permit.half_open
    )  # fmt: skip
    request.attempts.append(record)
    translates = way.language is not None or call.anew or (way.amiss is not None and way.amiss(parsed.fields, asked))
    running = Running(call, target, record, permit, way, translates, now)
    if hedge:
        call.beside, running.lead, record.hedge = running, False, "sent"
    else:  # what is said of the request is said of it
        call.running, call.translated, request.model = running, translates, way.served
        if call.writer is not None or request.dropped_fields:  # of an attempt before this one
            call.writer, request.dropped_fields = None, ()
    if upstream.ring is not None:
        record.key = next_key(upstream.ring, request, record)
    if target.paced and call.upload is None:  # how long a form takes is its caller's affair
        running.pace = upstream.state.pace(asked, parsed.stream)
        running.pace.begin(now)
    fault: Fault | None = None
    try:
        if upstream.transport.holds:
            running.hold = Hold(running.cut_fault is not None)
            running.slot = upstream.slots.take()
            fault = await (_exchange(running) if running.slot else _queued(running))
        else:
            fault = await within_scope(running, partial(_queued, running))
            if fault is None:
                fault = running.cut_fault
        if record.lost:
            fault = None  # it has been told to end; what it ended in does not matter
        elif fault is None:
            record.outcome = "success"
        else:
            record.outcome, fault = "error", _cause(running, fault)
    finally:
        _settle(running, fault)
    return fault


def _cause(running: Running, fault: Fault) -> Fault:
    """Why an attempt failed: whoever cut it, else why the transport was not given all of a form, else what the transport says."""
    upload = running.call.upload
    return running.cut_fault or (upload.fault if upload is not None else None) or fault


async def _queued(running: Running) -> Fault | None:
    """Take one of the backend's slots, waiting for it where none is free; then do the exchange."""
    running.slot = running.target.upstream.slots.take()
    if not running.slot:
        refused = await _queue(running)
        if refused is not None:
            return refused
        running.slot = True
    return await _exchange(running)


async def _queue(running: Running) -> Fault | None:
    """Wait for a slot: bounded by the queue's own time, and by whoever cuts the attempt."""
    record, slots = running.record, running.target.upstream.slots
    running.deadline = math.inf
    begun = trio.current_time()
    try:
        refusal = await (within_scope(running, slots.wait) if running.scope is None else slots.wait())
    finally:
        record.waited_s = trio.current_time() - begun
    if refusal is None:
        return running.cut_fault
    if refusal:
        busy = f"the backend {record.backend} is at its limit of concurrent requests"
        return Fault(FaultKind.BACKEND_BUSY, busy, detail=refusal, retry_after_s=1)
    running.start_clock(trio.current_time())
    return None


async def _exchange(running: Running) -> Fault | None:
    """One call, or as many as the request has batches; and what becomes of the answers."""
    record, upstream = running.record, running.target.upstream
    request = _request(running)
    if not isinstance(request, UpstreamRequest):
        return await _without_call(running) if request is None else request
    answer: Exchange | Failure | Fault
    while True:
        if upstream.prover is None:
            answer = await upstream.transport.send(request, running.hold)
        else:
            answer = await upstream.prover.send(upstream.transport, request, running.hold)
        if isinstance(answer, NOT_ANSWERED):
            return wire_fault(answer, record.backend) if isinstance(answer, Failure) else answer
        try:
            head_at = record.head_at = running.read_at = answer.head_at
            status = record.status = answer.status
            record.reused = answer.reused
            if running.uploading is None:  # else the caller's pace would count as the backend's
                upstream.state.saw_first_byte(head_at - (running.sent_at or record.started_at + record.waited_s))
            fault = await (forward(running, answer) if 200 <= status < 300 else _refused(running, answer))
        finally:
            answer.close()
        if fault is not None:
            return without_secrets(fault, upstream.secrets)
        if running.batches is None or not running.batches.rest:
            return None
        request = attrs.evolve(request, body=running.batches.rest.pop(0))


def _request(running: Running) -> UpstreamRequest | Fault | None:
    """The call, or the first of several; None where the backend has no such call for this model."""
    call, record, language = running.call, running.record, running.language
    endpoint, model = running.operation, record.model
    if running.translates and endpoint in SHARED:
        model = _asked_model(running)
    if not (endpoint and model):
        return None
    if call.upload is not None:
        from appliance.gateway.upload_attempt import upload_request  # with the reader of forms; see dialects.language_table

        return upload_request(running, call.upload, endpoint, model)
    if running.translates:
        body = _translated(running)
        if isinstance(body, Fault):
            return body
    else:
        verbatim = language.verbatim
        assert verbatim is not None  # it is the caller's own language
        body = _body(running, verbatim)
        endpoint = verbatim.endpoint or endpoint
    lines = call.forwarded if call.record.trace is None else forwarded(running)
    return running.target.upstream.request(endpoint, model, lines, body, language.name, stream=call.parsed.stream, key=record.key)


async def _without_call(running: Running) -> Fault | None:
    """The backend has no such call: a count is told all the same, anything else is the caller's to mend."""
    call = running.call
    if call.parsed.operation == COUNT:
        return await answer_estimate(call, response_headers(running, OWN_HEAD))
    words = f"the backend {running.record.backend} has no {call.parsed.operation.replace('_', ' ')}; choose a model of another one"
    return Fault(FaultKind.BAD_REQUEST, words, param="model", code="unsupported_operation")


def _asked_model(running: Running) -> str:
    """What the backend's call has for the model; empty where it has no such call for this one."""
    sides = running.language.sides(running.operation)
    return sides.told.model(running.record.model) if sides is not None and sides.told is not None else ""


def _translated(running: Running) -> bytes | Fault:
    if running.operation in SHARED:
        from appliance.gateway.operation_translation import translated_request

        return translated_request(running)
    from appliance.gateway.translation import translated_body  # with every value it needs; see dialects.language_table

    return translated_body(running)


def _body(running: Running, verbatim: Verbatim) -> bytes:
    """The caller's bytes, changed only where the operator's configuration or the vendor asks for it."""
    call, target = running.call, running.target
    parsed = call.parsed
    left = _left_out(running, verbatim)
    if left is None and target.verbatim and running.record.model == parsed.model and (not parsed.stream or parsed.wants_usage):
        return call.body
    overrides, cap = target.overrides, target.max_tokens
    if parsed.operation == COUNT:  # they would be fields that the call does not know
        overrides, cap = NO_OVERRIDES, None
    if parsed.operation in FORWARDED:
        cap = None
    if cap is not None and verbatim.token_field != "max_tokens" and verbatim.token_field:
        overrides = {verbatim.token_field: min(cap, parsed.max_tokens or cap), **overrides}
        cap = None
    if left is not None:
        overrides = {**left[0], **overrides}
        running.drop(list(left[1]))
    wanted = Rewrite(
        model=running.record.model if running.record.model != parsed.model else None,
        include_usage=parsed.stream and parsed.operation != "embeddings" and not parsed.wants_usage,
        max_tokens=cap,
        overrides=overrides,
    )
    upstream = target.upstream
    settings = upstream.settings
    adjusted = request_rewrite(
        upstream.provider, parsed, wanted, settings.api_version, settings.deployments, running.language.name
    )  # fmt: skip
    return verbatim.rewrite(call.body, parsed, adjusted)


def _left_out(running: Running, verbatim: Verbatim) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """What the backend would refuse of a history that began elsewhere: the fields without it, and what it was; None for nothing."""
    call, left = running.call, None
    parsed = call.parsed
    if (call.wrapped or call.unsealed) and verbatim.unsealed is not None:
        left = verbatim.unsealed(parsed.fields, call.unsealed)
    if parsed.operation != "chat":
        return left
    if verbatim.mended is not None:
        more = verbatim.mended(parsed.fields if left is None else {**parsed.fields, **left[0]}, running.record.model)
        return more if left is None else left if more is None else ({**left[0], **more[0]}, (*left[1], *more[1]))
    if verbatim.without is not None:
        body, refused = call.body, running.way.refused
        for quoted in refused:
            if quoted in body:
                return verbatim.without(parsed.fields, [name for one, name in refused.items() if one in body])
    return left


async def _refused(running: Running, answer: Exchange) -> Fault:
    """The upstream answered with an error status: read it, bounded, and say what it means."""
    pieces, size = [], 0
    while size < ERROR_BODY_MAX_BYTES:
        data = await answer.read()
        if isinstance(data, Failure) or not data:
            break
        pieces.append(data)
        size += len(data)
    body = decoded(b"".join(pieces), answer.headers, ERROR_BODY_MAX_BYTES)
    secrets = running.target.upstream.secrets
    now = running.call.record.wall_time
    fault = running.language.classify(answer.status, answer.headers, body, backend=running.record.backend, now=now, secrets=secrets)
    return attrs.evolve(fault, body=None) if running.translates and fault.body is not None else fault


def _settle(running: Running, fault: Fault | None) -> None:
    """What every attempt leaves behind, however it ended."""
    record, call, upstream = running.record, running.call, running.target.upstream
    if record.hedge:
        call.beside = None
    else:
        call.running = None
    if running.slot:
        upstream.slots.give()
    now = record.ended_at = trio.current_time()
    if fault is not None:
        record.fault = fault
        if fault.kind is FaultKind.CLIENT_GONE:
            record.outcome = "cancelled"
    if record.lost:
        record.usage = running.owed
    else:
        if not record.price_basis or record.outcome != "success" or call.drained:  # else its answer has told already what it costs
            _bill(running, fault)
        if record.usage is not None and running.lead:
            call.record.usage = record.usage
    if running.pace is not None:
        running.settle_pace(running.pace, fault)
    if record.key and upstream.ring is not None:
        settle_key(upstream.ring, record, fault)
    answered = record.status > 0 and (fault is None or not fault.row.trips) and record.outcome != "cancelled"
    upstream.state.end(running.permit, now, fault, answered=answered)


def _bill(running: Running, fault: Fault | None) -> None:
    """Write down the tokens and the price of an attempt, as far as they are known."""
    record, call = running.record, running.call
    if record.outcome != "success" or record.usage is None or call.drained:
        owed = call.owed_tokens if call.end_reason() != "shutdown" else 0
        passed = Passed(running.deltas, size_so_far(running), running.slot, call.drained, owed)
        record.usage = attempt_usage(record, fault, call.parsed, passed)
    call.pricing.charge(running.target, record, call.record)


def lose(running: Running) -> None:
    """Another attempt has answered first, and this one is about to be cancelled. What it costs is booked now, since the answer that goes
    out says what the request costs.
    """
    running.lead, running.record.lost = False, True
    _bill(running, None)
    running.owed = running.record.usage
