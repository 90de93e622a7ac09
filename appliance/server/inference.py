"""The door of the model calls: from an ASGI request to a `Call`, and from a fault to an error in the caller's own dialect.

Every request leaves exactly one record, written in `finally`, also when the client leaves in the middle.
"""

import math

import trio

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import RequestRecord
from appliance.dialects.json_scan import holds_more, too_many
from appliance.dialects.language import Language, Verbatim
from appliance.dialects.protocol import COUNT, UPLOADS, CallerDialect, ParsedRequest
from appliance.gateway.admission import given_request_id
from appliance.gateway.answer_head import variant_headers
from appliance.gateway.call import Call, Outlet
from appliance.gateway.decision import Decision
from appliance.gateway.faults import CLIENT_GONE, DRAINING
from appliance.gateway.following import following
from appliance.gateway.gateway import Gateway
from appliance.gateway.plan import KeyPlan, Plan, Resolved
from appliance.gateway.response_ids import ResponseIds
from appliance.gateway.variants import assigned, unassigned
from appliance.http1.asgi import Receive, Scope, Send
from appliance.http1.turn import Turn
from appliance.server.body import read_body, too_large
from appliance.server.caller import Caller
from appliance.server.paths import envelope_of
from appliance.server.reply import HeaderList, header_map, reply


async def serve_operation(
    gateway: Gateway, scope: Scope, receive: Receive, send: Send, caller: Caller, asks: tuple[str, Language], engine: Turn | None,
    anonymous: bool,
) -> None:  # fmt: skip
    """Answer one POST of an inference operation (`chat`, `text_completion`, `embeddings`, `count_tokens`).

    Args:
        asks: the operation, and the caller's wire language.
        engine: the server below, where it is ours.
        anonymous: whether this listener may let in callers without a key.
    """
    operation, language = asks
    record = _new_record(gateway, scope, caller, operation, language)
    outlet = Outlet(send, record, record.started_at, engine)
    gateway.live.requests += 1
    call: Call | None = None
    try:
        fault: Fault | None
        admitted = await _admit(gateway, scope, receive, caller, outlet, engine, language, anonymous)
        if isinstance(admitted, Fault):
            fault = admitted
        else:
            call, resolved = admitted
            cache = resolved.route.cache
            if cache is not None and cache.may_serve(call) and (asked := gateway.answers.asked(call, resolved, caller.pin)) is not None:
                fault = await gateway.answers.serve(call, resolved, asked, skip=caller.skip_cache)
            else:
                fault = await gateway.accounts.admit(call, resolved, record.started_at)
                if fault is None:
                    fault = await gateway.proxy.serve(call, resolved)
                else:
                    record.decision = Decision(resolved, ())
        if fault is not None:
            await _tell(gateway, scope, caller, outlet, fault, engine)
        elif not outlet.ended and engine is not None:
            # An answer that cannot be finished: its connection ends, so that no client takes it for whole. Hypercorn does so by itself.
            engine.abort(engine.ends_with_connection)
    except BaseException as error:
        if record.fault is None:
            record.fault = _ended_by(error, engine)
        raise
    finally:
        if outlet.gone and record.fault is None:
            record.fault = CLIENT_GONE
        if record.fault is not None and record.fault.kind is FaultKind.CLIENT_GONE:
            record.status = 499
        gateway.live.requests -= 1
        gateway.finish(record, call)
        if gateway.accounts.keeper is not None and call is not None and call.opened is not None:
            with trio.CancelScope(shield=True):  # as durable as configured before this connection carries anything else
                await gateway.accounts.kept()


async def _tell(gateway: Gateway, scope: Scope, caller: Caller, outlet: Outlet, fault: Fault, engine: Turn | None) -> None:
    """The request ends with a fault: its caller hears of it, if they still listen."""
    record = outlet.record
    record.fault = fault
    if fault.kind is not FaultKind.CLIENT_GONE and not outlet.gone:
        if outlet.limited is None and record.key != "none" and caller.known is not None:
            outlet.limited = await gateway.accounts.allowances.standing(caller.known)
        await refuse(outlet, envelope_of(scope["path"]), fault, record)
    elif engine is not None and engine.end_reason is None:
        engine.abort(False)  # they left in the middle of their own request


