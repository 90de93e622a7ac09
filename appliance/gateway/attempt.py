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
from appliance.dialects.language import Language, Verbatim
from appliance.dialects.language_table import language
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
from appliance.http1.transport import Exchange, Failure, Hold, UpstreamRequest
from appliance.providers import Manner, request_rewrite

ERROR_BODY_MAX_BYTES = 262_144
"""Of an upstream's error answer; the longest seen are a few kilobytes of validation errors."""

NO_OVERRIDES: Mapping[str, object] = {}


async def attempt(call: Call, target: TargetPlan, model: str, now: float, *, hedge: bool = False) -> Fault | None:
    """Ask one backend once.

    Args:
        hedge: beside another attempt that is under way.
        model: the requested name after aliases, used where the target names none.
        now: the clock, just read.
    """
    upstream = target.upstream
    permit = upstream.state.begin(now)
    if permit is None:
        return Fault(FaultKind.NO_BACKEND, "no healthy backend for this model right now; try again shortly")
    asked = target.model or model
    served = target.served or target.served_name(model)
    record = AttemptRecord(upstream.name, upstream.provider.gen_ai_name, asked, served, now, half_open=permit.half_open)
    call.record.attempts.append(record)
    operation = call.parsed.operation
    manner = upstream.manner(call.language.name, operation, asked)
    spoken, asks = (call.language, "") if manner is None else (_language(call, manner), manner.operation)
    translates = spoken is not call.language or call.anew or _amiss(call, asked)
    running = Running(call, target, record, permit, spoken, asks, translates, now, call.cut_fault)
    _take_place(running, hedge=hedge)
    if upstream.ring is not None:
        record.key = next_key(upstream.ring, call.record, record)
    if target.paced and call.upload is None:  # how long a form takes is its caller's affair
        running.pace = upstream.state.pace(asked, call.parsed.stream)
        running.pace.begin(now)
    running.start_clock(now)
    fault: Fault | None = None
    record.outcome = "cancelled"  # until known better: only a cancellation from outside leaves it so
    try:
        if upstream.transport.holds:
            running.hold = Hold(running.cut_fault is not None)
            running.slot = upstream.slots.take()
            fault = await (_exchange(running) if running.slot else _queued(running))
        else:
            fault = await within_scope(running, partial(_queued, running))
            if fault is None:
                fault = running.cut_fault
        if call.upload is not None and fault is not None:
            fault = call.upload.fault or fault  # why the transport was not given all of it
        if running.cut_fault is not None and fault is not None:  # else it came through all the same
            fault = running.cut_fault
        if record.lost:
            fault = None  # it has been told to end; what it ended in does not matter
        else:
            record.outcome = "success" if fault is None else "error"
    finally:
        if hedge:
            call.beside = None
        else:
            call.running = None
        if running.slot:
            upstream.slots.give()
        _settle(running, fault)
    return fault


def _take_place(running: Running, *, hedge: bool) -> None:
    """The request's first attempt at this time leads, and what is said of the request is said of it; a hedge stands beside it."""
    call, record = running.call, running.record
    if hedge:
        call.beside, running.lead, record.hedge = running, False, "sent"
        return
    call.running, call.translated, call.writer = running, running.translates, None
    call.record.model = record.served_model
    if call.record.dropped_fields:
        call.record.dropped_fields = []  # of an attempt before this one


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
    call, record = running.call, running.record
    endpoint, model = running.operation, record.model
    if endpoint in SHARED and running.translates:
        model = _asked_model(running)
    if not (endpoint and model):
        if call.parsed.operation == COUNT:
            return await answer_estimate(call, response_headers(running, OWN_HEAD))
        words = f"the backend {record.backend} has no {call.parsed.operation.replace('_', ' ')}; choose a model of another one"
        return Fault(FaultKind.BAD_REQUEST, words, param="model", code="unsupported_operation")
    if call.upload is not None:
        from appliance.gateway.upload_attempt import upload_request  # with the reader of forms; see dialects.language_table

        return await _ask(running, upload_request(running, call.upload, endpoint, model))
    body = _translated(running) if running.translates else _body(running)
    if isinstance(body, Fault):
        return body
    if not running.translates and running.language.verbatim is not None:
        endpoint = running.language.verbatim.endpoint or endpoint
    fault = await _ask(running, _request(running, endpoint, model, body))
    while fault is None and running.batches is not None and running.batches.rest:
        fault = await _ask(running, _request(running, endpoint, model, running.batches.rest.pop(0)))
    return fault


