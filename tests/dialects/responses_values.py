"""Random conversations and answers within what the Responses API can say, for properties of there and back."""

from typing import get_args

from hypothesis import strategies as st

from appliance.core.completion import Candidate, Completion, TokenLogprob
from appliance.core.conversation import Conversation, Effort, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.message import Citation, Foreign, Media, Message, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.core.usage import Usage

FAMILY = "openai_responses"

words = st.text(max_size=12)
said = st.text(min_size=1, max_size=12)
names = st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
seals = st.builds(Seal, st.just("openai"), st.text(alphabet="ABCabc012+/=", min_size=1, max_size=12))
urls = names.map(lambda name: f"https://{name}.test/")
media = st.one_of(
    st.builds(Media, st.just("image"), st.just("image/png"), st.just("aGk="), detail=st.sampled_from(["", "low", "high"])),
    st.builds(Media, st.just("image"), url=urls),
    st.builds(Media, st.just("document"), st.just("application/pdf"), st.just("JVBE"), name=names.map(lambda name: f"{name}.pdf")),
    st.builds(Media, st.just("document"), url=urls),
    st.builds(Media, st.just("document"), file_id=names),
)
foreign = st.builds(lambda kind: Foreign(FAMILY, f"{kind}_call", {"type": f"{kind}_call", "id": "x"}), names)
thoughts = st.one_of(st.builds(Reasoning, said, st.just(True), seals), st.builds(Reasoning, hidden=st.just(True), seal=seals))


def calls(namespaces: st.SearchStrategy[str]) -> st.SearchStrategy[ToolCall]:
    functions = st.builds(ToolCall, names, names, st.sampled_from(["{}", '{"a": 1}', '{"city":"Paris"}']), namespaces)
    return functions | st.builds(ToolCall, names, names, words, namespaces, custom=st.just(True))


any_calls = calls(st.sampled_from(["", "crm"]))
turns = st.lists(st.one_of(thoughts, st.builds(Text, said), st.builds(Refusal, said), any_calls, foreign), min_size=1, max_size=5)
results = st.builds(ToolResult, names, st.just(()) | st.lists(st.builds(Text, said) | media, min_size=1, max_size=3).map(tuple))
asked_parts = st.lists(st.builds(Text, said) | media, min_size=1, max_size=3).map(tuple)


@st.composite
def messages(draw: st.DrawFn) -> tuple[Message, ...]:
    """Runs of one role that the items would join are one message already; results name the calls before them."""
    out: list[Message] = [Message("system", (Text(draw(said)),))] if draw(st.booleans()) else []
    called: dict[str, str] = {}
    for role in draw(st.lists(st.sampled_from(["user", "developer", "assistant", "tool"]), min_size=1, max_size=6)):
        if role in ("assistant", "tool") and out and out[-1].role == role:
            continue
        if role == "assistant":
            parts = tuple(draw(turns))
            called.update({part.id: part.name for part in parts if isinstance(part, ToolCall)})
        elif role == "tool":
            found = draw(st.lists(results, min_size=1, max_size=3))
            parts = tuple(ToolResult(one.call_id, one.parts, called.get(one.call_id, "")) for one in found)
        else:
            parts = draw(asked_parts)
        out.append(Message(role, parts))  # type: ignore[arg-type]
    return tuple(out)


grammars = st.none() | st.just({"type": "grammar", "syntax": "regex", "definition": "a"})
tools = st.one_of(
    st.builds(Tool, names, words, st.none() | st.just({"type": "object"}), st.none() | st.booleans()),
    st.builds(Tool, names, words, custom=st.just(True), grammar=grammars),
    names.map(lambda kind: Tool(kind + "_tool", server=True, family=FAMILY, raw={"type": kind + "_tool"})),
)
outputs = st.one_of(
    st.sampled_from([OutputFormat("text"), OutputFormat("json_object")]),
    st.builds(OutputFormat, st.just("json_schema"), st.just({"type": "object"}), names, words, st.none() | st.booleans()),
)
wishes = st.builds(
    ReasoningWish, effort=st.none() | st.sampled_from(get_args(Effort)), summary=st.sampled_from(["auto", "detailed"]), sealed=st.booleans()
)
samplings = st.builds(Sampling, temperature=st.none() | st.floats(0, 2), top_p=st.none() | st.floats(0, 1))
conversations = st.builds(
    Conversation, names, messages(), stream=st.booleans(), max_tokens=st.none() | st.integers(1, 9),
    tools=st.lists(tools, max_size=3, unique_by=lambda tool: tool.name).map(tuple), parallel_tools=st.none() | st.booleans(),
    tool_choice=st.none(), output=st.none() | outputs, reasoning=st.none() | wishes, sampling=samplings, user=words,
    metadata=st.dictionaries(names, words, max_size=2), cache_key=words, verbosity=st.sampled_from(["", "low"]),
    service_tier=st.sampled_from(["", "flex"]), store=st.none() | st.booleans(), previous=st.sampled_from(["", "resp_1"]),
    family=st.just(FAMILY), extra=st.just({}) | st.just({"client_metadata": {"a": 1}, "include": ["web_search_call.results"]}),
)  # fmt: skip
choices = st.sampled_from([ToolChoice("auto"), ToolChoice("none"), ToolChoice("required")])

citations = st.builds(
    lambda url, title: Citation(title, url, "", 0, 0, {
        "type": "url_citation", "url": url, "title": title, "start_index": 0, "end_index": 0,
    }), urls, words,
)  # fmt: skip
logprobs = st.builds(lambda token, number: TokenLogprob(token, number, tuple(token.encode())), said, st.floats(-10, 0))
answer_parts = st.one_of(
    st.builds(Text, words, st.lists(citations, max_size=2).map(tuple)),
    st.builds(Reasoning, words, st.booleans()),
    thoughts,
    st.builds(Refusal, words),
    any_calls,
    foreign,
)


@st.composite
def answers(draw: st.DrawFn) -> Completion:
    parts = tuple(draw(st.lists(answer_parts, max_size=6)))
    kinds = {type(part) for part in parts}
    finish = "tool_use" if ToolCall in kinds else "refusal" if Refusal in kinds else "stop"
    if not isinstance(parts[-1] if parts else None, ToolCall) and ToolCall not in kinds:
        finish = draw(st.sampled_from([finish, "length", "content_filter"]))
    scores = tuple(draw(st.lists(logprobs, max_size=3))) if Text in kinds else ()
    few, many = st.integers(0, 9), st.integers(50, 99)
    usage = Usage(draw(many), draw(many), draw(few), draw(few), draw(few))
    tier = draw(st.sampled_from(["", "default"]))
    candidate = Candidate(parts, finish, "", scores)  # type: ignore[arg-type]
    return Completion("resp_" + draw(names), "the-model", (candidate,), usage, draw(st.integers(1, 2**31)), "", tier)
