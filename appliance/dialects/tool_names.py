"""Names of tools that the backend's language would refuse: longer than most take, or with characters that few do. There and back.

The rule: what a tool is called there depends on its name alone, so every turn calls it the same. Agents prefix the names of their tools
with the server that has them, and so exceed OpenAI's 64 characters ("string too long. Expected a string with maximum length 64").
"""

import hashlib
import re
from collections.abc import Mapping, Sequence

import attrs

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation
from appliance.core.delta import Delta, PartStarted
from appliance.core.message import Message, Part, ToolCall, ToolResult

NAME_MAX_CHARS = 64
"""Of a function's name at OpenAI, Gemini and most others; Anthropic takes 128."""

_DIGEST_CHARS = 10
_FITS = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def fitting(name: str) -> str:
    """The name itself where everybody takes it, else its beginning and a digest of it."""
    if not name or _FITS.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:_DIGEST_CHARS]
    return f"{_UNSAFE.sub('_', name)[: NAME_MAX_CHARS - _DIGEST_CHARS - 1]}_{digest}"


def all_fit(conversation: Conversation) -> bool:
    """Whether there is nothing to change, as in most requests."""
    return not changed_names(conversation) and all(
        _FITS.fullmatch(part.name) or part.namespace or not part.name
        for message in conversation.messages
        for part in message.parts
        if isinstance(part, ToolCall)
    )


def changed_names(conversation: Conversation) -> Mapping[str, str]:
    """The caller's names by what they become."""
    named = (tool.name for tool in conversation.tools if not tool.server and not tool.namespace)
    return {fitting(name): name for name in named if not _FITS.fullmatch(name)}


def with_fitting_names(conversation: Conversation) -> Conversation:
    """The request with names that everybody takes, in tools, choice and history."""
    choice = conversation.tool_choice
    if choice is not None:
        choice = attrs.evolve(choice, name=fitting(choice.name), allowed=tuple(fitting(name) for name in choice.allowed))
    tools = tuple(tool if tool.server or tool.namespace else attrs.evolve(tool, name=fitting(tool.name)) for tool in conversation.tools)
    return attrs.evolve(conversation, tools=tools, tool_choice=choice, messages=tuple(_message(one) for one in conversation.messages))


def restored_answer(answer: Completion, names: Mapping[str, str]) -> Completion:
    """A whole answer with the caller's names."""
    candidates = tuple(attrs.evolve(one, parts=tuple(_restored(part, names) for part in one.parts)) for one in answer.candidates)
    return attrs.evolve(answer, candidates=candidates)


def restored_deltas(deltas: Sequence[Delta], names: Mapping[str, str]) -> list[Delta]:
    """The same for pieces of a stream."""
    return [attrs.evolve(one, part=_restored(one.part, names)) if isinstance(one, PartStarted) else one for one in deltas]


def _restored(part: Part, names: Mapping[str, str]) -> Part:
    if isinstance(part, ToolCall) and not part.namespace and part.name in names:
        return attrs.evolve(part, name=names[part.name])
    return part


def _message(message: Message) -> Message:
    if not any(isinstance(part, ToolCall | ToolResult) for part in message.parts):
        return message
    return attrs.evolve(message, parts=tuple(_fitted(part) for part in message.parts))


def _fitted(part: Part) -> Part:
    if isinstance(part, ToolResult) or (isinstance(part, ToolCall) and not part.namespace):
        return attrs.evolve(part, name=fitting(part.name))
    return part
