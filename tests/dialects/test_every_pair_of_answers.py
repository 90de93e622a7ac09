"""Between any two languages that callers speak: an answer in A's language told in B's and back in A's is still that answer, whole and as a
stream: its words, thoughts, refusal, calls, reason to end, and usage.
"""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_streams import DOORS, EVENT_MAX_BYTES, reply_to

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.message import Citation, Part, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage

LANGUAGES = tuple(DOORS)
PAIRS = [pair for pair in itertools.permutations(LANGUAGES, 2) if set(pair) != {"gemini", "array"}]

words = st.sampled_from(["Hello", "日本語", "🙂", '"q"', "a\nb", " spaced ", "{}", "<think>", "x" * 500]) | (
    st.text(min_size=1, max_size=8).filter(str.strip)  # blank ones are not told to Anthropic's callers: they could not send them back
)
seals = st.none() | st.builds(Seal, st.sampled_from(["anthropic", "openai", "gemini", "bedrock"]), st.sampled_from(["QUJD", "c2VhbA=="]))
citations = st.builds(Citation, st.just("A page"), st.just("https://x.test/a"), st.sampled_from(["", "cited words"]))
names = st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12)
objects = st.dictionaries(names, st.none() | st.booleans() | st.integers(-9, 9) | words, max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> Completion:
    parts: list[Part] = [*draw(st.lists(st.builds(Reasoning, words, st.booleans(), seals), max_size=2))]
    parts += draw(st.lists(st.builds(Text, words, st.lists(citations, max_size=1).map(tuple)), max_size=2))
    ending = draw(st.sampled_from(["stop", "length", "content_filter", "refusal", "tool_use"]))
    if ending == "refusal":
        parts.append(Refusal(draw(words)))
    if ending == "tool_use":
        for number in range(draw(st.integers(1, 3))):
            given_ones = draw(objects)
            arguments = json.dumps(given_ones, ensure_ascii=False) if given_ones or draw(st.booleans()) else ""
            parts.append(ToolCall(f"call_{number}", draw(names), arguments))
    made, reasoned = draw(st.integers(1, 900)), draw(st.integers(0, 1))
    usage = Usage(draw(st.integers(20, 900)), made, draw(st.integers(0, 10)), draw(st.integers(0, 10)), reasoned)
    candidate = Candidate(tuple(parts), ending)  # type: ignore[arg-type]
    return Completion("id_1", "m", (candidate,), usage, 1_700_000_000)


def told_whole(language: str, answer: Completion) -> Completion:
    codec = DOORS[language]
    found = codec.read_answer(codec.write_answer(answer, reply_to(language, answer)))
    assert isinstance(found, Completion)
    return found


def told_as_stream(language: str, answer: Completion) -> Completion:
    codec = DOORS[language]
    writer, reader = codec.stream_writer(reply_to(language, answer)), codec.stream_reader(EVENT_MAX_BYTES, "b")
    found = fold([*reader.feed(writer.write(unfold(answer)) + writer.end()), *reader.end()])
    assert (reader.fault, reader.finished) == (None, True)
    return found


ENDINGS = {"content_filter": "filtered", "refusal": "filtered"}


def gist(answer: Completion, *languages: str) -> Any:
    """As far as all of the languages say it. Gemini has no place for a refusal but the text, and counts no writes to a cache."""
    (candidate,) = answer.candidates
    text = "".join(part.text for part in candidate.parts if isinstance(part, Text))
    refusal = "".join(part.text for part in candidate.parts if isinstance(part, Refusal))
    ending = candidate.finish
    if {"gemini", "array"} & set(languages):
        text, refusal = text + refusal, ""
    thoughts = "".join("".join(part.text.split()) for part in candidate.parts if isinstance(part, Reasoning))
    calls = [(part.id, part.name, json.loads(part.arguments or "{}")) for part in candidate.parts if isinstance(part, ToolCall)]
    usage = answer.usage
    assert usage is not None
    counts = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.reasoning_tokens)
    return text, refusal, thoughts, calls, ENDINGS.get(ending, ending), counts


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
@given(asked=answers(), streamed=st.tuples(st.booleans(), st.booleans()))
@settings(max_examples=50)
def test_an_answer_goes_there_and_back_and_is_itself(one: str, other: str, asked: Completion, streamed: tuple[bool, bool]) -> None:
    there, back = (told_as_stream if choice else told_whole for choice in streamed)
    start = told_whole(one, asked)
    assert gist(start, one) == gist(asked, one)
    middle = there(other, start)
    assert gist(middle, one, other) == gist(start, one, other)
    assert gist(back(one, middle), one, other) == gist(start, one, other)
