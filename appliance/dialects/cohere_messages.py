"""A conversation's messages in the words of Cohere's v2 chat, and the documents that stand beside them.

Cohere knows text and images in a user's message, documents as texts beside the conversation, thoughts as plain text, and words before a
tool call as `tool_plan` (docs.cohere.com/reference/chat). The rule: what is left out although it said something is in `dropped`; what
cannot be left out is refused (fields.Unfit).
"""

import base64
from typing import Any

import attrs

from appliance.core.message import Foreign, Media, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.tool_forms import arguments_of, error_in_words, flat_name
from appliance.core.tool_ids import short_id
from appliance.dialects.fields import Unfit
from appliance.dialects.upstream_json import arguments_fragment

FAMILY = "cohere"

Block = dict[str, Any]

NO_OUTPUT = "(no output)"
"""For a tool's empty result: "message must not be empty in a turn" (docs.cohere.com/v2/reference/errors)."""

_INSTRUCTIONS = ("system", "developer")


@attrs.define
class Messages:
    """The messages as they are being written. documents: for the request's own field of that name."""

    short_ids: bool = False
    written: list[Block] = attrs.field(factory=list)
    documents: list[Block] = attrs.field(factory=list)
    dropped: list[str] = attrs.field(factory=list)
    _system: list[Block] = attrs.field(factory=list)

    def write(self, messages: tuple[Message, ...]) -> None:
        """Raises Unfit."""
        speaks = any(message.role not in _INSTRUCTIONS for message in messages)
        for place, message in enumerate(messages):
            path = f"messages[{place}]"
            if message.name:
                self.dropped.append(f"{path}.name")
            if message.role not in _INSTRUCTIONS:
                self._message(message, path)
            elif not speaks and place == len(messages) - 1:
                self.dropped.append(f"{path}.role")  # instructions alone are no conversation here: the last of them is the question
                self._user(message, path)
            else:
                self._instruct(message, path)
        if not self.written:
            raise Unfit("messages", "must hold something that a user or a tool says")
        if self._system:  # "system turn must be the first in the list" (docs.cohere.com/v2/reference/errors)
            self.written.insert(0, {"role": "system", "content": _content(self._system)})

    def _message(self, message: Message, path: str) -> None:
        if message.role == "assistant":
            self._assistant(message, path)
        elif message.role == "tool":
            for number, part in enumerate(message.parts):
                if isinstance(part, ToolResult):
                    self._result(part, f"{path}.parts[{number}]")
        else:
            self._user(message, path)

    def _instruct(self, message: Message, path: str) -> None:
        if self.written:
            self.dropped.append(f"{path}.role")
        for number, part in enumerate(message.parts):
            where = f"{path}.parts[{number}]"
            if isinstance(part, Text):
                self._text(part, where, self._system)
            elif isinstance(part, Media):
                raise Unfit(where, "is no text: instructions to this backend hold text only")
            else:
                self._leave_out(part, where)

    def _user(self, message: Message, path: str) -> None:
        content: list[Block] = []
        for number, part in enumerate(message.parts):
            where = f"{path}.parts[{number}]"
            if isinstance(part, Text):
                self._text(part, where, content)
            elif isinstance(part, Media):
                self._media(part, where, content)
            elif isinstance(part, ToolResult):
                self._result(part, where)
            else:
                self._leave_out(part, where)
        if content:
            self.written.append({"role": "user", "content": _content(content)})

    def _media(self, media: Media, path: str, content: list[Block]) -> None:
        if media.cache:
            self.dropped.append(f"{path}.cache")
        if media.kind == "image":
            content.append(_image(media, path))
        elif media.kind == "document":
            if media.context:
                self.dropped.append(f"{path}.context")
            self.documents.append({"data": _document(media, path)})
        else:
            raise Unfit(path, f"is {media.kind}, which this backend does not take")

    def _assistant(self, message: Message, path: str) -> None:
        """Words beside tool calls are the plan that led to them."""
        content: list[Block] = []
        words: list[Block] = []
        calls: list[Block] = []
        for number, part in enumerate(message.parts):
            where = f"{path}.parts[{number}]"
            if isinstance(part, Text):
                self._text(part, where, words)
            elif isinstance(part, Refusal):
                words += [{"type": "text", "text": part.text}] if part.text else []
            elif isinstance(part, Reasoning):
                if part.seal is not None:
                    self.dropped.append(f"{where}: sealed reasoning of {part.seal.maker}")
                elif part.text:
                    content.append({"type": "thinking", "thinking": part.text})
            elif isinstance(part, ToolCall):
                calls.append(self._call(part, where))
            else:
                self._leave_out(part, where)
        written: Block = {"role": "assistant"}
        if calls:
            written["tool_calls"] = calls
            if words:
                written["tool_plan"] = "".join(one["text"] for one in words)
        else:
            content += words
        if content:
            written["content"] = _content(content)
        if len(written) > 1:
            self.written.append(written)

    def _call(self, call: ToolCall, path: str) -> Block:
        arguments = arguments_of(call.arguments) if call.custom else call.arguments if call.arguments.strip() else "{}"
        if arguments_fragment(arguments) is None:
            raise Unfit(f"{path}.arguments", "must be a JSON object: this backend takes no other arguments")
        if call.seal is not None:
            self.dropped.append(f"{path}.seal")
        if call.cache:
            self.dropped.append(f"{path}.cache")
        name = flat_name(call.name, call.namespace)
        return {"id": self._id(call.id), "type": "function", "function": {"name": name, "arguments": arguments}}

    def _result(self, result: ToolResult, path: str) -> None:
        """One text goes as it is; several, and documents, as blocks."""
        result = error_in_words(result)
        content: list[Block] = []
        for number, part in enumerate(result.parts):
            where = f"{path}.parts[{number}]"
            if isinstance(part, Text):
                self._text(part, where, content)
            elif part.kind == "document":
                content.append({"type": "document", "document": {"data": _document(part, where)}})
            else:
                raise Unfit(where, f"is {part.kind}, which a tool's result cannot hold for this backend")
        if result.cache:
            self.dropped.append(f"{path}.cache")
        self.written.append({"role": "tool", "tool_call_id": self._id(result.call_id), "content": _content(content) or NO_OUTPUT})

    def _text(self, part: Text, path: str, content: list[Block]) -> None:
        if part.text:
            content.append({"type": "text", "text": part.text})
        if part.citations:
            self.dropped.append(f"{path}.citations")
        if part.cache:
            self.dropped.append(f"{path}.cache")
        if part.seal is not None:
            self.dropped.append(f"{path}.seal")

    def _leave_out(self, part: Part, path: str) -> None:
        kind = part.kind if isinstance(part, Foreign | Media) else type(part).__name__.lower()
        self.dropped.append(f"{path}: {kind}")

    def _id(self, given: str) -> str:
        return short_id(given) if self.short_ids else given


def _content(blocks: list[Block]) -> str | list[Block]:
    """One text as a string, which every version of the API takes; anything else as blocks."""
    if not blocks:
        return ""
    return str(blocks[0]["text"]) if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks


def _image(media: Media, path: str) -> Block:
    if media.file_id or not (media.url or media.data):
        raise Unfit(path, "is a file kept elsewhere, which this backend cannot read: send the bytes themselves (base64)")
    image = {"url": media.url or f"data:{media.media_type or 'image/png'};base64,{media.data}"}
    if media.detail:
        image["detail"] = media.detail
    return {"type": "image_url", "image_url": image}


def _document(media: Media, path: str) -> dict[str, str]:
    """A document's text and title. Raises Unfit for what is no text."""
    text: str | None = media.data if media.plain else None
    media_type = media.media_type.partition(";")[0].strip().lower()
    if text is None and media.data and (media_type.startswith("text/") or media_type in ("application/json", "application/xml")):
        try:
            text = base64.b64decode(media.data).decode()
        except ValueError:
            text = None
    if text is None:
        raise Unfit(path, "is a document that is no text: this backend takes documents as text only")
    return {"title": media.name, "text": text} if media.name else {"text": text}
