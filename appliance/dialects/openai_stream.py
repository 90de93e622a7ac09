"""Reads along while an OpenAI-dialect stream passes: usage, finish reasons, first token, errors hidden in a 200, and whether it was cut.

The rule: whole events leave as the very bytes that came, except the usage event that only the gateway asked for, and an event that is an
error (the caller gets one in our own words instead). Nearly every event is an ordinary delta; those are told by a few substring tests and
never parsed. The tests may err only towards parsing: a needle in quotes cannot occur inside a JSON string, where quotes are escaped.
"""

import re
from typing import Any

from appliance.core.fault import Fault, FaultKind
from appliance.core.usage import Usage
from appliance.dialects.openai_size import chunk_size, delta_size
from appliance.dialects.openai_usage import parse_json, text_of, usage_of
from appliance.dialects.protocol import Answer
from appliance.dialects.sse import BOM, EventCutter, read_event
from appliance.dialects.upstream_error import error_in_answer

CHOICES_MAX = 128
"""Choices followed; OpenAI's own bound on `n`."""

_GENERATED = re.compile(
    rb'"(?:content|reasoning_content|reasoning|text|refusal|arguments)"\s*+:\s*+"(?!")'
    rb'|"(?:content|tool_calls|reasoning_details|images)"\s*+:\s*+\[\s*+[^\]\s]'
    rb'|"(?:function_call|audio)"\s*+:\s*+\{\s*+[^}\s]'
)
"""A delta that carries something of the model's. Mistral's `content` may be a list of parts, OpenRouter's reasoning a list of details."""

NO_FRAME = (b"\0", b"", 0, 0)
"""No event begins like that."""

FRAMES_MAX = 8
"""How often the surroundings of a delta's text are learnt anew."""

_PLAIN_TEXT = re.compile(rb'[^"\\\x00-\x1f]++')
"""Text inside a JSON string that needs no escape: the string ends where it ends."""

_TEXT_START = re.compile(rb'"(?:content|reasoning_content|reasoning|text)"\s*+:\s*+"')

_PLAIN_CONTENT = b'"content":"'

_LIST, _OTHERS = b'":[{', re.compile(rb'"(?:tool_calls|images)":\[\{')
"""What a few servers send behind the text, in one event with it."""

_CITED = b'"annotations":[{'
"""In which OpenRouter tells the `content` of the pages that a model has read."""

_COMPACT = (b'"usage":null', b'"finish_reason":null', b'"index":0')
_SPACED = (b'"usage": null', b'"finish_reason": null', b'"index": 0')
"""How a delta looks that says nothing of interest, by the style of the server's JSON writer. The wrong guess costs time, not truth."""


