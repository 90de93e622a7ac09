"""What a question means, as a vector: one call of an embedding backend on the way of a request.

The rule: it is a help and never a hindrance. It has a short time of its own; whatever goes wrong with it is a miss. It is no attempt at
answering: it is written down beside the attempts (`RequestRecord.lookup`), with its cost in the request's.
"""

from array import array

import attrs
import trio

from appliance.core.embedding import EmbeddingRequest, Embeddings
from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord
from appliance.core.usage import Usage
from appliance.dialects.canonical_json import written
from appliance.dialects.language import Language
from appliance.dialects.language_table import language
from appliance.dialects.last_question import last_question
from appliance.dialects.operation import Told
from appliance.dialects.protocol import EMBEDDINGS
from appliance.gateway.answer_head import decoded
from appliance.gateway.cache_key import Asked, digest
from appliance.gateway.cache_plan import SemanticPlan
from appliance.gateway.call import Call
from appliance.gateway.faults import protocol_fault, timeout_fault, wire_fault, without_secrets
from appliance.gateway.nearness import Question, unit
from appliance.gateway.rotation import next_key, settle_key
from appliance.http1.transport import Exchange, Failure, UpstreamRequest
from appliance.providers import shaped, translation_target

ANSWER_MAX_BYTES = 1_048_576
"""Of an embedding: a vector of 8,192 numbers has some 180 kB as text."""

LANGUAGE = "openai_chat"
"""Spoken where the backend has the choice."""


async def question_of(call: Call, plan: SemanticPlan, asked: Asked) -> Question | None:
    """What a chat asks last, to be compared; None where there is nothing to compare, or no vector in time."""
    if call.parsed.operation != "chat" or (found := last_question(call.language.name, asked.fields)) is None:
        return None
    words, around = found
    frame = written(around)
    vector = None if frame is None else await _vector(call, plan, words)
    return None if frame is None or vector is None else Question(digest(asked.head, frame), vector)


async def _vector(call: Call, plan: SemanticPlan, words: str) -> "array[float] | None":
    """The vector of some words, of length one. Notes in the record what was asked, and its cost."""
    target = plan.target
    upstream, now = target.upstream, trio.current_time()
    permit = upstream.state.begin(now) if upstream.state.available(now) else None
    if permit is None:
        return None
    record = AttemptRecord(upstream.name, upstream.provider.gen_ai_name, target.model, target.served, now, outcome="cancelled")
    call.record.lookup = record
    slot = upstream.slots.take()
    found: Embeddings | Fault | None = None
    fault: Fault | None = None
    try:
        if upstream.ring is not None:
            record.key = next_key(upstream.ring, call.record, record)
        asking = _asking(plan, words, record.key)
        if isinstance(asking, Fault):
            found = asking
        elif slot:
            with trio.move_on_after(plan.timeout_s):
                found = await _embedded(call, plan, record, asking)
        else:
            found = Fault(FaultKind.BACKEND_BUSY, f"the backend {upstream.name} is at its limit of concurrent requests")
        if found is None:
            found = timeout_fault(FaultKind.TOTAL_TIMEOUT, upstream.name, plan.timeout_s)
        if isinstance(found, Fault):
            fault = found = without_secrets(found, upstream.secrets)
        record.outcome = "success" if fault is None else "error"
    finally:
        if slot:
            upstream.slots.give()
        record.ended_at, record.fault = trio.current_time(), fault
        if record.key and upstream.ring is not None:
            settle_key(upstream.ring, record, fault)
        late = fault is not None and fault.kind is FaultKind.TOTAL_TIMEOUT
        if fault is None or late or record.usage is not None:  # who is not waited for may bill all the same
            record.usage = record.usage or Usage(max(1, len(words) // 4), source="estimated")
            call.pricing.charge(target, record, call.record)
        answered = record.status > 0 and record.outcome == "success"
        upstream.state.end(permit, record.ended_at, None if late else fault, answered=answered)  # our haste is not its failure
    return None if isinstance(found, Fault) or len(found.vectors) != 1 else unit(found.vectors[0])


@attrs.frozen
class _Asking:
    """spoken, told: the backend's language and its side of embeddings."""

    spoken: Language
    told: Told
    request: UpstreamRequest = attrs.field(repr=False)


def _asking(plan: SemanticPlan, words: str, key: int) -> _Asking | Fault:
    """The call that is to be made. The first one may load a language, so that its time is not the backend's."""
    target = plan.target
    upstream, model = target.upstream, target.model
    manner = upstream.manner(LANGUAGE, EMBEDDINGS, model)
    spoken = None if manner is None else language(manner.language)
    sides = None if spoken is None else spoken.sides(EMBEDDINGS)
    if manner is None or spoken is None or sides is None or sides.told is None:
        return Fault(FaultKind.BAD_REQUEST, f"the backend {upstream.name} makes no embeddings")
    provider = upstream.provider
    wanted = translation_target(provider, model, upstream.settings.deployments, spoken.name)
    said = sides.told.write(EmbeddingRequest((words,), purpose="similarity"), wanted)
    if isinstance(said, Fault):
        return said
    body = shaped(provider, spoken.name, manner.operation, said.body)
    request = upstream.request(manner.operation, sides.told.model(model), b"", body, spoken.name, key=key)
    return _Asking(spoken, sides.told, request)


async def _embedded(call: Call, plan: SemanticPlan, record: AttemptRecord, asking: _Asking) -> Embeddings | Fault:
    upstream, request = plan.target.upstream, asking.request
    if upstream.prover is None:
        answer: Exchange | Failure | Fault = await upstream.transport.send(request, None)
    else:
        answer = await upstream.prover.send(upstream.transport, request, None)
    if isinstance(answer, Failure):
        return wire_fault(answer, upstream.name)
    if isinstance(answer, Fault):
        return answer
    try:
        record.status, record.head_at = answer.status, answer.head_at
        text = await _body(answer, upstream.name)
    finally:
        answer.close()
    if isinstance(text, Fault):
        return text
    if not 200 <= answer.status < 300:
        return _refused(call, asking.spoken, answer, text, plan)
    found: Embeddings | Fault = asking.told.read(text)
    if isinstance(found, Embeddings):
        record.usage, record.response_model = found.usage, found.model
    return found


async def _body(answer: Exchange, backend: str) -> bytes | Fault:
    pieces: list[bytes] = []
    size = 0
    while True:
        piece = await answer.read()
        if isinstance(piece, Failure):
            return wire_fault(piece, backend)
        if not piece:
            return decoded(b"".join(pieces), answer.headers, ANSWER_MAX_BYTES)
        pieces.append(piece)
        size += len(piece)
        if size > ANSWER_MAX_BYTES:
            return protocol_fault(backend, f"answered with more than {ANSWER_MAX_BYTES} bytes")


def _refused(call: Call, spoken: Language, answer: Exchange, body: bytes, plan: SemanticPlan) -> Fault:
    upstream = plan.target.upstream
    fault = spoken.classify(
        answer.status, answer.headers, body, backend=upstream.name, now=call.record.wall_time, secrets=upstream.secrets
    )  # fmt: skip
    return attrs.evolve(fault, body=None)
