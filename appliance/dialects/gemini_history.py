"""Canonical messages as Gemini's `systemInstruction` and `contents`.

The rule: user and model take turns, so messages in a row by one of them are one content; the results of a turn's calls stand first in the
content after it, in the order of the calls, which is how models older than 3 tell results of one name apart.
"""

from collections.abc import Iterable
from typing import Any

import attrs
import orjson

from appliance.core.conversation import Conversation
from appliance.core.message import Foreign, Media, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.core.tool_forms import arguments_of, flat_name
from appliance.dialects.fields import Unfit
from appliance.dialects.gemini_contents import SAID_IN
from appliance.dialects.gemini_json import fragment, parse_object
from appliance.dialects.gemini_model import has_call_ids, has_result_media, wants_signatures
from appliance.dialects.gemini_parts import write_media, write_text
from appliance.dialects.gemini_seal import OWN, SKIP

_JOINT = "\n"
"""Between several texts of one result, which has room for one."""


@attrs.define
class _Content:
    """One turn being written. spoken: it has something beside results, so that the model's turns after it are the current ones."""

    role: str
    parts: list[dict[str, Any]] = attrs.field(factory=list)
    results: list[tuple[int, dict[str, Any]]] = attrs.field(factory=list)
    spoken: bool = False

    def whole(self) -> dict[str, Any]:
        results = [part for _, part in sorted(self.results, key=lambda one: one[0])]
        return {"role": self.role, "parts": results + self.parts}