async def _admit(
    gateway: Gateway, scope: Scope, receive: Receive, caller: Caller, outlet: Outlet, engine: Turn | None, language: Language,
    anonymous: bool,
) -> tuple[Call, Resolved] | Fault:  # fmt: skip
    """Who calls, what they ask for and where that may go; or why not."""
    record, plan = outlet.record, gateway.plan
    key = caller.key(plan, scope["query_string"], record.wall_time, anonymous=anonymous)
    if isinstance(key, Fault):
        return key
    record.tenant, record.key = key.tenant, key.id
    if caller.unsuitable is not None:
        if record.operation not in UPLOADS:
            return caller.unsuitable
        return await _admit_upload(gateway, scope, receive, caller, outlet, engine, language, key)
    limits = plan.config.server.limits
    body: bytes | None = None if engine is None else engine.whole_body()
    if body is None:
        received = await read_body(receive, caller.announced_bytes(scope["headers"]), limits.body_max_bytes)
        if isinstance(received, Fault):
            return received
        body = received
        record.started_at = outlet.heard_at = trio.current_time()
    elif len(body) > limits.body_max_bytes:  # a reload made it less
        return too_large(limits.body_max_bytes)
    record.bytes_in = len(body)
    verbatim = language.verbatim
    assert verbatim is not None  # a path leads here only for languages that callers speak
    parsed = verbatim.read(body, record.operation)
    if isinstance(parsed, Fault):
        return parsed
    if holds_more(body, parsed.fields, limits.items_max):
        return too_many(limits.items_max)
    return _admitted(gateway, scope, caller, outlet, engine, language, verbatim, key, parsed, body)


async def _admit_upload(
    gateway: Gateway, scope: Scope, receive: Receive, caller: Caller, outlet: Outlet, engine: Turn | None,
    language: Language, key: KeyPlan,
) -> tuple[Call, Resolved] | Fault:  # fmt: skip
    """The same for a form, of which no more is read than is needed to know its model."""
    from appliance.dialects.upload_form import read_form  # most gateways are never sent a form; see dialects.language_table
    from appliance.server.upload_body import open_upload

    record, limits = outlet.record, gateway.plan.config.server.limits
    upload = open_upload(scope, receive, caller.announced_bytes(scope["headers"]), limits, record)
    if isinstance(upload, Fault):
        return upload
    admitted: tuple[Call, Resolved] | Fault | None = None
    try:
        admitted = await upload.read_ahead()
        record.started_at = outlet.heard_at = trio.current_time()
        if admitted is None:
            parsed = read_form(upload.reader, record.operation)
            if isinstance(parsed, Fault):
                admitted = parsed
            else:
                assert language.verbatim is not None  # as above
                admitted = _admitted(gateway, scope, caller, outlet, engine, language, language.verbatim, key, parsed, b"")
        if isinstance(admitted, tuple):
            admitted[0].upload = upload
        return admitted
    finally:
        if not isinstance(admitted, tuple):
            upload.close()


def _admitted(
    gateway: Gateway, scope: Scope, caller: Caller, outlet: Outlet, engine: Turn | None, language: Language, verbatim: Verbatim,
    key: KeyPlan, parsed: ParsedRequest, body: bytes,
) -> tuple[Call, Resolved] | Fault:  # fmt: skip
    """Where a request goes that has been read. A reload may have come meanwhile; from here to the proxy nothing waits."""
    record, plan = outlet.record, gateway.plan
    model = record.requested_model = parsed.model
    record.stream = parsed.stream
    record.user = caller.user or parsed.user
    end_reason = _client_gone if engine is None else lambda: engine.end_reason
    texts = {name: value.decode("latin-1") for name, value in header_map(scope).items()} if plan.needs_headers else {}
    if model in plan.named:
        record.model = model
    resolved = caller.known_route(plan, key, model)
    if resolved is None:
        routed = _route(plan, key, parsed, caller, texts, record.path)
        if isinstance(routed, Fault):
            return routed
        resolved = routed
    kept: ResponseIds | None = None
    if verbatim.goes_on:
        if (previous := parsed.fields.get(verbatim.goes_on)) and isinstance(previous, str):
            followed = _going_on(gateway, key, resolved, previous)
            if isinstance(followed, Fault):
                return followed
            resolved = followed
        if record.operation == "chat" and parsed.fields.get("store") is not False:
            kept = gateway.live.responses
    record.route = resolved.route.name
    if resolved.assigned is not None:
        record.experiment, record.variant = resolved.assigned.experiment, resolved.assigned.variant
    if plan.pricing.unknown == "refuse":
        allowed = plan.pricing.allowed(resolved, record)
        if isinstance(allowed, Fault):
            return allowed
        resolved = allowed
    forwarder = gateway.forwarded if record.trace is None else gateway.forwarded_in(record.trace)
    forwarded = caller.forwarded(forwarder, scope["headers"])
    call = Call(record, parsed, body, language, key, forwarded, texts, outlet, end_reason, plan.pricing, responses=kept)
    if verbatim.wrapped in body and record.operation in ("chat", COUNT):
        call.anew = verbatim.unsealed is None
        call.wrapped = not call.anew
    return call, resolved


