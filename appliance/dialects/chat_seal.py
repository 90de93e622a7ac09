"""Opaque values in chat completions: OpenRouter's `reasoning_details` and Google's `extra_content` (thought signatures).

The rule: what a chat backend gave goes back to a chat backend as it was, all members of it; what another language's vendor made travels
through the caller's messages wrapped (core.seal), and to no chat backend. Shapes: openrouter.ai/docs/use-cases/reasoning-tokens
("Preserving reasoning blocks"), ai.google.dev/gemini-api/docs/openai.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from appliance.core.message import Part, Reasoning
from appliance.core.seal import WRAPPED, Seal, unwrap, wrap
from appliance.dialects.redaction import written

OWN = "openai"
"""The language family: seals of this maker are OpenAI's encrypted reasoning, which only Responses hands out and OpenRouter passes on."""

MADE = "openai_chat"
"""Maker of what came from a chat backend. Its value is JSON: the detail without its words and place, or the whole `extra_content`. It is
not `openai`, since OpenAI refuses encrypted reasoning that it did not make itself."""

READABLE = frozenset({OWN, MADE})
"""Makers whose seals a chat backend may be sent."""

_GOOGLE = "gemini"
_RESPONSES_FORMAT = "openai-responses-v1"
_FORMATS = {"anthropic": "anthropic-claude-v1", "bedrock": "anthropic-claude-v1", OWN: _RESPONSES_FORMAT, _GOOGLE: "google-gemini-v1"}
"""OpenRouter's names of what a detail holds."""

_WORDS = {"reasoning.text": "text", "reasoning.summary": "summary"}
"""The member that holds a detail's words."""


def read_details(details: object) -> list[Reasoning]:
    """The thoughts in a message's or an answer's `reasoning_details`; what is no such list has none."""
    found = [read_detail(one) for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    return [one for one in found if one is not None]


def read_detail(detail: Mapping[str, Any]) -> Reasoning | None:
    """One of them; None when there is nothing in it."""
    kind = detail.get("type")
    words = detail.get(_WORDS[kind]) if isinstance(kind, str) and kind in _WORDS else ""
    text = words if isinstance(words, str) else ""
    seal = detail_seal(detail)
    if not text and seal is None:
        return None
    return Reasoning(text, kind == "reasoning.summary", seal, hidden=not text and kind not in _WORDS)


def detail_seal(detail: Mapping[str, Any]) -> Seal | None:
    """What of a detail has to come back beside its words; None when it is words only."""
    kind = detail.get("type")
    opaque = detail.get("signature") or detail.get("data")
    rest = {name: value for name, value in detail.items() if name not in ("text", "summary", "index") and value not in (None, "")}
    if not isinstance(opaque, str):
        if kind in _WORDS or not isinstance(kind, str):
            return None
        return _made({name: value for name, value in detail.items() if name != "index"})  # a kind that is not known yet
    if opaque.startswith(WRAPPED):
        return unwrap(opaque, OWN)
    if rest.get("format") == _RESPONSES_FORMAT and len(rest) == 3 and "type" in rest:
        return Seal(OWN, opaque)
    return _made(rest)


def write_detail(part: Reasoning, index: int) -> dict[str, Any]:
    """One of a caller's or a backend's details. For backends only parts whose seal is READABLE, or that have none."""
    kind = "reasoning.encrypted" if part.hidden else "reasoning.summary" if part.summary else "reasoning.text"
    seal, detail = part.seal, {"type": kind}
    if seal is not None:
        own = _object(seal.value) if seal.maker == MADE else {}
        if own:
            detail = own
        else:
            detail["data" if part.hidden else "signature"] = wrap(seal, OWN)
            detail["format"] = _FORMATS.get(seal.maker, "unknown")
    words = _WORDS.get(str(detail.get("type")))
    if words is not None:
        detail[words] = part.text
    return {**detail, "index": index}


def details_for_caller(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """All thoughts in order as soon as one of them is sealed; none otherwise, as `reasoning_content` then says all there is."""
    thoughts = [part for part in parts if isinstance(part, Reasoning) and (part.text or part.seal is not None)]
    if all(part.seal is None for part in thoughts):
        return []
    return [write_detail(part, index) for index, part in enumerate(thoughts)]


def details_for_backend(parts: Sequence[Reasoning]) -> list[dict[str, Any]]:
    """The same for a backend, without the seals that it cannot read. Encrypted reasoning of OpenAI's stands beside its summary."""
    details: list[dict[str, Any]] = []
    for part in parts:
        seal = part.seal if part.seal is not None and part.seal.maker in READABLE else None
        if part.text and (seal is None or seal.maker == OWN):
            details.append(write_detail(Reasoning(part.text, part.summary), len(details)))
            if seal is not None:
                details.append(write_detail(Reasoning(seal=seal, hidden=True), len(details)))
        elif seal is not None:
            details.append(write_detail(Reasoning(part.text, part.summary, seal, part.hidden), len(details)))
    return details


def read_extra(extra: object, *, of_caller: bool) -> Seal | None:
    """The seal in the `extra_content` of a tool call or message; None when there is none."""
    if not isinstance(extra, dict) or not extra:
        return None
    if of_caller and extra.keys() == {"google"} and isinstance(google := extra["google"], dict):
        signature = google.get("thought_signature")
        if len(google) == 1 and isinstance(signature, str) and signature:
            return unwrap(signature, _GOOGLE)
    return _made(extra)


def write_extra(seal: Seal) -> dict[str, Any]:
    """`extra_content` for a caller, or of a seal MADE by a chat backend for such a one."""
    own = _object(seal.value) if seal.maker == MADE else {}
    return own or {"google": {"thought_signature": wrap(seal, _GOOGLE)}}


def _made(value: Mapping[str, Any]) -> Seal | None:
    text = written(dict(value)).decode()
    return Seal(MADE, text) if text else None


def _object(value: str) -> dict[str, Any]:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
