"""One attempt whose backend speaks another language than the caller: the request and the answer by way of canonical values.

What the backend's language cannot say is noted in the record and in a response header; what must not be left out is a fault of the
caller's, told before the backend is asked.
"""

from collections.abc import Mapping

import attrs

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Message, Reasoning, Text, ToolCall
from appliance.dialects.codec import Accepted, Reply
from appliance.dialects.custom_tools import needs_plain, plain
from appliance.dialects.overrides import overridden
from appliance.dialects.protocol import StreamTap
from appliance.dialects.stream_taps import TranslatingTap
from appliance.dialects.tool_names import all_fit, changed_names, restored_answer, with_fitting_names
from appliance.gateway.call import Call
from appliance.gateway.running import Running
from appliance.providers import shaped, translation_target


def conversation_of(call: Call) -> Conversation | Fault:
    """The caller's request, read once however many attempts are made of it."""
    if call.conversation is None:
        accepted = call.language.accepted
        if accepted is None:
            return Fault(FaultKind.INTERNAL, "this request cannot be translated")
        conversation = accepted.read_request(call.parsed.fields)
        if isinstance(conversation, Conversation):  # in some languages these two stand in the path
            conversation = attrs.evolve(conversation, model=call.parsed.model, stream=call.parsed.stream)
        call.conversation = conversation
    return call.conversation


def translated_body(running: Running) -> bytes | Fault:
    """The request in the backend's language. Notes in the record what was dropped."""
    call, target, model = running.call, running.target, running.record.model
    conversation = conversation_of(call)
    if isinstance(conversation, Fault):
        return conversation
    if conversation.stored and running.language.name != call.language.name:
        message = f"{conversation.stored} names what another provider keeps, which this backend cannot read: send the content itself"
        return Fault(FaultKind.BAD_REQUEST, message, param=conversation.stored)
    if call.unsealed:
        conversation = attrs.evolve(conversation, messages=tuple(_unsealed(one) for one in conversation.messages))
    cap = target.max_tokens
    if cap is not None and (conversation.max_tokens is None or conversation.max_tokens > cap):
        conversation = attrs.evolve(conversation, max_tokens=cap)
    if running.language.name != "openai_responses" and needs_plain(conversation):
        conversation = plain(conversation)
    upstream, spoken = target.upstream, running.language.name
    if spoken != call.language.name and not all_fit(conversation):
        conversation = with_fitting_names(conversation)
    own = spoken == call.language.name != "openai_chat"  # many vendors speak that one; any other is known to its own callers
    wanted = translation_target(upstream.provider, model, upstream.settings.deployments, "" if own else spoken)
    written = running.language.spoken.write_request(conversation, wanted)
    if isinstance(written, Fault):
        return written
    running.drop(list(written.dropped))
    body = shaped(target.upstream.provider, running.language.name, "chat", written.body)
    return overridden(body, target.overrides) if target.overrides else body


def translating_tap(running: Running, event_max_bytes: int) -> StreamTap:
    """Reads the backend's stream and writes the caller's."""
    writer = _accepted(running.call).stream_writer(_reply(running))
    running.speak(writer)
    reader = running.language.spoken.stream_reader(event_max_bytes, running.record.backend)
    return TranslatingTap(reader, writer, _names(running))


def stream_type(call: Call) -> bytes:
    """Content type of a streamed answer for this caller."""
    return _accepted(call).stream_type


def read_whole(running: Running, body: bytes) -> Completion | Fault:
    answer = running.language.spoken.read_answer(body)
    names = _names(running)
    return restored_answer(answer, names) if names and isinstance(answer, Completion) else answer


def _names(running: Running) -> Mapping[str, str]:
    """The caller's names of tools by what they are called in the request."""
    conversation = running.call.conversation
    return changed_names(conversation) if isinstance(conversation, Conversation) else {}


def written_whole(running: Running, answer: Completion) -> bytes:
    return _accepted(running.call).write_answer(answer, _reply(running))


def _unsealed(message: Message) -> Message:
    parts = tuple(
        attrs.evolve(part, seal=None) if isinstance(part, Text | Reasoning | ToolCall) and part.seal is not None else part
        for part in message.parts
    )  # fmt: skip
    return attrs.evolve(message, parts=parts)


def _accepted(call: Call) -> Accepted:
    assert call.language.accepted is not None  # a caller's language has this side, or its request would not have been read
    return call.language.accepted


def _reply(running: Running) -> Reply:
    call = running.call
    conversation = call.conversation
    assert isinstance(conversation, Conversation)  # an answer follows a request that was written from it
    return Reply(conversation, call.parsed.model, call.record.id, int(call.record.wall_time), running.dropped)
