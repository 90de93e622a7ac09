"""One candidate of a stream that is being written: which entries of `choices` say what happens to its parts.

The rule: an entry is returned for everything that a client sees at once; what is only whole at the end of its part is kept until then.
"""

from typing import Any

import attrs

from appliance.core.completion import TokenLogprob
from appliance.core.delta import Finished
from appliance.core.message import Citation, Media, Part, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.tool_forms import flat_name, restored
from appliance.core.tool_forms import text_of as free_text
from appliance.core.tool_ids import made_id
from appliance.dialects.chat_answer_writer import (
    REASONING_JOINT,
    annotation,
    dumped,
    finish_reason,
    written_audio,
    written_image,
    written_logprobs,
)
from appliance.dialects.chat_seal import write_detail, write_extra
from appliance.dialects.codec import Reply

THOUGHTS_MAX_CHARS = 8_388_608
"""Of the words that are kept for a sealed thought's detail: more than any model thinks. Beyond it the seal goes without them."""

Entry = dict[str, Any]

_HOLE = "\0hole"


@attrs.define
class OpenPart:
    """A part under way.

    Attributes:
        place: of a call among the calls; keeps: its words are kept, too; chars: of words so far; before: characters of the texts before it.
        converted: a call of a free-text tool that comes as JSON, to be written at its end.
    """

    part: Part
    place: int = -1
    keeps: bool = False
    converted: bool = False
    before: int = 0
    chars: int = 0
    seal: Seal | None = None
    held: list[str] = attrs.field(factory=list, repr=False)

    def took(self, text: str) -> None:
        self.chars += len(text)
        if self.keeps:
            self.held.append(text)
            if self.chars > THOUGHTS_MAX_CHARS:
                self.keeps, self.held = False, []


