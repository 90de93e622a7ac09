"""How much a model wrote in a whole answer, or in one chunk of a stream, in OpenAI's language and those of vendors that took it over.

The rule: see answer_size. A chunk has under `delta` what an answer has under `message`, so both are read by the same lines, and a stream
adds up to what the same answer would count whole. What is told twice (OpenRouter's thoughts) counts once.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from appliance.dialects.answer_size import CALL_BYTES, MEDIA_BYTES, text_size
from appliance.dialects.openai_usage import parse_json

_SAID = re.compile(rb'"(?:content|reasoning_content|reasoning|text|refusal|arguments)"\s*+:\s*+"((?:[^"\\]++|\\.)++)"')
"""A string that the model wrote, as it stands in JSON."""

_MORE = re.compile(rb'"(?:name|images|transcript|annotations)"|"content"\s*+:\s*+\[')
"""There is something else: a call begins, a picture or sound comes, somebody is cited, or what is said stands in a list."""

STRINGS_MAX = 4
"""Looked for in an event before it is read whole; OpenRouter tells a thought twice."""

ENTRIES_MAX = 16_384
"""Looked at in one answer, of each kind: a megabyte of empty ones would take a sixth of a second."""

SPOKEN = 9
"""Of sound, for what is said in it: the words themselves, and eight times as many tokens to speak them (gateway.foreseen)."""


def body_size(body: bytes) -> int | None:
    """Of a whole answer; None where it cannot be read."""
    try:
        answer = parse_json(body)
    except ValueError:
        return None
    return chunk_size(answer) if isinstance(answer, dict) else None


def delta_size(event: bytes) -> int:
    """Of an event that has not been parsed, JSON with or without its framing. Most have one string in them, be it told twice, whose size is
    all that counts; the rest is read whole."""
    said = [one[1] for one in islice(_SAID.finditer(event), STRINGS_MAX)] if _MORE.search(event) is None else []
    try:
        if said and said.count(said[0]) == len(said) < STRINGS_MAX:
            return text_size(parse_json(b'"%b"' % said[0])) if b"\\" in said[0] else len(said[0])
        chunk = parse_json(event[event.find(b"{") :])
    except ValueError:
        return 0
    return chunk_size(chunk) if isinstance(chunk, dict) else 0


def chunk_size(answer: Mapping[str, Any]) -> int:
    """Of all choices."""
    choices = _maps(answer.get("choices"), ENTRIES_MAX)
    return sum(_choice(one, ENTRIES_MAX // len(choices)) for one in choices)


def _choice(choice: Mapping[str, Any], most: int) -> int:
    """most: entries looked at in each of its lists."""
    made = choice.get("delta") or choice.get("message")
    size = _text(choice.get("text"))
    if not isinstance(made, dict):
        return size
    thoughts = _text(made.get("reasoning_content")) or _text(made.get("reasoning"))
    thoughts = thoughts or sum(_text(one.get("text")) or _text(one.get("summary")) for one in _maps(made.get("reasoning_details"), most))
    size += _content(made.get("content"), most) + thoughts + _text(made.get("refusal"))
    size += MEDIA_BYTES * len(_maps(made.get("images"), most))
    audio, function = made.get("audio"), made.get("function_call")
    if isinstance(audio, dict):
        size += SPOKEN * _text(audio.get("transcript"))
    calls = [one.get("function") or one.get("custom") for one in _maps(made.get("tool_calls"), most)]
    return size + sum(_call(one) for one in (*calls, function) if isinstance(one, dict))


def _call(call: Mapping[str, Any]) -> int:
    """A call, or more of its arguments: its name comes once."""
    name, given = _text(call.get("name")), call.get("arguments") or call.get("input")
    return (CALL_BYTES + name if name else 0) + _text(given)


def _content(content: object, most: int) -> int:
    """Text, or Mistral's list of chunks, in which thoughts are lists of chunks again."""
    if not isinstance(content, list):
        return _text(content)
    return sum(
        _text(one.get("text")) + sum(_text(word.get("text")) for word in _maps(one.get("thinking"), most)) + (
            MEDIA_BYTES if "image_url" in one else 0
        )
        for one in _maps(content, most)
    )  # fmt: skip


def _text(value: object) -> int:
    return text_size(value) if isinstance(value, str) else 0


def _maps(value: object, most: int) -> list[Any]:
    return [one for one in value[:most] if isinstance(one, dict)] if isinstance(value, list) else []