def _request(running: Running, endpoint: str, model: str, body: bytes) -> UpstreamRequest:
    call = running.call
    upstream, key = running.target.upstream, running.record.key
    return upstream.request(endpoint, model, forwarded(running), body, running.language.name, stream=call.parsed.stream, key=key)


async def _ask(running: Running, request: UpstreamRequest) -> Fault | None:
    """One call, and what becomes of its answer."""
    record, upstream = running.record, running.target.upstream
    if upstream.prover is None:
        answer: Exchange | Failure | Fault = await upstream.transport.send(request, running.hold)
    else:
        answer = await upstream.prover.send(upstream.transport, request, running.hold)
    if isinstance(answer, Failure):
        return wire_fault(answer, record.backend)
    if isinstance(answer, Fault):
        return answer
    try:
        record.head_at = running.read_at = answer.head_at
        record.status, record.reused = answer.status, answer.reused
        if running.uploading is None:  # else the caller's pace would count as the backend's
            upstream.state.saw_first_byte(record.head_at - (running.sent_at or record.started_at + record.waited_s))
        fault = await (forward(running, answer) if 200 <= answer.status < 300 else _refused(running, answer))
        return None if fault is None else without_secrets(fault, upstream.secrets)
    finally:
        answer.close()


def _amiss(call: Call, model: str) -> bool:
    """Whether this model would refuse what the caller says in its own language."""
    amiss = None if call.language.verbatim is None else call.language.verbatim.amiss
    return amiss is not None and amiss(call.parsed.fields, model)


def _language(call: Call, manner: Manner) -> Language:
    """The caller's own row where nothing has to be translated: it knows what stood in the path."""
    own = manner.language == call.language.name and manner.operation == call.parsed.operation
    return call.language if own else language(manner.language)


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


def _body(running: Running) -> bytes:
    """The caller's bytes, changed only where the operator's configuration or the vendor asks for it."""
    call, target = running.call, running.target
    parsed, verbatim = call.parsed, running.language.verbatim
    assert verbatim is not None  # it is the caller's own language
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
    call, model = running.call, running.record.model
    fields, left = call.parsed.fields, None
    if verbatim.unsealed is not None and (call.wrapped or call.unsealed):
        left = verbatim.unsealed(fields, call.unsealed)
    if call.parsed.operation != "chat":
        return left
    if verbatim.mended is not None:
        more = verbatim.mended(fields if left is None else {**fields, **left[0]}, model)
        return more if left is None else left if more is None else ({**left[0], **more[0]}, (*left[1], *more[1]))
    if verbatim.without is not None and (refused := running.target.upstream.refused(model)):
        names = [name for name, quoted in refused if quoted in call.body]
        return verbatim.without(fields, names) if names else left
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
    record, call = running.record, running.call
    record.ended_at = trio.current_time()
    record.fault = fault
    if fault is not None and fault.kind is FaultKind.CLIENT_GONE:
        record.outcome = "cancelled"
    if record.lost:
        record.usage = running.owed
    else:
        _bill(running, fault)
        if record.usage is not None and running.lead:
            call.record.usage = record.usage
    if running.pace is not None:
        running.settle_pace(running.pace, fault)
    if record.key and running.target.upstream.ring is not None:
        settle_key(running.target.upstream.ring, record, fault)
    answered = record.status > 0 and (fault is None or not fault.row.trips) and record.outcome != "cancelled"
    running.target.upstream.state.end(running.permit, record.ended_at, fault, answered=answered)


def _bill(running: Running, fault: Fault | None) -> None:
    """Write down the tokens and the price of an attempt, as far as they are known."""
    record, call = running.record, running.call
    if record.outcome != "success" or record.usage is None or call.drained:
        owed = call.owed_tokens if call.end_reason() != "shutdown" else 0
        passed = Passed(running.deltas, call.record.bytes_out, running.slot, call.drained, owed)
        record.usage = attempt_usage(record, fault, call.parsed, passed)
    call.pricing.charge(running.target, record, call.record)


def lose(running: Running) -> None:
    """Another attempt has answered first, and this one is about to be cancelled. What it costs is booked now, since the answer that goes
    out says what the request costs.
    """
    running.lead, running.record.lost = False, True
    _bill(running, None)
    running.owed = running.record.usage
