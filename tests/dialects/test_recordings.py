"""Whole and streamed are the same: of every recorded answer, in every language that callers speak.

Three ways round. A whole recording is rendered as a stream, and read back. A recorded stream is folded and told whole. What readers of
tests/recorded, which know nothing of the codecs, make of either is what the recording says. A recording's whole and streamed file are two
generations, so none is compared with the other; each stream is held against the reference that is kept of it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from recorded.callers import CONVERSING, Caller
from recorded.files import WHY_NOT, WIRE, Recording
from recorded.said import Said
from recorded_streams import ANSWERS, DOORS, EVENT_MAX_BYTES, SPOKEN, as_stream, reply_to

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Completion
from appliance.core.message import Foreign, Part, Reasoning, Text, ToolCall
from appliance.dialects.responses import RESPONSES

pytestmark = pytest.mark.skipif(not WIRE.is_dir(), reason=WHY_NOT)

OWN = {"chat": "chat", "responses": "responses", "messages": "anthropic", "gemini": "gemini", "array": "gemini"}
REFERENCES = Path(__file__).parents[1] / "recorded" / "references.json"
whole_ones = pytest.mark.parametrize("recording", [one for one in ANSWERS if not one.streamed], ids=lambda one: one.label)
streamed_ones = pytest.mark.parametrize("recording", [one for one in ANSWERS if one.streamed], ids=lambda one: one.label)


def read(recording: Recording) -> Completion:
    spoken = SPOKEN[recording.family]
    answer = folded(spoken, as_stream(recording)) if recording.streamed else spoken.read_answer(recording.path.read_bytes())
    assert isinstance(answer, Completion)
    return answer


def folded(spoken: Any, data: bytes) -> Completion:
    reader = spoken.stream_reader(EVENT_MAX_BYTES, "b")
    answer = fold([*reader.feed(data), *reader.end()])
    assert (reader.fault, reader.finished) == (None, True)
    return answer


def rendered(door: str, answer: Completion) -> bytes:
    writer = DOORS[door].stream_writer(reply_to(door, answer))
    return bytes(writer.write(unfold(answer)) + writer.end())


def plain(part: Part) -> Part:
    """Without what two spellings of one thing differ in: the spacing of arguments, which of several kinds thoughts are of, where in the
    text a source is cited."""
    if isinstance(part, ToolCall) and not part.custom:
        return attrs.evolve(part, arguments=json.dumps(json.loads(part.arguments or "{}"), sort_keys=True))
    if isinstance(part, Text):
        return attrs.evolve(part, citations=tuple(attrs.evolve(one, start=-1, end=-1, raw={}) for one in part.citations))
    return attrs.evolve(part, summary=False) if isinstance(part, Reasoning) else part


def same(answer: Completion, door: str) -> Any:
    """An answer as far as a stream in the caller's language can say it. In a chat all words are one content, whatever stands between; in
    Gemini's streams words in a row are more of the same. `auto` is what was wished for, not what was served."""
    (candidate,) = answer.candidates
    parts = [plain(part) for part in candidate.parts]
    if door in ("gemini", "array"):
        parts = joined(parts)
    if door == "chat":
        words = [part for part in parts if isinstance(part, Text)]
        parts = [*joined(words), *(part for part in parts if not isinstance(part, Text))]
    tier = answer.service_tier.replace("auto", "")
    return answer.model, parts, candidate.finish, candidate.stop_sequence, candidate.logprobs, answer.usage, tier


def joined(parts: list[Part]) -> list[Part]:
    out: list[Part] = []
    for part in parts:
        before = out[-1] if out else None
        if isinstance(part, Text) and isinstance(before, Text) and before.seal is None:
            out[-1] = Text(before.text + part.text, before.citations + part.citations, seal=part.seal)
        else:
            out.append(part)
    return out


