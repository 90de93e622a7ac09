"""Between any two languages that callers speak, in either direction and back: what a conversation or an answer says is still said, or its
loss is reported.

A request in A's language goes A → canonical → B → canonical → A. Each of the two legs is held against its own report: whatever `dropped`
does not name must be equal. What is compared is the gist: words without the spacing where they were joined, calls, results, pictures,
thoughts, tools, and every setting.
"""

import base64
import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import spoken_requests
from core.conversations import conversations
from hypothesis import assume, given, settings
from recorded_streams import SPOKEN

from appliance.core.conversation import Conversation, Tool
from appliance.core.effort import effort_for
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Media, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.dialects.codec import Target, Written

LANGUAGES = ("anthropic", "chat", "gemini", "responses")
PAIRS = list(itertools.permutations(LANGUAGES, 2))
TARGETS = {
    "anthropic": Target("claude-sonnet-4-6"), "chat": Target("gpt-5.2"), "gemini": Target("gemini-3-pro-preview"),
    "responses": Target("gpt-5.2"), "bedrock": Target("us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    "cohere": Target("command-a-03-2025"),
}  # fmt: skip

SAID_OTHERWISE = ("(The conversation begins.)", "The result follows in the next message.")
"""What writers say in words where a language has no place for it: see chat_message_writer and anthropic_turns."""

_ADDED = re.compile(r"Returned by the tool call \S+:|(?:a[.-]|document[.-]?)(?:pdf|txt)?(?: \(\d+\))?")
"""Names of the documents here: chats put them before a document's words, and Bedrock says them where a turn has documents and no words."""

MEANT_OTHERWISE = {"gemini": ("strict",), "cohere": ("service_tier",)}
"""Gemini's modes hold all calls to their schemas, or none: what it says of strictness is no tool's own. Cohere has one tier, which is what
`default` asks for."""


def through(language: str, conversation: Conversation) -> tuple[Conversation, tuple[str, ...]] | Fault:
    """Written as a request in this language, and read by a gateway whose caller it is."""
    codec: Any = SPOKEN[language]
    written = codec.write_request(conversation, TARGETS[language])
    if isinstance(written, Fault):
        return written
    assert isinstance(written, Written)
    fields = json.loads(written.body)
    reader = getattr(spoken_requests, language, None) or codec.read_request
    read = reader(fields)
    assert isinstance(read, Conversation), read
    return attrs.evolve(read, stream=conversation.stream, model=conversation.model), written.dropped


@attrs.frozen
class Gist:
    instructions: str
    said: list[Any]
    thoughts: list[str]
    told_thoughts: list[str]
    media: list[Any]
    results: list[Any]
    tools: list[Any]
    settings: dict[str, Any]
    marks: list[Any]


def plainly(text: str) -> str:
    text = _ADDED.sub("", text)
    for phrase in SAID_OTHERWISE:
        text = text.replace(phrase, "")
    return "".join(text.split())


def gist(conversation: Conversation, dropped: Sequence[str], apart: bool) -> Gist:
    """Of what was not reported as dropped. apart: documents of text stand beside the conversation (Cohere), else their words are words."""
    lost = [re.split(r": ", path)[0] for path in dropped]
    instructions = ""
    thoughts: list[str] = []
    told: list[str] = []
    media: list[Any] = []
    results: list[Any] = []
    said: list[Any] = []

    def say(who: str, text: str) -> None:
        text = plainly(text)
        if said and said[-1][0] == who:
            said[-1] = (who, said[-1][1] + text)
        elif text:
            said.append((who, text))

    for place, message in enumerate(conversation.messages):
        role = message.role
        if any(path.startswith(f"messages[{place}].role: ") for path in dropped):
            role = "user"  # Gemini's; elsewhere instructions only move to the front
        for at, part in enumerate(message.parts):
            path = f"messages[{place}].parts[{at}]"
            if isinstance(part, Reasoning):
                told.append(plainly(part.text))
                if path not in lost and (part.seal is not None or f"messages[{place}]" not in lost):
                    thoughts.append(plainly(part.text))
                continue
            if path in lost and not isinstance(part, Text | ToolCall):
                continue
            if isinstance(part, Text | Refusal):
                if role in ("system", "developer"):
                    instructions += plainly(part.text)
                else:
                    say("assistant" if role == "assistant" else "user", part.text)
            elif isinstance(part, Media) and part.media_type == "text/plain":
                words = part.data if part.plain else base64.b64decode(part.data).decode()
                if apart:
                    media.append((words, ""))
                else:
                    say("user", words)
            elif isinstance(part, Media):
                media.append((part.data or part.url, "" if f"{path}.detail" in lost else part.detail))
            elif isinstance(part, ToolCall):
                said.append(("call", part.id, part.name, json.loads(part.arguments or "{}")))
            elif isinstance(part, ToolResult):
                media += [
                    (one.data or one.url, "" if f"{path}.parts[{n}].detail" in lost else one.detail)
                    for n, one in enumerate(part.parts) if isinstance(one, Media)
                ]  # fmt: skip
                told_words = plainly("".join(one.text for one in part.parts if isinstance(one, Text)))
                error = None if f"{path}.is_error" in lost else part.is_error or told_words.startswith("Error:")
                results.append((part.call_id, told_words.removeprefix("Error:"), error))
    strict = {tool.name: strict_of(place, tool, lost) for place, tool in enumerate(conversation.tools)}
    tools = [(tool.name, tool.description, schema_of(tool), strict[tool.name]) for tool in allowed(conversation)]
    return Gist(instructions, said, thoughts, told, sorted(media), sorted(results, key=str), tools, settings_of(conversation, lost),
                marks_of(conversation, lost))  # fmt: skip


def marks_of(conversation: Conversation, lost: Sequence[str]) -> list[Any]:
    """What stands on messages and parts beside what they say: names, cache marks, seals."""
    found: list[Any] = []
    for place, message in enumerate(conversation.messages):
        path = f"messages[{place}]"
        if message.name and f"{path}.name" not in lost:
            found.append(("name", message.name))
        for at, part in enumerate(message.parts):
            where = f"{path}.parts[{at}]"
            gone = {where, f"{where}.cache", "messages[].parts[].cache"} & {*lost}
            if getattr(part, "cache", "") and not gone:
                found.append(("cache", getattr(part, "cache", "")))
            seal = getattr(part, "seal", None)
            if seal is not None and not {where, f"{where}.seal"} & {*lost}:
                found.append(("seal", seal.maker, seal.value))
    kept = allowed(conversation) if choice_of(conversation) != "none" else []
    tools = [one.cache for place, one in enumerate(conversation.tools) if one.cache and one in kept and f"tools[{place}].cache" not in lost]
    return found + [("cache of a tool", ttl) for ttl in tools]


def schema_of(tool: Tool) -> str:
    """A strict tool's objects are closed, whether that is said or not."""
    return json.dumps({name: value for name, value in (tool.parameters or {}).items() if name != "additionalProperties"}, sort_keys=True)


def strict_of(place: int, tool: Tool, lost: Sequence[str]) -> bool | None:
    """None where it was reported, or is not a matter of single tools (Gemini)."""
    return None if "strict" in lost or f"tools[{place}].strict" in lost else bool(tool.strict)


FILLED = {"max_tokens": "Anthropic demands a bound: the model's own where the caller gave none"}
"""Settings that a language cannot leave unsaid."""


def settings_of(conversation: Conversation, lost: Sequence[str]) -> dict[str, Any]:
    c = conversation
    out: dict[str, Any] = {
        "max_tokens": c.max_tokens, "parallel_tools": c.parallel_tools is False, "user": c.user, "metadata": dict(c.metadata),
        "cache_key": c.cache_key, "verbosity": c.verbosity, "service_tier": c.service_tier.replace("auto", ""), "store": bool(c.store),
        "tool_choice": choice_of(c),
        "output": (c.output.kind, c.output.schema) if c.output and c.output.kind != "text" else None,
        "reasoning": wish_of(c),
        **{f"sampling.{name}": value for name, value in attrs.asdict(c.sampling).items()},
    }
    if out["sampling.temperature"] == 1.0:
        out["sampling.temperature"] = None  # what holds where nothing is said
    lost = [*lost, *(name for name in FILLED if out[name] is None), *(["parallel_tools"] if out["tool_choice"] == "none" else [])]
    return {name: value for name, value in out.items() if not any(name == one or one.startswith(name + ".") for one in lost)}


def wish_of(c: Conversation) -> Any:
    """In words, of which models have not all: `minimal` is the nearest that most have not."""
    wish = c.reasoning
    if wish is None:
        return None
    word = wish.effort or (effort_for(wish.budget_tokens) if wish.budget_tokens is not None else wish.enabled)
    return "low" if word == "minimal" else word


def choice_of(c: Conversation) -> Any:
    """A call that must be of the one tool that is allowed is a call of a named tool; no tools at all are none to choose."""
    choice = c.tool_choice
    if not c.tools or (choice is not None and choice.mode == "none"):
        return "none"
    if choice is None or choice.mode == "auto":
        return None
    if choice.mode == "required" and len(allowed(c)) == 1:
        return ("named", allowed(c)[0].name)
    return (choice.mode, choice.name)


def allowed(c: Conversation) -> list[Tool]:
    """Some languages say which tools are allowed, others leave the rest away."""
    choice = c.tool_choice
    named = () if choice is None else (choice.name,) if choice.name else choice.allowed
    return [tool for tool in c.tools if not named or tool.name in named]


def differences(before: Conversation, after: Conversation, dropped: Sequence[str], apart: bool = False) -> list[str]:
    """What is not as it was and not in the report."""
    here = [path for path in dropped if not path.startswith("messages[")]
    a, b = gist(before, dropped, apart), gist(after, here, apart)
    out = [f"{name}: {a.settings[name]!r} -> {b.settings[name]!r}" for name in a.settings if a.settings[name] != b.settings.get(name)]
    for name in ("said", "media", *(["tools"] if choice_of(before) != "none" else [])):
        if getattr(a, name) != getattr(b, name):
            out.append(f"{name}: {getattr(a, name)!r} -> {getattr(b, name)!r}")
    if [one[:2] if one[2] is None else one for one in a.results] != [
        other[:2] if one[2] is None else other for one, other in itertools.zip_longest(a.results, b.results, fillvalue=("", "", ""))
    ]:
        out.append(f"results: {a.results} -> {b.results}")
    if Counter(a.marks) - Counter(b.marks):
        out.append(f"marks: {a.marks} -> {b.marks}")
    in_words = any(path.startswith("output: ") for path in dropped)
    if a.instructions != b.instructions and not (in_words and b.instructions.startswith(a.instructions)):
        out.append(f"instructions: {a.instructions!r} -> {b.instructions!r}")
    if not (within(a.thoughts, b.told_thoughts) and within(b.thoughts, a.told_thoughts)):
        out.append(f"thoughts: {a.thoughts} of {a.told_thoughts} -> {b.thoughts}")
    return out


def within(few: Sequence[str], many: Sequence[str]) -> bool:
    """Thoughts in a row may have become one, and Responses keep summaries apart from the rest."""
    text = "".join(many)
    return all(one in text for one in few)


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
@given(asked=conversations())
@settings(max_examples=40)
def test_a_conversation_goes_there_and_back_with_all_that_is_not_reported(one: str, other: str, asked: Conversation) -> None:
    start = through(one, asked)
    assume(not isinstance(start, Fault))
    assert not isinstance(start, Fault)
    before = start[0]
    for language in (other, one):
        leg = through(language, before)
        if isinstance(leg, Fault):
            assert leg.kind is FaultKind.BAD_REQUEST
            assert leg.param
            return
        after, dropped = leg
        assert differences(before, after, (*dropped, *MEANT_OTHERWISE.get(language, ()))) == []
        before = after


@pytest.mark.parametrize("language", LANGUAGES)
@given(asked=conversations())
@settings(max_examples=40)
def test_hardly_any_conversation_is_refused(language: str, asked: Conversation) -> None:
    """None of those here, in fact: each language has a way to say them."""
    assert not isinstance(through(language, asked), Fault)


SPOKEN_ONLY = tuple(itertools.product(LANGUAGES, ("bedrock", "cohere")))


@pytest.mark.parametrize(("one", "other"), SPOKEN_ONLY, ids=["-".join(pair) for pair in SPOKEN_ONLY])
@given(asked=conversations())
@settings(max_examples=40)
def test_a_conversation_reaches_languages_that_are_only_spoken(one: str, other: str, asked: Conversation) -> None:
    start = through(one, asked)
    assert not isinstance(start, Fault)
    leg = through(other, start[0])
    if isinstance(leg, Fault):
        assert leg.kind is FaultKind.BAD_REQUEST
        assert leg.param
        return
    after, dropped = leg
    asked = start[0]
    if other == "bedrock" and asked.output is not None and asked.output.kind != "text":
        dropped = (*dropped, "tool_choice")  # the answer may have to come through a tool, which then is one of those to be called
    if other == "bedrock" and asked.max_tokens is not None:
        dropped = (*dropped, "reasoning")  # a budget in place of a word keeps within the caller's own bound
    assert differences(asked, after, (*dropped, *MEANT_OTHERWISE.get(other, ())), other == "cohere") == []