def _route(plan: Plan, key: KeyPlan, parsed: ParsedRequest, caller: Caller, texts: dict[bytes, str], path: str) -> Resolved | Fault:
    """Where the request may go."""
    if not key.may_use(parsed.model):
        return _forbidden(f"this key may not use the model {parsed.model[:80]!r}")
    resolved = plan.resolve(parsed.model, texts, parsed.prompt_tokens_estimate if plan.needs_prompt else 0, path, key.tenant)
    if caller.pin:
        if not key.pin:
            return Fault(FaultKind.MODEL_FORBIDDEN, "this tenant may not choose a backend with X-Provider", param="X-Provider")
        resolved = plan.pinned(resolved, parsed.model, caller.pin.decode("latin-1"))
    if isinstance(resolved, Fault):
        return resolved
    if not key.may_route(resolved.route.name):
        return _forbidden(f"this key may not use the route {resolved.route.name!r}")
    if resolved.route.experiment is not None and not caller.pin:
        resolved = assigned(resolved, caller.user or key.id)
    if not plan.needs_prompt and not plan.needs_headers:
        caller.keep_route(plan, key, parsed.model, resolved)
    return resolved


def _going_on(gateway: Gateway, key: KeyPlan, resolved: Resolved, previous: str) -> Resolved | Fault:
    """The same, for a request that goes on from an earlier answer, which not every backend has."""
    maker = gateway.live.responses.maker(previous, key.tenant)
    if isinstance(maker, Fault):
        return maker
    followed = following(resolved, maker)
    if isinstance(followed, Fault) and resolved.assigned is not None:  # another target of this route made it
        return following(unassigned(resolved), maker)
    return followed


def _forbidden(message: str) -> Fault:
    return Fault(FaultKind.MODEL_FORBIDDEN, message, param="model", code="model_not_allowed")


def _new_record(gateway: Gateway, scope: Scope, caller: Caller, operation: str, language: Language) -> RequestRecord:
    wall = gateway.wall_clock()
    own = gateway.accounts.new_id(wall)
    client = scope.get("client")
    trace = caller.trace if gateway.tracer is None else gateway.tracer.begin(caller.trace)
    return RequestRecord(
        own, caller.request_id or own, trio.current_time(), wall, scope["method"], scope["path"], language.name, operation,
        client=client[0] if client else "", trace=trace,
    )  # fmt: skip


def _client_gone() -> str:
    """Of an engine that cannot say why it ended a request: it does so only because the client left."""
    return "client_gone"


def _ended_by(error: BaseException, engine: Turn | None) -> Fault:
    """Why a request ended with an exception: it was cancelled by its engine, or by a bug of ours. Nurseries wrap either in groups."""
    bug = error.split(trio.Cancelled)[1] if isinstance(error, BaseExceptionGroup) else None if isinstance(error, trio.Cancelled) else error
    if bug is not None:
        return Fault(FaultKind.INTERNAL, "the gateway failed while answering; its log has the details")
    return DRAINING if engine is not None and engine.end_reason == "shutdown" else CLIENT_GONE


async def refuse(outlet: Outlet, dialect: CallerDialect, fault: Fault, record: RequestRecord) -> None:
    """Tell the caller of a fault, whole, in their dialect; a fault of their own that a backend found passes in its own words."""
    headers = refusal_headers(fault, record)
    body = fault.body if fault.body is not None else dialect.error(fault, record.request_id)
    if fault.body is not None and fault.content_type:
        headers[0] = (b"content-type", fault.content_type)
    headers.append((b"content-length", b"%d" % len(body)))
    await outlet.start(fault.surface_status, headers)
    await outlet.write(body, more=False)


def refusal_headers(fault: Fault, record: RequestRecord) -> HeaderList:
    headers = [(b"content-type", b"application/json"), (b"x-request-id", record.request_id.encode())]
    if record.attempts:
        headers.append((b"x-served-by", record.attempts[-1].backend.encode()))
        headers.append((b"x-gateway-attempts", b"%d" % len(record.attempts)))
    if record.experiment:
        headers += variant_headers(record.experiment, record.variant)
    return headers + retry_after(fault)


async def refuse_plainly(gateway: Gateway, scope: Scope, send: Send, fault: Fault, more: HeaderList | None = None) -> None:
    """A refusal of something that is no model call (an unknown path, a wrong method): answered, not recorded as a request to a model."""
    shown = given_request_id(header_map(scope).get(b"x-request-id")) or gateway.new_id()
    extra = [(b"x-request-id", shown.encode()), *(more or [])]
    if fault.kind is FaultKind.METHOD_NOT_ALLOWED and fault.code:
        extra.append((b"allow", fault.code.encode()))
        fault = Fault(fault.kind, fault.message)
    extra += retry_after(fault)
    await reply(send, fault.surface_status, envelope_of(scope["path"]).error(fault, shown), headers=extra)


def retry_after(fault: Fault) -> HeaderList:
    """In whole seconds, rounded up: who comes back sooner hears the same again."""
    return [] if fault.retry_after_s is None else [(b"retry-after", b"%d" % max(1, math.ceil(fault.retry_after_s)))]
