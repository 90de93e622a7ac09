"""Shared by the tests of Gemini's codec: chunks as bytes and back, and random conversations and answers that its language says."""

import base64
import json
from pathlib import Path

import attrs
from hypothesis import strategies as st

from appliance.core.completion import Candidate, Completion, TokenLogprob
from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.message import Citation, Foreign, Media, Message, Reasoning, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.codec import Reply, Target

WIRE = Path(__file__).parents[3] / "shared" / "recordings" / "wire"
NEW = Target("gemini-flash-latest")
PLAIN = Conversation("gemini", (Message("user", (Text("Hello"),)),), family="gemini")
REPLY = Reply(PLAIN, "gemini-x", "resp_made", 1_700_000_000)


def sse(*chunks):
    return b"".join(b"data: %b\r\n\r\n" % json.dumps(chunk).encode() for chunk in chunks)


def array(*chunks):
    return b"[" + b"\n,\r\n".join(json.dumps(chunk, indent=2).encode() for chunk in chunks) + b"\n]"


def chunk(*parts, finish=None, index=0, **members):
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": index} | ({"finishReason": finish} if finish else {})
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": "gemini-x", **members}


def chunks_of(data):
    """Each event's JSON of a stream of server-sent events."""
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


def read_whole(reader, data):
    return [*reader.feed(data), *reader.end()]


words = st.text(min_size=1, max_size=12)
names = st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12)
base64s = st.binary(min_size=1, max_size=12).map(lambda data: base64.b64encode(data).decode())
own_seals = st.builds(Seal, st.just("gemini"), base64s)
any_seals = st.builds(Seal, st.sampled_from(["anthropic", "openai", "gemini", "openai_chat"]), base64s)
objects = st.dictionaries(names, st.none() | st.booleans() | st.integers(-9, 9) | words | st.lists(words, max_size=2), max_size=3)
blobs = st.builds(Media, st.just("image"), st.just("image/png"), st.just("aGk="))
media = st.one_of(
    blobs,
    st.builds(Media, st.just("document"), st.just("application/pdf"), st.just("aGk=")),
    st.builds(Media, st.just("image"), st.just("image/webp"), url=names.map(lambda name: f"https://x.test/{name}")),
    st.builds(Media, st.just("audio"), st.just("audio/mp3"), url=names.map(lambda name: f"gs://bucket/{name}")),
    st.builds(Media, st.just("video"), st.just("video/mp4"), file_id=names.map(lambda name: f"files/{name}")),
)
foreign = st.builds(lambda code: Foreign("gemini", "executableCode", {"executableCode": {"code": code, "language": "PYTHON"}}), words)
calm = words.filter(lambda text: not text.lstrip().startswith("{"))


def thoughts(seals):
    """As Google's read: words are summaries unless another maker's seal is on them."""
    plain = st.builds(Reasoning, words, seal=st.none() | seals)
    hidden = st.builds(Reasoning, seal=seals, hidden=st.just(True))
    return plain.map(lambda one: attrs.evolve(one, summary=one.seal is None or one.seal.maker == "gemini")) | hidden


def arguments(found):
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False) if found else ""


@st.composite
def conversations(draw, seals=own_seals):
    """Conversations that Gemini's language says without loss, in the form in which it is read back."""
    messages = []
    if draw(st.booleans()):
        messages.append(Message("system", tuple(draw(st.lists(st.builds(Text, words), min_size=1, max_size=2)))))
    number = 0
    for _ in range(draw(st.integers(0, 3))):
        messages.append(Message("user", tuple(draw(st.lists(st.builds(Text, words) | media, min_size=1, max_size=3)))))
        said = draw(st.lists(thoughts(seals), max_size=1))
        said += draw(st.lists(st.builds(Text, words, seal=st.none() | seals) | foreign | blobs, min_size=1, max_size=2))
        results = []
        for _ in range(draw(st.integers(0, 2))):
            number += 1
            name = draw(names)
            said.append(ToolCall(f"c{number}", name, arguments(draw(objects)), seal=draw(st.none() | seals)))
            shown = tuple(draw(st.lists(st.builds(Text, calm), max_size=1)) + draw(st.lists(blobs, max_size=1)))
            results.append(ToolResult(f"c{number}", shown, name, draw(st.booleans())))
        messages.append(Message("assistant", tuple(said)))
        if results:
            messages.append(Message("tool", tuple(results)))
            messages.append(Message("assistant", (Text("done"),)))
    messages.append(Message("user", tuple(draw(st.lists(st.builds(Text, words), min_size=1, max_size=2)))))
    return attrs.evolve(draw(wishes()), messages=tuple(messages))


