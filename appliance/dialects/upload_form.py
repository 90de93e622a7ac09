"""What the gateway must know of an uploaded form (images and audio), and what it changes in one. Pure.

The rule: a change is a splice at offsets of the body as it came, so that files pass as they are and the boundary stays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import orjson

from appliance.core.fault import Fault, FaultKind
from appliance.core.user_name import user_name
from appliance.dialects.multipart import MultipartReader, Part
from appliance.dialects.openai_request import MODEL_MAX_CHARS
from appliance.dialects.protocol import ParsedRequest

WANTED = ("model", "stream", "user")
"""The fields that decide routing and how the answer comes."""

_TRUE = frozenset({b"true", b"1", b"yes", b"on", b"t", b"y"})
"""What form readers take for true (pydantic, which vendors' servers and vLLM use)."""


@attrs.frozen
class Splice:
    """Bytes from start to end of the body become others."""

    start: int
    end: int
    replacement: bytes = attrs.field(repr=False)

    @property
    def growth(self) -> int:
        return len(self.replacement) - (self.end - self.start)


def model_of(reader: MultipartReader) -> str | Fault:
    """The model that the form asks for, once that field is complete; a fault of its own where it names none."""
    value = reader.value("model")
    try:
        model = (value or b"").decode()
    except UnicodeDecodeError:
        return _bad("'model' must be text in UTF-8", "invalid_value")
    if value is None:
        return _bad("you must provide a 'model' field in the form: name one that GET /v1/models lists", "missing_required_parameter")
    if not model.strip():
        return _bad("'model' must not be empty: name one that GET /v1/models lists", "missing_required_parameter")
    if len(model) > MODEL_MAX_CHARS:
        return _bad(f"'model' is longer than {MODEL_MAX_CHARS} characters", "invalid_value")
    if not model.isprintable():
        return _bad("'model' must not hold control characters: name one that GET /v1/models lists", "invalid_value")
    return model


def read_form(reader: MultipartReader, operation: str) -> ParsedRequest | Fault:
    """What is known of the form as far as it has come; its model must have."""
    model = model_of(reader)
    if isinstance(model, Fault):
        return model
    user = (reader.value("user") or b"").decode("utf-8", "replace")
    return ParsedRequest(operation, model, streams(reader), None, True, user_name(user), {}, _no_estimate)


def streams(reader: MultipartReader) -> bool:
    """Whether the form, as far as it has come, asks for its answer as a stream."""
    return (reader.value("stream") or b"").strip().lower() in _TRUE


def splices(reader: MultipartReader, boundary: bytes, model: str | None, overrides: Mapping[str, Any]) -> list[Splice]:
    """What the operator's configuration changes, in order.

    Args:
        model: to be asked for instead of the form's own, None to leave it.
        overrides: fields to set: their parts are put first, and the form's own of the same name are taken out.
    """
    changed: list[Splice] = []
    for part in reader.parts:
        if part.name in overrides or part.name.removesuffix("[]") in overrides:
            changed.append(Splice(part.begin, part.end + 2, b""))  # up to the next boundary
        elif part.name == "model" and model is not None:
            changed.append(Splice(part.start, part.end, model.encode()))
    added = b"".join(_written(boundary, name, value) for name, value in overrides.items())
    if added:
        changed.insert(0, Splice(reader.begins_at, reader.begins_at, added))
    return changed


def overridden_later(parts: Sequence[Part], known: int, overrides: Mapping[str, Any]) -> str | None:
    """The name of a field that an override replaces and that came after the first `known` parts, when these had been sent already."""
    return next((part.name for part in parts[known:] if part.name.removesuffix("[]") in overrides), None)


def _written(boundary: bytes, name: str, value: Any) -> bytes:
    """One override as parts; a list is as many of them as OpenAI's own client makes of it."""
    if isinstance(value, list | tuple):
        return b"".join(_written(boundary, name + "[]", one) for one in value)
    text = value.encode() if isinstance(value, str) else orjson.dumps(value)
    named = name.replace("\\", "").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").encode()  # WHATWG HTML §4.10.21.8
    return b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (boundary, named, text)


def _no_estimate(fields: Mapping[str, Any]) -> int:
    """A file has no number of tokens that can be guessed."""
    del fields
    return 0


def _bad(message: str, code: str) -> Fault:
    return Fault(FaultKind.BAD_REQUEST, message, param="model", code=code)