class OpenAIStreamTap:
    """Follows one stream. See `protocol.StreamTap` for what the attributes promise.

    Until `committed`, what `feed` returns are comments and blank events: they mean nothing and need not be kept for the caller.
    """

    __slots__ = (
        "_backend", "_choices", "_cutter", "_done", "_ended", "_event_max_bytes", "_finish_reason", "_finished_choices", "_frame",
        "_frames_left", "_hide_usage", "_lf_passes", "_model", "_nulls", "_secrets", "_steady", "_usage", "_virgin", "committed", "deltas",
        "fault", "finished", "size",
    )  # fmt: skip

    def __init__(self, hide_usage: bool, event_max_bytes: int, backend: str = "", secrets: tuple[bytes, ...] = ()) -> None:
        """hide_usage: the gateway asked for the usage event and the caller did not. backend: its name, for the words of a fault.
        secrets: what was sent to it to prove who asks, kept out of every fault."""
        self.committed = False
        self.fault: Fault | None = None
        self.deltas = self.size = 0
        self.finished = False
        self._hide_usage = hide_usage
        self._event_max_bytes = event_max_bytes
        self._backend = backend
        self._secrets = secrets
        self._cutter = EventCutter()
        self._steady = False  # committed, running, nothing held back: the fast path is open
        self._virgin = True  # nothing was cut yet: a byte order mark may come
        self._lf_passes = False
        self._done = False
        self._ended = False
        self._nulls = _COMPACT
        self._usage: Usage | None = None
        self._model = ""
        self._finish_reason = ""
        self._frame = NO_FRAME
        self._frames_left = FRAMES_MAX
        self._choices = {0}  # the first choice always exists, told or not
        self._finished_choices: set[int] = set()

    @property
    def complete(self) -> bool:
        return self.finished

    @property
    def token_seen(self) -> bool:
        return self.deltas > 0

    def answer(self) -> Answer:
        return Answer(self._usage, self._model, self._finish_reason)

    def feed(self, data: bytes) -> bytes:
        if self._steady and (length := len(data)) <= self._event_max_bytes:
            before, after, start, rest = self._frame
            if (
                data.startswith(before)
                and data.endswith(after)
                and _PLAIN_TEXT.fullmatch(data, start, length - rest) is not None
            ):  # fmt: skip
                # The very bytes of an ordinary delta seen before, but for the text in it.
                self.deltas += 1
                self.size += length - start - rest
                return data
            if (
                data.find(b"\n") == length - 2  # one line and its blank line: exactly one event
                and data.endswith(b"}\n\n")
                and data.startswith(b"data: {")
                and b"\r" not in data
                and self._pass_dull(data)
            ):
                if self._frames_left:
                    self._learn_frame(data)
                return data
        return self._feed(data)

    def _learn_frame(self, delta: bytes) -> None:
        """Keep what surrounds the text of an ordinary delta: in most streams the next ones differ in nothing else. Servers that vary
        more (padding against traffic analysis, log probabilities) are not tried for ever."""
        self._frames_left -= 1
        start = _TEXT_START.search(delta)
        if start is None or _TEXT_START.search(delta, start.end()) is not None:
            return
        text = _PLAIN_TEXT.match(delta, start.end())
        if text is not None and delta[text.end() : text.end() + 1] == b'"':
            self._frame = (delta[: start.end()], delta[text.end() :], start.end(), len(delta) - text.end())

    def end(self) -> bytes:
        """Also decides on an event without its blank line: completed when it is whole JSON, else dropped, so that no half event stands
        before what the gateway has to say."""
        if self._ended:
            return b""
        self._ended = True
        self._steady = False
        out = b""
        if self.fault is None and not self._done:
            out = self._last_event(self._cutter.rest())
        # Vendors that send no [DONE]: every choice has its finish reason, and the body ended.
        self.finished = self._done or (self.fault is None and self._choices <= self._finished_choices)
        if self.fault is None and not self.finished:
            self.fault = Fault(FaultKind.STREAM_CUT, f"{self._who()} ended its stream before the answer was complete")
        return out

    def _feed(self, data: bytes) -> bytes:
        """Any bytes at all: cut into events, each judged by itself."""
        prefix = b""
        if self._cutter.trailing_lf and data:
            self._cutter.trailing_lf = False
            if data[:1] == b"\n":
                prefix, data = (b"\n" if self._lf_passes else b""), data[1:]
        if self.fault is not None or self._done or self._ended or not data:
            return prefix
        block = self._cutter.take(data)
        events = self._cutter.cut(block) if block else []
        pieces: list[bytes] = [prefix] if prefix else []
        kept = 0
        for start, content_end, end in events:
            passes = self._judge(block[start:content_end])
            if not passes:
                pieces.append(block[kept:start])
                kept = end
            if self.fault is not None or self._done:
                self.finished = self.fault is None
                self._steady = False
                self._lf_passes = passes
                self._cutter.trailing_lf = self._cutter.trailing_lf and end == len(block)  # else it belongs to what is left out
                pieces.append(block[kept:end])
                return b"".join(pieces)
            self._lf_passes = passes
        if self._cutter.held_bytes > self._event_max_bytes + 2:  # two bytes may be the first half of its blank line
            self._too_long()
        self._steady = self.committed and self.fault is None and not self._cutter.held_bytes and not self._cutter.trailing_lf
        end = events[-1][2] if events else 0
        if not pieces and end == len(block):
            return block
        pieces.append(block[kept:end])
        return b"".join(pieces)

    def _judge(self, lines: bytes) -> bool:
        """Take one event in; False when it must not be forwarded (then perhaps `fault` is set)."""
        if len(lines) > self._event_max_bytes:
            self._too_long()
            return False
        if lines.startswith(b"data: {") and b"\n" not in lines and b"\r" not in lines:
            self._virgin = False
            if self.committed and lines.endswith(b"}") and self._pass_dull(lines):
                return True
            return self._judge_data(lines[6:], b"")
        if self._virgin:
            self._virgin = False
            lines = lines.removeprefix(BOM)
        return self._judge_lines(lines)

    def _judge_lines(self, lines: bytes) -> bool:
        said = read_event(lines.strip(b"\r\n"))
        if said.data is not None:
            return self._judge_data(said.data.strip(), said.name)
        if said.error is not None:
            return self._judge_data(said.error.strip(), b"error")
        if said.alien or said.name == b"error":
            return self._judge_alien(lines, said.name)
        return True

    def _judge_data(self, data: bytes, name: bytes) -> bool:
        if self.committed and name != b"error" and data[:1] == b"{" and data[-1:] == b"}" and self._pass_dull(data):
            return True
        if not data and name != b"error":
            return True
        if data.startswith(b"[DONE]"):  # openai-python stops at this prefix, too
            self._done = self.finished = True
            return True
        try:
            parsed = parse_json(data)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            return self._judge_object(parsed, data, name == b"error")
        if name == b"error":
            self.fault = self._error_in({"error": data.decode("utf-8", "replace")}, True)
        else:
            self._garbage()
        return False

    def _judge_alien(self, lines: bytes, name: bytes) -> bool:
        """Lines that are no event stream: an error in bare JSON, a page of HTML, or unknown fields, which readers skip."""
        text = lines.strip()
        if text[:1] == b"{" or name == b"error":
            try:
                parsed = parse_json(text)
            except ValueError:
                parsed = {}
            fault = self._error_in(parsed if isinstance(parsed, dict) else {}, name == b"error")
            if fault is not None:
                self.fault = fault
                return False
        if not self.committed:
            self._garbage()
            return False
        return True

    def _pass_dull(self, text: bytes) -> bool:
        """Whether an event is an ordinary delta; counts it when it is. `text` is the JSON, with or without its framing."""
        usage, finish, index = self._nulls
        if (
            b'"error"' in text
            or b'"choices"' not in text
            or text.count(b'"usage"') != text.count(usage)
            or text.count(b'"finish_reason"') != text.count(finish)
            or text.count(b'"index"') != text.count(index)
        ):
            return False
        words, _, rest = text.partition(_PLAIN_CONTENT)[2].partition(b'"')
        if words and b"\\" not in words and (_LIST not in rest or _OTHERS.search(rest) is None) and _CITED not in text:
            self.deltas += 1
            self.size += len(words)
        elif _GENERATED.search(text) is not None:
            self.deltas += 1
            self.size += delta_size(text)
        return True

    def _judge_object(self, chunk: dict[str, Any], data: bytes, named_error: bool) -> bool:
        """An event that says more than its delta, or the first one."""
        fault = self._error_in(chunk, named_error)
        if fault is not None:
            self.fault = fault
            return False
        if not self.committed:
            self.committed = True
            self._nulls = _SPACED if b'": ' in data else _COMPACT
        if not self._model:
            self._model = text_of(chunk.get("model"))
        if _GENERATED.search(data) is not None:
            self.deltas += 1
            self.size += chunk_size(chunk)
        usage = usage_of(chunk)
        if usage is not None:
            self._usage = usage  # cumulative where every chunk has it (Perplexity, xAI): the last one counts
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict):
                    self._follow(choice)
            return bool(choices) or usage is None or not self._hide_usage
        return True

    def _follow(self, choice: dict[str, Any]) -> None:
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        if len(self._choices) < CHOICES_MAX:
            self._choices.add(index)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason and index in self._choices:
            self._finished_choices.add(index)
            if index == 0 or not self._finish_reason:
                self._finish_reason = reason

    def _last_event(self, held: bytes) -> bytes:
        lines = held.rstrip(b"\r\n")
        if not lines:
            return b""
        if len(lines) > self._event_max_bytes:
            self._too_long()
            return b""
        if self._virgin:
            lines = lines.removeprefix(BOM)
        said = read_event(lines.strip(b"\r\n"))
        if said.data is None and said.error is None:
            self._judge_lines(lines)  # only to see an error; a half comment is worth nothing
            return b""
        data = said.data if said.data is not None else said.error or b""
        if not _is_whole(data.strip()):
            return b""
        return lines + b"\n\n" if self._judge_lines(lines) and self.fault is None else b""

    def _error_in(self, answer: dict[str, Any], named_error: bool) -> Fault | None:
        return error_in_answer(answer, self._backend, named_error=named_error, secrets=self._secrets)

    def _garbage(self) -> None:
        self.fault = Fault(FaultKind.PROTOCOL, f"{self._who()} sent something that is not an event of a model's answer")

    def _too_long(self) -> None:
        self.fault = Fault(FaultKind.PROTOCOL, f"{self._who()} sent an event of more than {self._event_max_bytes} bytes")

    def _who(self) -> str:
        return f"the backend {self._backend}" if self._backend else "the backend"


def _is_whole(data: bytes) -> bool:
    if data.startswith(b"[DONE]"):
        return True
    try:
        parse_json(data)
    except ValueError:
        return False
    return True
