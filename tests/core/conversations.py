"""Random conversations in canonical values, of everything that callers of the common languages say, in no language's order of things."""

import json
from typing import Any

from hypothesis import strategies as st

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.message import Media, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal

words = st.sampled_from([
    "Hello", "What is in it?", "snow", "1 + 1 = 2", "naïve café", "日本語", "🙂", '"quoted"', '{"a": 1}', "a\nb", "<tag>", "\\n",
    "x" * 300,
])  # fmt: skip
names = st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12)
TOOLS = ("get_weather", "search", "no_arguments")
caches = st.sampled_from(["", "", "", "", "5m", "1h"])
texts = st.builds(Text, words, cache=caches)
details = st.sampled_from(["", "", "low", "high"])
images = st.builds(Media, st.just("image"), st.just("image/png"), st.sampled_from(["aGk=", "aGVsbG8="]), detail=details) | st.builds(
    Media, st.just("image"), st.just("image/png"), url=st.sampled_from(["https://x.test/a.png", "https://x.test/b.png"]), detail=details
)
documents = st.builds(
    Media, st.just("document"), st.just("application/pdf"), st.just("JVBERi0="), name=st.just("a.pdf"), cites=st.booleans(),
    context=st.sampled_from(["", "A report."]),
) | st.builds(Media, st.just("document"), st.just("text/plain"), words, name=st.sampled_from(["", "a.txt"]), plain=st.just(True))
objects = st.dictionaries(names, st.none() | st.booleans() | st.integers(-9, 9) | words | st.just([1, {"b": []}]), max_size=3)
seals = st.builds(Seal, st.sampled_from(["anthropic", "openai", "gemini", "bedrock"]), st.sampled_from(["QUJD", "c2VhbA=="]))
thoughts = st.one_of(
    st.builds(Reasoning, words), st.builds(Reasoning, words, seal=seals), st.builds(Reasoning, words, st.just(True), seals),
    st.builds(Reasoning, seal=seals, hidden=st.just(True)),
)  # fmt: skip
closed: dict[str, Any] = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip


@st.composite
def turns(draw: st.DrawFn) -> tuple[Message, ...]:
    """Instructions first, now and then again later; the user, the assistant and its tools by turns, sometimes twice in a row; the end is
    the user's, or a tool's."""
    out: list[Message] = []
    if draw(st.booleans()):
        out.append(Message(draw(st.sampled_from(["system", "developer"])), tuple(draw(st.lists(texts, min_size=1, max_size=2)))))
    number = 0
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(["", "", "", "ann"]))
        out.append(Message("user", tuple(draw(st.lists(texts | images | documents, min_size=1, max_size=3))), name))
        if draw(st.integers(0, 7)) == 0:
            out.append(Message(draw(st.sampled_from(["system", "developer"])), (draw(texts),)))
        said: list[Part] = [*draw(st.lists(thoughts, max_size=2)), *draw(st.lists(texts, max_size=2))]
        if draw(st.integers(0, 9)) == 0:
            said.append(Refusal("I would rather not."))
        results: list[Part] = []
        for _ in range(draw(st.integers(0, 3))):
            number += 1
            name, given = draw(st.sampled_from(TOOLS)), json.dumps(draw(objects), ensure_ascii=False)
            given = given if draw(st.booleans()) else ""
            said.append(ToolCall(f"call_{number}", name, given, cache=draw(caches), seal=draw(st.none() | seals)))
            shown = tuple(draw(st.lists(texts, min_size=1, max_size=2) | st.lists(texts | images, min_size=1, max_size=2)))
            results.append(ToolResult(f"call_{number}", shown, name, draw(st.booleans()), cache=draw(caches)))
        if said:
            out.append(Message("assistant", tuple(said)))
        if results:
            out.append(Message("tool", tuple(results)))
    if not out or out[-1].role != "tool" or draw(st.booleans()):
        out.append(Message("user", tuple(draw(st.lists(texts, min_size=1, max_size=2)))))
    return tuple(out)


tools = st.lists(
    st.builds(
        Tool, st.sampled_from(TOOLS), words, st.sampled_from([closed, {"type": "object", "properties": {}}]),
        st.sampled_from([None, True]), cache=caches,
    ),
    max_size=3, unique_by=lambda tool: tool.name,
).map(tuple)  # fmt: skip
outputs = st.none() | st.sampled_from([
    OutputFormat("text"), OutputFormat("json_object"), OutputFormat("json_schema", closed, "answer", strict=True),
])  # fmt: skip
wishes = st.none() | st.builds(ReasoningWish, effort=st.sampled_from(["low", "medium", "high"])) | st.builds(
    ReasoningWish, enabled=st.just(True), budget_tokens=st.sampled_from([2048, 8192])
)
st_logprobs = (st.sampled_from([None, None, True]), st.none())
samplings = st.builds(
    Sampling, st.none() | st.sampled_from([0.0, 0.5, 1.0]), st.none() | st.just(0.9), st.none() | st.just(40), st.none() | st.just(0.1),
    st.lists(st.sampled_from(["END", "stop here"]), max_size=2, unique=True).map(tuple), st.none() | st.just(7), st.none() | st.just(0.5),
    st.none() | st.just(-0.5), st.none() | st.just(1.1), st.none() | st.just({"42": 1.0}), *st_logprobs,
)  # fmt: skip


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    given = draw(tools)
    choices: list[ToolChoice | None] = [None]
    if given:
        choices += [ToolChoice("auto"), ToolChoice("none"), ToolChoice("required"), ToolChoice("named", given[0].name)]
        choices += [ToolChoice("auto", allowed=(given[0].name,)), ToolChoice("required", allowed=(given[0].name,))]
    return Conversation(
        "asked", draw(turns()), draw(st.booleans()), max_tokens=draw(st.none() | st.integers(1024, 9000)), tools=given,
        tool_choice=draw(st.sampled_from(choices)), parallel_tools=draw(st.sampled_from([None, True, False])) if given else None,
        output=draw(outputs), reasoning=draw(wishes), sampling=draw(samplings), user=draw(st.sampled_from(["", "u1"])),
        metadata=draw(st.sampled_from([{}, {"team": "a"}])), cache_key=draw(st.sampled_from(["", "k"])),
        verbosity=draw(st.sampled_from(["", "low"])), service_tier=draw(st.sampled_from(["", "auto", "default"])),
        store=draw(st.sampled_from([None, False])),
    )  # fmt: skip
