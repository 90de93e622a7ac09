"""One choice of a chat completion's stream: from the deltas of its message to the parts that they add to.

The rule: words and thoughts end when something else begins. A call ends then, too, if its arguments are a whole object, to which nothing
can be added; other calls stay open to the end, as their fragments may come in any order.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.delta import CitationAdded, Delta, Finished, LogprobsAdded, PartEnded, PartStarted, SealAdded, TextAdded
from appliance.core.message import Citation, Media, Part, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.tool_ids import made_id
from appliance.dialects.chat_answer import finish_of
from appliance.dialects.chat_answer_parts import citations_of, images_of, logprobs_of, mended_text
from appliance.dialects.chat_message import REASONING_FIELDS, reasoning_words, thinking_words
from appliance.dialects.chat_seal import detail_seal, read_extra
from appliance.dialects.chat_stream_calls import LEGACY, Call, CallBook
from appliance.dialects.openai_usage import text_of

TEXT, REASONING, REFUSAL = "text", "reasoning", "refusal"

_JOINT = "\n\n"


@attrs.define
class ChoiceReader:
    """Attributes:
    number: of the candidate. seed: what ids are made from. held_max: characters that may be held back.
    kind, part: what is open beside calls, and its number; kind "" for nothing. half: of a surrogate pair, at the end of its words.
    field: of a delta, where more words of the open part would stand; "" if they need a closer look.
    full: more than held_max would have to be held, or there are too many calls: this is no answer of a model.
    """

    number: int
    seed: str
    held_max: int
    kind: str = ""
    field: str = ""
    part: int = -1
    reason: object = None
    stopped: str = ""
    half: str = ""
    full: bool = False
    _count: int = 0
    _held: int = 0
    _thoughts: int = 0
    _refused: bool = False
    _heard: list[str] = attrs.field(factory=list, repr=False)
    _detail: dict[str, Any] = attrs.field(factory=dict, repr=False)
    _detail_key: object = None
    _seal: Seal | None = None
    _book: CallBook = attrs.field(factory=CallBook)
    _last_call: Call | None = None
    _audio: list[bytes] = attrs.field(factory=list, repr=False)

    def read(self, choice: Mapping[str, Any], out: list[Delta]) -> None:
        """One entry of a chunk's `choices`."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):  # a vendor that ends with, or only knows, whole messages
            delta = message if self._count == 0 and isinstance(message := choice.get("message"), dict) else {}
        self._read_thoughts(delta, out)
        self._read_content(delta.get("content"), out)
        refusal = delta.get("refusal")
        if isinstance(refusal, str) and refusal:
            self._add(REFUSAL, refusal, out)
        for image in images_of(delta.get("images")):
            self._whole(image, out)
        if delta.get("audio"):
            self._read_audio(delta["audio"], out)
        self._read_calls(delta, out)
        notes = delta.get("annotations")
        if notes:
            self.cite(citations_of(notes), out)
        logprobs = choice.get("logprobs")
        if logprobs and (tokens := logprobs_of(logprobs)):
            out.append(LogprobsAdded(tokens, self.number))
        reason, stopped = choice.get("finish_reason"), choice.get("stop_reason")
        if reason:
            self.reason = reason
        if isinstance(stopped, str):
            self.stopped = stopped

    def more(self, text: str, out: list[Delta]) -> None:
        """More words of the part that `field` names."""
        if self.kind == REASONING and self._hold(len(text)):
            self._heard.append(text)
        out.append(TextAdded(self.part, text, self.number))

    def cite(self, citations: tuple[Citation, ...], out: list[Delta]) -> None:
        """Sources of the words; without words there is nothing that they could belong to."""
        if self.kind == TEXT:
            out += [CitationAdded(self.part, one, self.number) for one in citations]

    def finish(self, out: list[Delta]) -> None:
        """The candidate is over."""
        self._end(out)
        if self._audio:
            self._whole(Media("audio", data=base64.b64encode(b"".join(self._audio)).decode()), out)
        for place, call in enumerate(self._book.calls):
            if call.part < 0 and call.name:
                call.id = call.id or made_id(self.seed, place)
                self._start_call(call, out)
        started = [call for call in self._book.calls if call.part >= 0]
        for call in started:
            self._end_call(call, out)
        finish = finish_of(self.reason, [call.so_far() for call in started[-1:]], refused=self._refused)
        if finish == "stop" and self.stopped:
            out.append(Finished("stop_sequence", self.stopped, self.number))
        else:
            out.append(Finished(finish, "", self.number))

    def _open(self, kind: str, part: Part, out: list[Delta]) -> None:
        self._end(out)
        self._end_whole_call(out)
        self.kind, self.part, self.field = kind, self._count, "content" if kind == TEXT else ""
        self._count += 1
        out.append(PartStarted(self.part, part, self.number))

    def _add(self, kind: str, text: str, out: list[Delta]) -> None:
        if self.kind != kind:
            self._refused = self._refused or kind != TEXT
            self._open(kind, Text() if kind == TEXT else Refusal(), out)
        text = self._joined(text)
        if text:
            out.append(TextAdded(self.part, text, self.number))

    def _joined(self, text: str) -> str:
        """The text with what was held of a surrogate pair before it; half a pair at its end is held in turn."""
        if not self.half and text.isascii():
            return text
        text, self.half = self.half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self.half = text[:-1], text[-1]
        return mended_text(text)

    def _end(self, out: list[Delta]) -> None:
        if not self.kind:
            return
        if self.half:
            self.half = ""
            out.append(TextAdded(self.part, "\ufffd", self.number))
        seal = detail_seal(self._detail) if self._detail else self._seal
        if seal is not None:
            out.append(SealAdded(self.part, seal, self.number))
        out.append(PartEnded(self.part, self.number))
        self.kind, self.part, self.field, self._detail, self._detail_key, self._seal = "", -1, "", {}, None, None
        self._heard = []

    def _whole(self, part: Part, out: list[Delta]) -> None:
        self._end(out)
        out += [PartStarted(self._count, part, self.number), PartEnded(self._count, self.number)]
        self._count += 1

    def _read_content(self, content: object, out: list[Delta]) -> None:
        if isinstance(content, str):
            if content:
                self._add(TEXT, content, out)
        elif isinstance(content, list):  # Mistral's chunks
            for one in content:
                kind = one.get("type") if isinstance(one, dict) else None
                if kind == "text" and (text := text_of(one.get("text"))):
                    self._add(TEXT, text, out)
                elif kind == "thinking" and (words := thinking_words(one.get("thinking"))):
                    self._think(words, out)
                elif kind == "image_url":
                    for image in images_of([one]):
                        self._whole(image, out)

    def _read_thoughts(self, delta: Mapping[str, Any], out: list[Delta]) -> None:
        details = delta.get("reasoning_details")
        words = reasoning_words(delta)
        said = False
        for one in details if isinstance(details, list) else []:
            if isinstance(one, dict):
                said = self._read_detail(one, bool(words), out) or said
        if words and not said:
            self._think(words, out)
            spelled = [name for name in REASONING_FIELDS if delta.get(name)]
            self.field = spelled[0] if len(spelled) == 1 else ""

    def _think(self, words: str, out: list[Delta]) -> None:
        """Thoughts in a bare string. What follows a sealed part belongs to another one."""
        if self.kind != REASONING or self._detail:
            self._open(REASONING, Reasoning(), out)
            self._thoughts += 1
            words = words.removeprefix(_JOINT) if self._thoughts > 1 else words
        if self._hold(len(words)):
            self._heard.append(words)
        words = self._joined(words)
        if words:
            out.append(TextAdded(self.part, words, self.number))

    def _read_detail(self, detail: Mapping[str, Any], beside: bool, out: list[Delta]) -> bool:
        """One of `reasoning_details`; whether it said words. beside: a bare string in the same chunk says them, too."""
        kind, words = text_of(detail.get("type")), text_of(detail.get("text")) or text_of(detail.get("summary"))
        heard = "".join(self._heard) if words and not beside and self._heard else ""
        if heard and words in heard:  # a whole thought after its pieces: only what it adds counts
            self._gather(detail)
            return True
        key = (kind, detail.get("index"))
        named, other = detail.get("id"), self._detail.get("id")
        repeated = bool(detail.get("data")) and bool(self._detail.get("data"))
        fresh = self._detail_key != key and not (self._heard and not words)
        if self.kind != REASONING or fresh or repeated or (named and other and named != other):
            hidden = kind not in ("reasoning.text", "reasoning.summary")
            if not words and detail_seal(detail) is None and self.kind != REASONING:
                return False
            self._open(REASONING, Reasoning(summary=kind == "reasoning.summary", hidden=hidden), out)
            self._thoughts += 1
            self._detail_key = key
        self._gather(detail)
        words = self._joined(words)
        if words:
            out.append(TextAdded(self.part, words, self.number))
        return bool(words)

    def _gather(self, detail: Mapping[str, Any]) -> None:
        """What a detail says beside its words; signatures and data may come in pieces."""
        self.field = ""
        for name, value in detail.items():
            if name in ("text", "summary", "index") or value in (None, ""):
                continue
            before = self._detail.get(name)
            if name in ("signature", "data") and isinstance(value, str) and isinstance(before, str):
                value = before + value
            self._detail[name] = value
            if isinstance(value, str) and not self._hold(len(value)):
                self.full = True

    def _hold(self, size: int) -> bool:
        self._held += size
        return self._held <= self.held_max

    def _read_audio(self, audio: object, out: list[Delta]) -> None:
        if not isinstance(audio, dict):
            return
        words, data = text_of(audio.get("transcript")), text_of(audio.get("data"))
        if words:
            self._add(TEXT, words, out)
        if data:
            if not self._hold(len(data)):
                self.full = True
                return
            try:
                self._audio.append(base64.b64decode(data))
            except (binascii.Error, ValueError):
                return

    def _read_calls(self, delta: Mapping[str, Any], out: list[Delta]) -> None:
        listed, legacy, extra = delta.get("tool_calls"), delta.get("function_call"), delta.get("extra_content")
        for one in listed if isinstance(listed, list) else []:
            if isinstance(one, dict):
                self._read_call(one, out)
        if isinstance(legacy, dict):
            self._read_call({"index": LEGACY, "function": legacy}, out)
        if extra:
            self._seal_words(read_extra(extra, of_caller=False), out)

    def _seal_words(self, seal: Seal | None, out: list[Delta]) -> None:
        if seal is None:
            return
        if self.kind != TEXT:
            self._open(TEXT, Text(), out)
        self._seal = seal

    def _read_call(self, entry: Mapping[str, Any], out: list[Delta]) -> None:
        call = self._book.find(entry)
        if call is None:
            self.full = True
            return
        text = call.take(entry)
        if text:
            if not call.lost and self._hold(len(text)):
                call.pieces.append(text)
            else:
                call.lost, call.pieces = True, []
                self.full = self.full or call.part < 0
        if call.part >= 0:
            if text and not call.ended:
                out.append(TextAdded(call.part, text, self.number))
        elif call.id and call.name:
            self._start_call(call, out)

    def _end_call(self, call: Call, out: list[Delta]) -> None:
        if call.ended:
            return
        call.ended = True
        seal = read_extra(call.extra, of_caller=False)
        if seal is not None and not call.sealed:
            out.append(SealAdded(call.part, seal, self.number))
        out.append(PartEnded(call.part, self.number))

    def _end_whole_call(self, out: list[Delta]) -> None:
        """The call before what begins now is over, if it is sure that nothing more comes: its caller need not wait for the others."""
        call = self._last_call
        if call is not None and not call.lost and call.is_full():
            self._end_call(call, out)

    def _start_call(self, call: Call, out: list[Delta]) -> None:
        self._end(out)
        self._end_whole_call(out)
        self._last_call = call
        call.part = self._count
        self._count += 1
        seal = read_extra(call.extra, of_caller=False)
        call.sealed = seal is not None
        out.append(PartStarted(call.part, ToolCall(call.id, call.name, custom=call.custom, seal=seal), self.number))
        if call.pieces:
            out.append(TextAdded(call.part, "".join(call.pieces), self.number))
