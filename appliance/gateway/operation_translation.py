"""One attempt at an operation that is no chat (embeddings, a count of tokens) whose backend speaks another language than the caller: the
request and the answer by way of canonical values. As in translation.py, what cannot be said is noted, and what must be said is a fault.
"""

from typing import Any

import attrs

from appliance.core.conversation import Conversation
from appliance.core.embedding import EmbeddingRequest, Embeddings
from appliance.core.fault import Fault
from appliance.core.usage import Usage
from appliance.dialects.operation import Asked, Told
from appliance.dialects.overrides import overridden
from appliance.dialects.protocol import Answer
from appliance.gateway.call import Call
from appliance.gateway.faults import protocol_fault
from appliance.gateway.running import Running
from appliance.providers import shaped, translation_target


@attrs.frozen
class Translated:
    """body: in the caller's language. said: what the answer says of itself."""

    body: bytes = attrs.field(repr=False)
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
    """The request in the backend's language. Notes in the record what was dropped."""
    call, plan, model = running.call, running.target, running.record.model
    asked = asked_of(call)
    if isinstance(asked, Fault):
        return asked
    target = translation_target(plan.upstream.provider, model, plan.upstream.settings.deployments, running.language.name)
    written = _told(running).write(asked, target)
    if isinstance(written, Fault):
        return written
    call.record.dropped_fields = list(written.dropped)
    body = shaped(plan.upstream.provider, running.language.name, running.operation, written.body)
    embeds = isinstance(asked, EmbeddingRequest)  # a count knows no fields beside its own
    return overridden(body, plan.overrides) if plan.overrides and embeds else body


def translated_answer(running: Running, body: bytes) -> Translated | Fault:
    """A backend that does not tell what it read leaves an estimate, with `usage.source` saying so."""
    call, asked = running.call, running.call.asked
    answer = _told(running).read(body)
    if isinstance(answer, Fault):
        return answer
    said = Answer(None)
    if isinstance(answer, Embeddings):
        if len(answer.vectors) != len(asked.inputs):
            return protocol_fault(running.record.backend, "answered with another number of vectors than there were texts")
        if answer.usage is None:
            answer = attrs.evolve(answer, usage=Usage(call.parsed.prompt_tokens_estimate, source="estimated"))
        said = Answer(answer.usage, answer.model)
    return Translated(asked_side(call).write(answer, asked, call.parsed.model), said)


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