@attrs.define
class History:
    """Attributes:
    system: parts of the system instruction.
    dropped: paths of what could not be said.
    """

    model: str
    ids: bool
    system: list[dict[str, Any]] = attrs.field(factory=list)
    dropped: list[str] = attrs.field(factory=list)
    _contents: list[_Content] = attrs.field(factory=list)
    _calls: dict[str, tuple[int, str]] = attrs.field(factory=dict)

    def contents(self) -> list[dict[str, Any]]:
        self._sign()
        return [content.whole() for content in self._contents if content.parts or content.results]

    def add(self, message: Message, path: str) -> None:
        if message.name:
            self.dropped.append(f"{path}.name")
        if message.role in ("system", "developer"):
            self._add_system(message, path)
            return
        role = "model" if message.role == "assistant" else "user"
        for place, part in enumerate(message.parts):
            self._add_part(role, part, f"{path}.parts[{place}]")

    def _add_system(self, message: Message, path: str) -> None:
        """Before all turns it is the system instruction; later ones keep their place and become the user's, for want of another."""
        if not self._contents:
            for place, part in enumerate(message.parts):
                self.system += self._write(part, f"{path}.parts[{place}]")
            return
        self.dropped.append(f"{path}.role: {message.role}")
        for place, part in enumerate(message.parts):
            self._add_part("user", part, f"{path}.parts[{place}]")

    def _add_part(self, role: str, part: Part, path: str) -> None:
        content = self._content("user" if isinstance(part, ToolResult) else role)
        if isinstance(part, ToolResult):
            content.results.append(self._result(part, content, path))
            return
        written = self._write(part, path)
        if self._signs_media(part, content):
            content.parts[-1]["thoughtSignature"] = written[0]["thoughtSignature"]
            return
        content.parts += written
        content.spoken = content.spoken or bool(written)

    def _content(self, role: str) -> _Content:
        """The turn that goes on; empty ones, which the API refuses, are never left behind."""
        last = self._contents[-1] if self._contents else None
        if last is not None and last.role == role:
            return last
        if last is not None and not last.parts and not last.results:
            self._contents.pop()
            return self._content(role)
        self._contents.append(_Content(role))
        return self._contents[-1]

    @staticmethod
    def _signs_media(part: Part, content: _Content) -> bool:
        """A text without words after a picture carries the picture's signature, which media have no place for."""
        return isinstance(part, Text) and not part.text and part.seal is not None and part.seal.maker == OWN and bool(content.parts) and (
            "inlineData" in content.parts[-1] and "thoughtSignature" not in content.parts[-1]
        )  # fmt: skip

    def _write(self, part: Part, path: str) -> list[dict[str, Any]]:
        """None or one of the language's parts."""
        self._note(part, path)
        if isinstance(part, Text | Reasoning):
            signature = self._signature(part.seal, path)
            return [write_text(part, signature)] if part.text or signature else []
        if isinstance(part, Refusal):
            return [{"text": part.text}] if part.text else []
        if isinstance(part, Media):
            return [write_media(self._reachable(part, path))]
        if isinstance(part, ToolCall):
            return [self._call(part, path)]
        if isinstance(part, Foreign) and part.family == OWN:
            return [dict(part.raw)]
        self.dropped.append(f"{path}: {part.kind}" if isinstance(part, Foreign) else path)
        return []

    def _note(self, part: Part, path: str) -> None:
        """What a part says beside its content and this language does not."""
        for name in ("cache", "citations", "cites", "context"):
            if getattr(part, name, None):
                self.dropped.append(f"{path}.{name}")
        if isinstance(part, Media):
            if part.detail not in ("", "auto"):
                self.dropped.append(f"{path}.detail")
            if part.name:
                self.dropped.append(f"{path}.name")

    def _signature(self, seal: Seal | None, path: str) -> str:
        if seal is None:
            return ""
        if seal.maker != OWN:
            self.dropped.append(f"{path}: sealed reasoning of {seal.maker}")
            return ""
        return seal.value

    @staticmethod
    def _reachable(media: Media, path: str) -> Media:
        if media.file_id and not media.file_id.startswith(("https://", "files/", "gs://")):
            raise Unfit(path, "is a file kept by another provider, which this backend cannot read: send its data or its URL")
        if media.url and not media.url.startswith(("https://", "http://", "gs://")):
            raise Unfit(path, "has a URL that this backend cannot fetch: send the data, or an https URL")
        return media

    def _call(self, call: ToolCall, path: str) -> dict[str, Any]:
        name = flat_name(call.name, call.namespace)
        self._calls[call.id] = (len(self._calls), name)
        args = fragment(arguments_of(call.arguments) if call.custom else call.arguments)
        if args is None:
            raise Unfit(f"{path}.arguments", "must be a JSON object: this backend takes nothing else")
        said: dict[str, Any] = {"id": call.id} if self.ids and call.id else {}
        out: dict[str, Any] = {"functionCall": {**said, "name": name, "args": args}}
        signature = self._signature(call.seal, path)
        return {**out, "thoughtSignature": signature} if signature else out

    def _result(self, result: ToolResult, content: _Content, path: str) -> tuple[int, dict[str, Any]]:
        """The part, and its place among the results of its turn."""
        if result.cache:
            self.dropped.append(f"{path}.cache")
        place, name = self._calls.get(result.call_id, (len(self._calls), result.name))
        if not name:
            raise Unfit(f"{path}.call_id", "must be the id of a call earlier in the conversation: this backend matches results by name")
        media: list[dict[str, Any]] = []
        for number, part in enumerate(result.parts):
            where = f"{path}.parts[{number}]"
            if isinstance(part, Media):
                self._note(attrs.evolve(part, name=""), where)  # which has its place here
                media.append(write_media(self._reachable(part, where), named=True))
        said: dict[str, Any] = {"id": result.call_id} if self.ids and result.call_id else {}
        out = {**said, "name": name, "response": _response(_words(result.parts), result.is_error)}
        if media and has_result_media(self.model):
            out["parts"] = media
        else:
            content.parts += media  # beside the result, the only way that models before 3 take a picture
        return place, {"functionResponse": out}

    def _sign(self) -> None:
        """Gemini 3 refuses the current turn's calls that it did not make, unless their first says that nobody shall look."""
        if not wants_signatures(self.model):
            return
        for content in reversed(self._contents):
            if content.spoken and content.role == "user" and not content.results:
                return
            first = next((part for part in content.parts if "functionCall" in part), None)
            if first is not None and "thoughtSignature" not in first:
                first["thoughtSignature"] = SKIP


def _words(parts: Iterable[Part]) -> str:
    return _JOINT.join(part.text for part in parts if isinstance(part, Text))


def _response(words: str, is_error: bool) -> dict[str, Any] | orjson.Fragment:
    """An object as it stands; anything else in the member that Google reads results from (ai.google.dev/api/caching#FunctionResponse), and
    so an object that Google would take for one with references to its pictures ("The referenced name ... in function_response.response does
    not match to a display_name": twentyhq/twenty#19412), such as a schema."""
    if is_error:
        return {"error": words}
    found = parse_object(words) if words.lstrip()[:1] == "{" and "$ref" not in words else None
    if found and not any(found.keys() == {member} for member, _ in SAID_IN):
        return orjson.Fragment(words)
    return {"output": words}


def write_history(conversation: Conversation, model: str, ids: bool | None) -> History:
    """ids: False where this backend refuses ids of calls; None leaves it to the model's version. Raises Unfit."""
    history = History(model, has_call_ids(model) if ids is None else ids)
    for place, one in enumerate(conversation.messages):
        history.add(one, f"messages[{place}]")
    return history
