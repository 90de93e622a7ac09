"""Turns of a conversation, written as chat messages for a backend.

The rule: words go out as plain strings wherever the role has only words, since several servers refuse lists of parts there (DeepSeek, Groq
and Cerebras for tools and system); what a role has no place for is moved where its meaning stays, reported, or refused.
"""

from typing import Any

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Foreign, Media, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, text_of
from appliance.core.tool_forms import arguments_of, error_in_words, flat_name
from appliance.core.tool_ids import made_id, short_id
from appliance.dialects.chat_content import plain_words, write_part, written_mark
from appliance.dialects.chat_order import Placed, one_system_first, one_turn_each, results_behind_calls
from appliance.dialects.chat_seal import MADE, READABLE, details_for_backend, write_extra
from appliance.dialects.codec import Target

NAME = "openai_chat"

ID_MAX_CHARS = 40
"""OpenAI refuses longer ids in chat completions ("string too long. Expected a string with maximum length 40")."""

BRIDGE = "Done."
"""An assistant's turn between results and what the user says next, for servers that want one (Mistral: "Unexpected role 'user' after role
'tool'")."""

_JOINTS = {"system": "\n\n", "developer": "\n\n", "user": "\n\n", "tool": "\n", "assistant": ""}
"""Between texts that become one string. An assistant's are pieces of one text, split by their citations."""


