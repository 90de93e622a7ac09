"""Shared by the tests of Anthropic's codec: events as bytes and back, a plain reply, and random conversations that its language says."""

import json
from pathlib import Path

from hypothesis import strategies as st

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.message import Foreign, Media, Message, Reasoning, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.codec import Reply, Target

WIRE = Path(__file__).parents[3] / "shared" / "recordings" / "wire"
SONNET = Target("claude-sonnet-4-6", max_tokens=4096)

PLAIN = Conversation("claude", (Message("user", (Text("Hello"),)),))
REPLY = Reply(PLAIN, "claude", "msg_made", 1_700_000_000)


def event(**fields):
    return b"event: %b\ndata: %b\n\n" % (fields["type"].encode(), json.dumps(fields).encode())


def stream(*events):
    return b"".join(event(**fields) for fields in events)


def events_of(data):
    """Each event's JSON; its name must be its type."""
    found = []
    for block in data.decode().split("\n\n")[:-1]:
        name, body = block.split("\n")
        found.append(json.loads(body.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


words = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() == text)
names = st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12)
caches = st.sampled_from(["", "", "5m", "1h"])
texts = st.builds(Text, words, cache=caches)
images = st.one_of(
    st.builds(Media, st.just("image"), st.just("image/png"), st.just("aGk="), cache=caches),
    st.builds(Media, st.just("image"), url=words, cache=caches),
    st.builds(Media, st.just("image"), file_id=names),
)
documents = st.one_of(
    st.builds(Media, st.just("document"), st.just("application/pdf"), st.just("aGk="), name=names, context=words, cites=st.booleans()),
    st.builds(Media, st.just("document"), st.just("application/pdf"), url=words, cache=caches),
    st.builds(Media, st.just("document"), st.just("text/plain"), words, plain=st.just(True), name=names),
    st.builds(Media, st.just("document"), file_id=names),
)
own_seals = st.builds(Seal, st.just("anthropic"), st.text(alphabet="ABCabc012+/=", min_size=1, max_size=20))
thoughts = st.builds(Reasoning, words, seal=own_seals) | st.builds(Reasoning, seal=own_seals, hidden=st.just(True))
objects = st.dictionaries(names, st.none() | st.booleans() | st.integers(-9, 9) | words, max_size=3)
foreign = st.builds(lambda raw: Foreign("anthropic", "server_tool_use", {"type": "server_tool_use", **raw}), objects)


@st.composite
def conversations(draw):
    """Conversations that Anthropic's language says without loss, in the form in which it is read back."""
    messages = []
    if draw(st.booleans()):
        messages.append(Message("system", tuple(draw(st.lists(texts, min_size=1, max_size=2)))))
    number = 0
    for _ in range(draw(st.integers(0, 3))):
        messages.append(Message("user", tuple(draw(st.lists(texts | images | documents, min_size=1, max_size=3)))))
        said = draw(st.lists(thoughts, max_size=1)) + draw(st.lists(texts | foreign, min_size=1, max_size=2))
        results = []
        for _ in range(draw(st.integers(0, 2))):
            number += 1
            name = draw(names)
            arguments = json.dumps(draw(objects), separators=(",", ":"), ensure_ascii=False)
            said.append(ToolCall(f"toolu_{number}", name, arguments, cache=draw(caches)))
            shown = tuple(draw(st.lists(texts | images, max_size=2)))
            results.append(ToolResult(f"toolu_{number}", shown, name, draw(st.booleans()), cache=draw(caches)))
        messages.append(Message("assistant", tuple(said)))
        if results:
            messages.append(Message("tool", tuple(results)))
    messages.append(Message("user", tuple(draw(st.lists(texts, min_size=1, max_size=2)))))
    tools = tuple(
        draw(
            st.lists(
                st.builds(Tool, names, words, st.just({"type": "object", "properties": {}}), st.sampled_from([None, True]), cache=caches),
                max_size=3, unique_by=lambda tool: tool.name,
            )
        )
    )  # fmt: skip
    choices = [None]
    if tools:
        choices += [ToolChoice("auto"), ToolChoice("none"), ToolChoice("required"), ToolChoice("named", tools[0].name)]
    choice = draw(st.sampled_from(choices))
    thinking = [None, ReasoningWish(enabled=False), ReasoningWish(effort="low")]
    sampling = draw(
        st.builds(Sampling, st.sampled_from([None, 0.5]), top_k=st.sampled_from([None, 7]), stop=st.lists(words, max_size=2).map(tuple))
    )
    if choice is None or choice.mode in ("auto", "none"):
        thinking += [ReasoningWish(enabled=True, effort="high", shown=True)]
        if not any(message.role == "tool" for message in messages[-2:]):
            thinking += [ReasoningWish(enabled=True, budget_tokens=2048)]
    wish = draw(st.sampled_from(thinking))
    if wish is not None and wish.enabled:
        sampling = Sampling(stop=sampling.stop)
    closed = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    return Conversation(
        model="claude-sonnet-4-6", messages=tuple(messages), stream=draw(st.booleans()), max_tokens=draw(st.integers(4096, 9000)),
        tools=tools, tool_choice=choice, output=draw(st.sampled_from([None, OutputFormat("json_schema", closed)])),
        parallel_tools=draw(st.sampled_from([None, False])) if choice is not None and choice.mode != "none" else None,
        reasoning=wish, sampling=sampling, user=draw(st.sampled_from(["", "u1"])), family="anthropic",
        service_tier=draw(st.sampled_from(["", "auto", "default"])),
        extra=draw(st.sampled_from([{}, {"context_management": {"edits": []}}, {"output_config": {"task_budget": {"total": 1}}}])),
    )  # fmt: skip