@attrs.define
class ChoiceWriter:
    """Attributes:
    begun: its role has been written.
    frames: of parts whose further words differ in nothing else: what stands before and after them in a chunk.
    """

    number: int
    made: str
    reply: Reply
    head: bytes = attrs.field(repr=False)
    tail: bytes = attrs.field(repr=False)
    begun: bool = False
    frames: dict[int, tuple[bytes, bytes, OpenPart]] = attrs.field(factory=dict, repr=False)
    _parts: dict[int, OpenPart] = attrs.field(factory=dict, repr=False)
    _calls: int = 0
    _images: int = 0
    _notes: int = 0
    _chars: int = 0
    _thought: bool = False
    _sealed: bool = False
    _refused: bool = False
    _thoughts: list[Reasoning] = attrs.field(factory=list, repr=False)
    _details: int = 0
    _words_seal: Seal | None = None

    def entry(self, delta: dict[str, Any], finish: str | None = None) -> Entry:
        return {"index": self.number, "delta": delta, "logprobs": None, "finish_reason": finish}

    def start(self, index: int, part: Part) -> list[Entry]:
        if isinstance(part, ToolCall):
            return self._start_call(index, part)
        self._parts[index] = OpenPart(part, keeps=isinstance(part, Reasoning), before=self._chars)
        if isinstance(part, Media) and part.kind == "image":
            self._images += 1
            return [self.entry({"images": [written_image(part, self._images - 1)]})]
        if isinstance(part, Media) and part.kind == "audio" and part.data:
            return [self.entry({"audio": written_audio(part, self.made, self.reply.created)})]
        words = part.text if isinstance(part, Text | Reasoning | Refusal) else ""
        return self.add(index, words) if words else []

    def _start_call(self, index: int, given: ToolCall) -> list[Entry]:
        call = restored(given, self.reply.conversation.tools)
        opened = OpenPart(call, self._calls)
        self._calls += 1
        self._parts[index] = opened
        name = flat_name(call.name, call.namespace)
        if self.reply.conversation.single_call:
            if opened.place:  # there is no room for a second one
                return []
            said: dict[str, Any] = {"function_call": {"name": name, "arguments": ""}}
        else:
            form = {"custom": {"name": name, "input": ""}} if call.custom else {"function": {"name": name, "arguments": ""}}
            kind = "custom" if call.custom else "function"
            said = {"tool_calls": [{"index": opened.place, "id": call.id or made_id(self.made, opened.place), "type": kind, **form}]}
        opened.converted = opened.keeps = call.custom and not given.custom
        entries = [self.entry(said)]
        if not opened.converted:
            self._frame(index, opened, self._call_delta(opened, _HOLE))
        return entries + (self.add(index, given.arguments) if given.arguments else [])

    def add(self, index: int, text: str) -> list[Entry]:
        """More words of a part, which has a frame from then on."""
        opened = self._parts.get(index)
        if opened is None or not text:
            return []
        opened.took(text)
        part = opened.part
        if isinstance(part, Text):
            said, frame = {"content": text}, {"content": _HOLE}
        elif isinstance(part, Refusal):
            self._refused = True
            said, frame = {"refusal": text}, {"refusal": _HOLE}
        elif isinstance(part, Reasoning):
            said, frame = {"reasoning_content": REASONING_JOINT + text if self._thought else text}, {"reasoning_content": _HOLE}
            self._thought = True
        elif isinstance(part, ToolCall) and not opened.converted and not (opened.place and self.reply.conversation.single_call):
            said, frame = self._call_delta(opened, text), self._call_delta(opened, _HOLE)
        else:
            return []
        self._frame(index, opened, frame)
        return [self.entry(said)]

    def _call_delta(self, opened: OpenPart, text: str) -> dict[str, Any]:
        if self.reply.conversation.single_call:
            return {"function_call": {"arguments": text}}
        custom = isinstance(opened.part, ToolCall) and opened.part.custom
        form = {"custom": {"input": text}} if custom else {"function": {"arguments": text}}
        return {"tool_calls": [{"index": opened.place, **form}]}

    def _frame(self, index: int, opened: OpenPart, delta: dict[str, Any]) -> None:
        before, _, after = dumped(self.entry(delta)).partition(dumped(_HOLE))
        self.frames[index] = (b"data: " + self.head + b'"choices":[' + before, after + b"]" + self.tail, opened)

    def seal(self, index: int, seal: Seal) -> list[Entry]:
        opened = self._parts.get(index)
        if opened is not None:
            opened.seal = seal if opened.seal is None else Seal(seal.maker, opened.seal.value + seal.value)
        return []

    def cite(self, index: int, citation: Citation) -> list[Entry]:
        opened = self._parts.get(index)
        if opened is None or not isinstance(opened.part, Text):
            return []
        self._notes += 1
        return [self.entry({"annotations": [annotation(citation, opened.before, self._notes - 1)]})]

    def logprobs(self, tokens: tuple[TokenLogprob, ...]) -> list[Entry]:
        return [{**self.entry({}), "logprobs": written_logprobs(tokens)}]

    def end(self, index: int) -> list[Entry]:
        opened = self._parts.pop(index, None)
        self.frames.pop(index, None)
        if opened is None:
            return []
        part = opened.part
        if isinstance(part, ToolCall):
            return self._end_call(part, opened)
        if isinstance(part, Reasoning):
            return self._end_thought(part, opened)
        if isinstance(part, Text):
            self._chars += opened.chars
            seal = opened.seal or part.seal
            self._words_seal = seal or self._words_seal
        return []

    def _end_call(self, call: ToolCall, opened: OpenPart) -> list[Entry]:
        if opened.place and self.reply.conversation.single_call:
            return []
        if opened.converted:
            return [self.entry(self._call_delta(opened, free_text("".join(opened.held))))]
        rest = "" if opened.chars or call.custom else "{}"  # clients parse arguments without looking
        delta, seal = self._call_delta(opened, rest), opened.seal or call.seal
        if seal is not None and not call.custom and "tool_calls" in delta:
            delta["tool_calls"][0]["extra_content"] = write_extra(seal)
            return [self.entry(delta)]
        return [self.entry(delta)] if rest else []

    def _end_thought(self, part: Reasoning, opened: OpenPart) -> list[Entry]:
        """As soon as one thought is sealed, all are told in details, the ones before it as well."""
        whole = Reasoning("".join(opened.held), part.summary, opened.seal or part.seal, part.hidden)
        if whole.text or whole.seal is not None:
            self._thoughts.append(whole)
        self._sealed = self._sealed or whole.seal is not None
        if not self._sealed or not self._thoughts:
            return []
        details = [write_detail(one, self._details + place) for place, one in enumerate(self._thoughts)]
        self._details += len(details)
        self._thoughts = []
        return [self.entry({"reasoning_details": details})]

    def finish(self, finished: Finished) -> list[Entry]:
        entries = [one for index in list(self._parts) for one in self.end(index)]
        if self._words_seal is not None:
            entries.append(self.entry({"extra_content": write_extra(self._words_seal)}))
        last = self.entry({}, finish_reason(finished.finish, self._calls > 0, self._refused, self.reply))
        return [*entries, {**last, "stop_reason": finished.stop_sequence} if finished.stop_sequence else last]