@attrs.define
class MessageWriter:
    """Writes one conversation's messages.

    Attributes:
        dropped: what was left out, in the words of codec.Written; fault: the first thing that must not be left out.
        unmarked: a cache mark was left out. beside: fields that the request must have beside the messages.
    """

    target: Target
    dropped: list[str] = attrs.field(factory=list)
    fault: Fault | None = None
    unmarked: bool = False
    beside: dict[str, Any] = attrs.field(factory=dict)

    def write(self, messages: tuple[Message, ...]) -> list[dict[str, Any]]:
        """All of them. Pictures and files that tools gave back follow the whole run of results, which nothing may interrupt."""
        out: list[dict[str, Any]] = []
        shown: list[dict[str, Any]] = []
        for place, message in self._ordered(messages):
            path = f"messages[{place}]"
            if message.role == "tool":
                out += self._results(message, path, shown)
                continue
            said = self._assistant(message, path) if message.role == "assistant" else self._asked(message, path)
            if shown and message.role == "user" and not message.name:
                said["content"] = [*shown, *_parts_of(said["content"])]
            elif shown:
                out.append({"role": "user", "content": shown})
            shown = []
            self._bridge(out, said["role"])
            out.append(said)
        if shown:
            self._bridge(out, "user")
            out.append({"role": "user", "content": shown})
        if messages and messages[-1].role == "assistant":
            self._prefill(out[-1], f"messages[{len(messages) - 1}]")
        if self.unmarked:
            self.dropped.append("messages[].parts[].cache")
        return out

    def _ordered(self, messages: tuple[Message, ...]) -> list[Placed]:
        placed = results_behind_calls(enumerate(messages))
        return one_turn_each(one_system_first(placed, self.dropped)) if "late_system" in self.target.drop else placed

    def _bridge(self, out: list[dict[str, Any]], role: str) -> None:
        if role == "user" and out and out[-1]["role"] == "tool" and "user_after_tool" in self.target.drop:
            out.append({"role": "assistant", "content": BRIDGE})

    def _prefill(self, last: dict[str, Any], path: str) -> None:
        """The caller began the answer. Most servers take that for a finished turn unless they are told."""
        if last["role"] != "assistant" or "tool_calls" in last or not last["content"]:
            return
        told = self.target.rename.get("prefill")
        if told == "prefix":
            last["prefix"] = True
        elif told == "continue_final_message":
            self.beside = {"continue_final_message": True, "add_generation_prompt": False}
        elif "prefill" in self.target.drop:
            self.dropped.append(f"{path}: prefill")

    def _asked(self, message: Message, path: str) -> dict[str, Any]:
        """A system's, developer's or user's message; tool results that stand in one (no reader makes such) are refused."""
        role = self.target.rename.get(message.role, message.role) if message.role == "developer" else message.role
        parts: list[Text | Media] = []
        for place, part in enumerate(message.parts):
            where = f"{path}.parts[{place}]"
            if isinstance(part, Text) or (isinstance(part, Media) and message.role == "user"):
                parts.append(part)
            elif isinstance(part, Media | ToolCall | ToolResult):
                self._refuse(where, f"is something that a message of role {message.role} cannot hold in chat completions")
            else:
                self._drop(part, where)
        return {"role": role, "content": self._content(parts, message.role, path), **self._named(message, path)}

    def _named(self, message: Message, path: str) -> dict[str, str]:
        if not message.name:
            return {}
        if "name" in self.target.drop:
            self.dropped.append(f"{path}.name")
            return {}
        return {"name": message.name}

    def _content(self, parts: list[Text | Media], role: str, path: str) -> str | list[dict[str, Any]]:
        marks = "cache" in self.target.rename and any(part.cache for part in parts)
        self.unmarked = self.unmarked or (not marks and any(part.cache for part in parts))
        plain = all(isinstance(part, Text) for part in parts)
        if plain and not marks and (len(parts) < 2 or role != "user"):
            return text_of(tuple(parts), _JOINTS[role])
        written: list[dict[str, Any]] = []
        for place, part in enumerate(parts):
            said = self._part(part, f"{path}.parts[{place}]")
            written.append({**said, "cache_control": written_mark(part.cache)} if marks and part.cache else said)
        return written

    def _part(self, part: Text | Media, path: str) -> dict[str, Any]:
        said = write_part(part, path, self.target.rename.get("file_url") == "file_data")
        if isinstance(said, Fault):
            self.fault = self.fault or said
            return {}
        if isinstance(part, Media):
            for name, lost in (("cites", part.cites), ("context", part.context and not part.plain)):
                if lost:
                    self.dropped.append(f"{path}.{name}")
        elif part.seal is not None:
            self._unsealed(part.seal.maker, path)
        return said

    def _assistant(self, message: Message, path: str) -> dict[str, Any]:
        said: dict[str, Any] = {"role": "assistant"}
        words: list[Text | Media] = []
        calls: list[dict[str, Any]] = []
        thoughts: list[Reasoning] = []
        refusals: list[str] = []
        for place, part in enumerate(message.parts):
            where = f"{path}.parts[{place}]"
            if isinstance(part, Text):
                words.append(part)
            elif isinstance(part, ToolCall):
                calls.append(self._call(part, where))
            elif isinstance(part, Reasoning):
                thoughts.append(self._thought(part, where))
            elif isinstance(part, Refusal) and "refusal" not in self.target.drop:
                refusals.append(part.text)
            elif isinstance(part, Refusal):  # the words of it are still the assistant's
                words.append(Text(part.text))
            elif isinstance(part, Foreign) and part.family == NAME and part.kind == "audio":
                said["audio"] = dict(part.raw)
            else:
                self._drop(part, where)
        content = self._content([attrs.evolve(one, seal=None) if isinstance(one, Text) else one for one in words], "assistant", path)
        said["content"] = content if words or not (calls or refusals or "audio" in said) else None
        said |= self._sealed_words(words, path) | self._thoughts(thoughts, content) | self._named(message, path)
        if refusals:
            said["refusal"] = "".join(refusals)
        if calls:
            said["tool_calls"] = calls
        return said

    def _sealed_words(self, words: list[Text | Media], path: str) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        for part in words:
            if isinstance(part, Text) and part.seal is not None:
                if part.seal.maker == MADE and "extra_content" not in self.target.drop:
                    extra = {"extra_content": write_extra(part.seal)}
                else:
                    self._unsealed(part.seal.maker, path)
        return extra

    def _thought(self, part: Reasoning, path: str) -> Reasoning:
        """The part as far as a backend can be sent it."""
        if part.seal is not None and (part.seal.maker not in READABLE or "reasoning_details" in self.target.drop):
            self._unsealed(part.seal.maker, path)
            part = attrs.evolve(part, seal=None)
        if part.text and "reasoning_content" in self.target.drop and (part.seal is None or "reasoning_details" in self.target.drop):
            self.dropped.append(f"{path}: reasoning")
            part = attrs.evolve(part, text="")
        return part

    def _thoughts(self, thoughts: list[Reasoning], content: str | list[dict[str, Any]]) -> dict[str, Any]:
        """Details where there is a seal to bring back (they hold the words, too), else the words in the field of the vendor."""
        if any(part.seal is not None for part in thoughts):
            return {"reasoning_details": details_for_backend(thoughts)}
        words = "\n\n".join(part.text for part in thoughts if part.text)
        if not words:
            return {}
        name = self.target.rename.get("reasoning_content", "reasoning_content")
        if name != "thinking":
            return {name: words}
        told = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
        return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": words}]}, *told]}

    def _call(self, call: ToolCall, path: str) -> dict[str, Any]:
        name = flat_name(call.name, call.namespace)
        self.unmarked = self.unmarked or bool(call.cache)
        written: dict[str, Any] = {"id": self._id(call.id)}
        if call.custom and self.target.rename.get("custom") != "function":
            return {**written, "type": "custom", "custom": {"name": name, "input": call.arguments}}
        arguments = arguments_of(call.arguments) if call.custom else call.arguments or "{}"
        written |= {"type": "function", "function": {"name": name, "arguments": arguments}}
        if call.seal is not None and call.seal.maker == MADE and "extra_content" not in self.target.drop:
            written["extra_content"] = write_extra(call.seal)
        elif call.seal is not None:
            self._unsealed(call.seal.maker, path)
        return written

    def _id(self, given: str) -> str:
        if self.target.short_ids:
            return short_id(given)
        return given if 0 < len(given) <= ID_MAX_CHARS else made_id(given, 0)

    def _results(self, message: Message, path: str, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """One message for each result. What tool messages cannot hold is added to `shown`."""
        out: list[dict[str, Any]] = []
        for place, part in enumerate(message.parts):
            where = f"{path}.parts[{place}]"
            if not isinstance(part, ToolResult):
                self._drop(part, where)
                continue
            self.unmarked = self.unmarked or bool(part.cache)
            call_id, part = self._id(part.call_id), error_in_words(part)
            words = [one if isinstance(one, Text) else Text(plain_words(one)) for one in part.parts if isinstance(one, Text) or one.plain]
            media = [one for one in part.parts if isinstance(one, Media) and not one.plain]
            content = self._content(list(words), "tool", where)
            if media:
                shown.append({"type": "text", "text": f"Returned by the tool call {call_id}:"})
                shown += [self._part(one, f"{where}.parts") for one in media]
                content = content or "The result follows in the next message."
            out.append({"role": "tool", "tool_call_id": call_id, "content": content})
        return out

    def _drop(self, part: Part, path: str) -> None:
        kind = part.kind if isinstance(part, Media | Foreign) else type(part).__name__.lower()
        self.dropped.append(f"{path}: {kind}")

    def _unsealed(self, maker: str, path: str) -> None:
        self.dropped.append(f"{path}: sealed reasoning of {maker}")

    def _refuse(self, path: str, message: str) -> None:
        self.fault = self.fault or Fault(FaultKind.BAD_REQUEST, f"{path} {message}", param=path)


def _parts_of(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not isinstance(content, str):
        return content
    return [{"type": "text", "text": content}] if content else []
