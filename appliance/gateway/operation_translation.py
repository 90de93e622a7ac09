"""One attempt at an operation that is no chat (embeddings, a count of tokens) whose backend speaks another language than the caller: the
request and the answer by way of canonical values. As in translation.py, what cannot be said is noted, and what must be said is a fault.
"""

from typing import Any

import attrs

from appliance.core.conversation import Conversation
from appliance.core.embedding import EmbeddingRequest, Embeddings, joined
from appliance.core.fault import Fault
from appliance.core.usage import Usage
from appliance.dialects.operation import Asked, Told
from appliance.dialects.overrides import overridden
from appliance.dialects.protocol import Answer
from appliance.gateway.call import Call
from appliance.gateway.faults import protocol_fault
from appliance.gateway.running import Batches, Running
from appliance.providers import shaped, translation_target


@attrs.frozen
class Translated:
    """body: in the caller's language, None while more has to be asked. said: what the answer says of itself."""

    body: bytes | None = attrs.field(repr=False)
    said: Answer


def asked_of(call: Call) -> Any:
    """The caller's request in canonical values, or the Fault that it is; read once however many attempts are made of it."""
    if call.asked is None:
        asked = asked_side(call).read(call.parsed.fields)
        if isinstance(asked, Conversation):  # in some languages it stands in the path
            asked = attrs.evolve(asked, model=call.parsed.model)
        call.asked = asked
    return call.asked


def translated_request(running: Running) -> bytes | Fault:
    """The request in the backend's language, or the first of its batches. Notes in the record what was dropped."""
    call, plan, model = running.call, running.target, running.record.model
    asked = asked_of(call)
    if isinstance(asked, Fault):
        return asked
    target = translation_target(plan.upstream.provider, model, plan.upstream.settings.deployments, running.language.name)
    told, provider = _told(running), plan.upstream.provider
    overrides = plan.overrides if isinstance(asked, EmbeddingRequest) else None  # a count knows no fields beside its own
    bodies: list[bytes] = []
    for part in asked.split(told.inputs_max) if isinstance(asked, EmbeddingRequest) else (asked,):
        written = told.write(part, target)
        if isinstance(written, Fault):
            return written
        running.drop(list(written.dropped))
        body = shaped(provider, running.language.name, running.operation, written.body)
        bodies.append(overridden(body, overrides) if overrides else body)
    first = bodies.pop(0)
    if bodies:
        running.batches = Batches(told.inputs_max, bodies)
    return first


def translated_answer(running: Running, body: bytes) -> Translated | Fault:
    """The whole answer, or the answer to a batch that is not the last, which is kept. A backend that does not tell what it read leaves an
    estimate, with `usage.source` saying so."""
    call, asked, batches = running.call, running.call.asked, running.batches
    answer = _told(running).read(body)
    if isinstance(answer, Fault):
        return answer
    side = asked_side(call)
    said = Answer(None)
    if isinstance(answer, Embeddings) and side.vector is not None:
        wanted = len(asked.inputs) if batches is None else min(batches.size, len(asked.inputs) - batches.size * len(batches.answers))
        if len(answer.vectors) != wanted:
            return protocol_fault(running.record.backend, "answered with another number of vectors than there were texts")
        answer = attrs.evolve(answer, vectors=tuple(side.vector(one, asked) for one in answer.vectors))
        if batches is not None:
            batches.answers.append(answer)
            answer = joined(batches.answers)
        if answer.usage is None:
            answer = attrs.evolve(answer, usage=Usage(call.parsed.prompt_tokens_estimate, source="estimated"))
        said = Answer(answer.usage, answer.model)
        if batches is not None and batches.rest:
            return Translated(None, said)
    return Translated(side.write(answer, asked, call.parsed.model), said)


def asked_side(call: Call) -> Asked:
    sides = call.language.sides(call.parsed.operation)
    asked = None if sides is None else sides.asked
    assert asked is not None  # a path leads to an operation only in languages that have it
    return asked


def _told(running: Running) -> Told:
    sides = running.language.sides(running.operation)
    told = None if sides is None else sides.told
    assert told is not None  # providers.manner chose a language that has it
    return told