@st.composite
def wishes(draw):
    tools = [draw(st.builds(Tool, st.just(f"tool_{n}"), words, st.just({"type": "object"}))) for n in range(draw(st.integers(0, 2)))]
    choice = None
    if tools:
        free = st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]))
        choice = draw(st.none() | free | st.just(ToolChoice("named", "tool_0")))
    tools += draw(st.lists(st.just(Tool("googleSearch", server=True, family="gemini", raw={"googleSearch": {}})), max_size=1))
    sampling = st.builds(
        Sampling, st.none() | st.floats(0, 2), st.none() | st.floats(0, 1), st.none() | st.integers(1, 40),
        stop=st.lists(words, max_size=2).map(tuple), seed=st.none() | st.integers(0, 2**31 - 1), logprobs=st.none() | st.booleans(),
        top_logprobs=st.none() | st.integers(0, 20), candidates=st.none() | st.integers(1, 3),
        presence_penalty=st.none() | st.floats(-2, 2), frequency_penalty=st.none() | st.floats(-2, 2),
    )  # fmt: skip
    thinking = st.builds(ReasoningWish, effort=st.sampled_from(["minimal", "low", "medium", "high"]), shown=st.none() | st.booleans())
    budget = st.builds(ReasoningWish, budget_tokens=st.integers(-1, 30_000), shown=st.none() | st.booleans())
    output = st.sampled_from([None, OutputFormat("text"), OutputFormat("json_object"), OutputFormat("json_schema", {"type": "object"})])
    extra = draw(st.sampled_from([{}, {"safetySettings": [{"category": "X"}]}, {"generationConfig.speechConfig": {"a_b": 1}},
                                  {"toolConfig.functionCallingConfig.streamFunctionCallArguments": True}, {"cachedContent": "c/1"}]))
    return Conversation(
        "", (), max_tokens=draw(st.none() | st.integers(1, 9999)), tools=tuple(tools), tool_choice=choice, output=draw(output),
        reasoning=draw(st.none() | thinking | budget), sampling=draw(sampling), family="gemini",
        modalities=draw(st.sampled_from([(), ("text",), ("text", "image")])), metadata=draw(st.dictionaries(names, names, max_size=2)),
        service_tier=draw(st.sampled_from(["", "flex", "priority", "default"])),
        extra=extra, stored="cachedContent" if "cachedContent" in extra else "",
    )  # fmt: skip


@st.composite
def answers(draw):
    """Answers that the language says whole and as a stream: no two texts without a seal in a row, which a stream cannot tell apart."""
    candidates = []
    for number in range(draw(st.integers(1, 2))):
        parts = []
        for part in draw(st.lists(st.builds(Text, words, seal=st.none() | any_seals) | thoughts(any_seals) | blobs | foreign, max_size=4)):
            if parts and type(part) is type(parts[-1]) and isinstance(part, Text | Reasoning) and parts[-1].seal is None:
                continue
            parts.append(part)
        calls = draw(st.integers(0, 2))
        parts += [ToolCall(f"c{number}_{n}", draw(names), arguments(draw(objects)), seal=draw(st.none() | any_seals)) for n in range(calls)]
        finish = "tool_use" if calls else draw(st.sampled_from(["stop", "length", "content_filter", "other", "malformed_tool_call"]))
        candidates.append(Candidate(tuple(parts), finish, "", draw(logprobs)))
    usage = draw(st.none() | usages())
    return Completion(draw(names), "gemini-x", tuple(candidates), usage, draw(st.sampled_from([0, 1_700_000_000])))


logprobs = st.lists(st.builds(TokenLogprob, words, st.floats(-10, 0), top=st.just((TokenLogprob("a", -1.5),))), max_size=2).map(tuple)


@st.composite
def usages(draw):
    prompt, output = draw(st.integers(0, 1000)), draw(st.integers(0, 1000))
    small = st.integers(0, min(prompt, output))
    return Usage(prompt, output, draw(small), 0, draw(small), draw(small), draw(small))


CITATION = Citation("A title", "https://x.test/a", "", 2, 5, {"groundingChunk": {"web": {"uri": "https://x.test/a", "title": "A title"}}})