@whole_ones
def test_a_whole_recording_rendered_as_a_stream_and_folded_back_is_itself(recording: Recording) -> None:
    answer = read(recording)
    for door, codec in DOORS.items():
        again = folded(codec, rendered(door, answer))
        direct = codec.read_answer(codec.write_answer(answer, reply_to(door, answer)))
        assert same(again, door) == same(direct, door)
        if OWN[door] == recording.family:
            assert same(again, door)[1:6] == same(answer, door)[1:6]


def claims(caller: Caller, answer: Completion) -> dict[str, Said]:
    """What a caller is told of the answer, whole and as a stream, by readers that are not ours."""
    body = json.loads(DOORS[caller.name].write_answer(answer, reply_to(caller.name, answer)))
    events = caller.events(rendered(caller.name, answer).decode())
    return {"whole": caller.whole(body), "streamed": caller.streamed(events)}


@pytest.mark.parametrize("recording", ANSWERS, ids=lambda one: one.label)
def test_any_recording_told_whole_and_as_a_stream_says_what_it_says(recording: Recording) -> None:
    answer, truth = read(recording), recording.said()
    for caller in CONVERSING:
        wanted = caller.shown(truth)
        for form, said in claims(caller, answer).items():
            claim = caller.claim(said, truth)
            if truth.usage is None:  # what stands in its place is the language's own affair
                claim, wanted = attrs.evolve(claim, usage=None), attrs.evolve(wanted, usage=None)
            assert (caller.name, form, claim) == (caller.name, form, wanted)


def reference_of(answer: Completion) -> Any:
    """What of an answer is kept: words by their length and hash."""
    (candidate,) = answer.candidates
    text = "".join(part.text for part in candidate.parts if isinstance(part, Text))
    thoughts = "".join(part.text for part in candidate.parts if isinstance(part, Reasoning))
    calls = [[part.name, part.arguments] for part in candidate.parts if isinstance(part, ToolCall)]
    foreign = [part.kind for part in candidate.parts if isinstance(part, Foreign)]
    usage = attrs.astuple(answer.usage)[:5] if answer.usage is not None else ()
    return {
        "text": hashed(text), "thoughts": hashed(thoughts), "calls": calls, "foreign": foreign, "finish": candidate.finish,
        "usage": list(usage), "id": answer.id, "model": answer.model, "citations": sum(
            len(part.citations) for part in candidate.parts if isinstance(part, Text)
        ), "seals": [
            hashed(part.seal.value) for part in candidate.parts if isinstance(part, Text | Reasoning | ToolCall) and part.seal is not None
        ],
    }  # fmt: skip


def hashed(text: str) -> str:
    return f"{len(text)} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


@streamed_ones
def test_a_recorded_stream_folds_to_the_reference_kept_of_it(recording: Recording) -> None:
    assert reference_of(read(recording)) == json.loads(REFERENCES.read_text())[recording.label]


HOLDS_WHOLE = [one for one in ANSWERS if one.streamed and one.family == "responses" and one.events()[-1]["response"]["output"]]


@pytest.mark.parametrize("recording", HOLDS_WHOLE, ids=lambda one: one.label)
def test_a_responses_stream_folds_to_the_answer_that_its_last_event_holds(recording: Recording) -> None:
    last = recording.events()[-1]
    held = RESPONSES.read_answer(json.dumps(last["response"]).encode())
    assert isinstance(held, Completion)
    assert said_by(read(recording)) == said_by(held)


def said_by(answer: Completion) -> Any:
    """What both must say. OpenAI encrypts reasoning anew for each event, and the tier that served is known at the end only."""
    model, parts, *rest, _ = same(answer, "responses")
    loose = [attrs.evolve(part, seal=None) if isinstance(part, Reasoning) else part for part in parts]
    return model, [part.kind if isinstance(part, Foreign) else part for part in loose], rest


def test_a_reference_is_kept_of_every_recorded_stream_and_of_nothing_else() -> None:
    assert sorted(json.loads(REFERENCES.read_text())) == sorted(one.label for one in ANSWERS if one.streamed)
