"""What Gemini's language can say comes back from it: conversations, whole answers, and answers as streams in either form."""

import base64
import json

import attrs
from gemini_values import NEW, REPLY, answers, any_seals, conversations, read_whole
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.conversation import Conversation
from appliance.core.message import Message, Reasoning, Text, ToolCall
from appliance.core.seal import Seal
from appliance.dialects.codec import Written
from appliance.dialects.gemini import GEMINI, GEMINI_ARRAY
from appliance.dialects.gemini_seal import read_seal, written_seal


def as_backend_reads(answer: Completion) -> Completion:
    """A backend's seals are all Google's; what the gateway wrote for a caller is unwrapped by it, here by hand."""

    def one(part):
        seal = getattr(part, "seal", None)
        if seal is None:
            return part
        return attrs.evolve(part, seal=read_seal(seal.value)[0])

    candidates = tuple(attrs.evolve(c, parts=tuple(one(part) for part in c.parts)) for c in answer.candidates)
    return attrs.evolve(answer, candidates=candidates)


def with_summaries(answer: Completion) -> Completion:
    """Without what tells Google's thoughts from another's, which the reader of backends takes for its own."""

    def one(part):
        return attrs.evolve(part, summary=False) if isinstance(part, Reasoning) else part

    return attrs.evolve(answer, candidates=tuple(attrs.evolve(c, parts=tuple(one(part) for part in c.parts)) for c in answer.candidates))


@given(conversations())
@settings(max_examples=100)
def test_a_conversation_written_and_read_is_itself(conversation: Conversation):
    written = GEMINI.write_request(conversation, NEW)
    assert isinstance(written, Written), written
    assert written.dropped == ()
    assert GEMINI.read_request(json.loads(written.body)) == conversation


@given(answers())
@settings(max_examples=100)
def test_an_answer_written_and_read_is_itself(answer: Completion):
    found = GEMINI.read_answer(GEMINI.write_answer(answer, REPLY))
    assert isinstance(found, Completion), found
    assert with_summaries(as_backend_reads(found)) == with_summaries(answer)


@given(answers(), st.sampled_from([GEMINI, GEMINI_ARRAY]), st.integers(1, 40))
@settings(max_examples=100)
def test_an_answer_rendered_as_a_stream_and_read_back_is_itself(answer: Completion, door, step: int):
    writer = door.stream_writer(REPLY)
    deltas = unfold(answer)
    data = b"".join(writer.write(deltas[place : place + step]) + writer.keepalive() for place in range(0, len(deltas), step)) + writer.end()
    reader = GEMINI.stream_reader(1_000_000, "b")
    found = fold(read_whole(reader, data))
    assert reader.fault is None
    assert reader.finished
    assert with_summaries(as_backend_reads(found)) == with_summaries(answer)


@given(any_seals, st.booleans())
def test_a_seal_comes_back_through_bytes_in_either_alphabet(seal: Seal, hidden: bool):
    """google-genai decodes the field as base64 and sends it back in the URL-safe alphabet."""
    written = written_seal(seal, hidden)
    if seal.maker != "gemini":
        again = base64.urlsafe_b64encode(base64.b64decode(written, validate=True)).decode()
        assert read_seal(again) == (seal, hidden)
    assert read_seal(written)[0] == seal


@given(conversations(seals=any_seals))
@settings(max_examples=60)
def test_a_caller_sends_back_every_makers_seal(conversation: Conversation):
    """What an answer was written with is what the next turn's history is read with."""
    model = Completion("r", "m", (), None)
    for message in conversation.messages:
        if message.role != "assistant":
            continue
        body = GEMINI.write_answer(attrs.evolve(model, candidates=(_candidate(message),)), REPLY)
        content = json.loads(body)["candidates"][0]["content"]
        found = GEMINI.read_request({"contents": [{"role": "user", "parts": [{"text": "x"}]}, content]})
        assert isinstance(found, Conversation), found
        assert found.messages[1] == message


def _candidate(message: Message):
    return Candidate(message.parts, "tool_use" if any(isinstance(part, ToolCall) for part in message.parts) else "stop")


def test_texts_in_a_row_stay_apart_in_one_content_and_are_one_over_a_streams_contents():
    user = {"role": "user", "parts": [{"text": "x"}]}
    first, second = {"text": "a"}, {"text": "b"}
    one = GEMINI.read_request({"contents": [user, {"role": "model", "parts": [first, second]}]})
    two = GEMINI.read_request({"contents": [user, {"role": "model", "parts": [first]}, {"role": "model", "parts": [second]}]})
    assert one.messages[1].parts == (Text("a"), Text("b"))
    assert two.messages[1].parts == (Text("ab"),)
