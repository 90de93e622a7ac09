"""Random answers and streams in canonical values, for property tests."""

from hypothesis import strategies as st

from appliance.core.completion import Candidate, Completion, TokenLogprob
from appliance.core.message import Citation, Foreign, Media, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage

words = st.text(max_size=20)
names = st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12)
seals = st.none() | st.builds(
    Seal, st.sampled_from(["anthropic", "openai", "gemini"]), st.text(alphabet="ABCabc012+/=", min_size=1, max_size=20)
)
citations = st.builds(Citation, title=words, url=words, cited=words)
parts = st.one_of(
    st.builds(Text, words, st.lists(citations, max_size=2).map(tuple), st.just(""), seals),
    st.builds(ToolCall, names, names, st.sampled_from(["", "{}", '{"a":1}', '{"city":"Paris"}']), seal=seals),
    st.builds(Reasoning, words, st.booleans(), seals),
    st.builds(Refusal, words),
    st.builds(Media, st.just("image"), st.just("image/png"), st.just("aGk=")),
    st.builds(Foreign, st.just("anthropic"), names, st.just({"a": 1})),
)
logprobs = st.lists(st.builds(TokenLogprob, words, st.floats(-10, 0)), max_size=3).map(tuple)
finishes = st.sampled_from(["stop", "length", "tool_use", "content_filter", "stop_sequence"])
candidates = st.builds(Candidate, st.lists(parts, max_size=5).map(tuple), finishes, st.just(""), logprobs)
usages = st.none() | st.builds(Usage, st.integers(0, 1000), st.integers(0, 1000))
completions = st.builds(Completion, names, names, st.lists(candidates, min_size=1, max_size=2).map(tuple), usages, st.integers(0, 2**31))
