"""JSON as the Gemini codec reads and writes it. The rule: nothing raises but ValueError, whatever strings a peer let through.

Google's JSON is protobuf's (protobuf.dev/programming-guides/json): names in camelCase, and accepted in snake_case as well, which
google-genai mixes in. Names of the API's own fields are turned into camelCase here; members of schemas, arguments and results never are.
"""

import json
from collections.abc import Mapping
from typing import Any

import orjson

from appliance.dialects.fields import mapping, sequence

DEPTH_MAX = 200
"""orjson writes 254 levels and reads 1,024; some of them are needed around a value."""

NO_CHANCE = -9999.0
"""For a log probability of -Infinity, which JSON cannot say (OpenAI's API writes the same figure for it)."""


def parse(data: bytes | str) -> Any:
    """A peer's JSON; raises ValueError. Laxer than orjson where chunks cut a surrogate pair; its halves come out as U+FFFD."""
    try:
        return orjson.loads(data)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        try:
            found = json.loads(data, parse_constant=_constant)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        return _writable(found, DEPTH_MAX)


def parse_object(text: str) -> Mapping[str, Any] | None:
    """Tool arguments as an object, {} for empty ones; None when they are none."""
    if not text.strip():
        return {}
    try:
        found = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None
    return found if isinstance(found, dict) else None


def fragment(arguments: str) -> orjson.Fragment | None:
    """Tool arguments to be spliced in as they stand, with the model's own numbers and order; None when they are no JSON object."""
    if not arguments.strip():
        return orjson.Fragment(b"{}")
    return orjson.Fragment(arguments) if parse_object(arguments) is not None else None


def dump(value: Any) -> bytes:
    """A value as JSON, whatever is in it: half surrogates are replaced, what is nested too deeply is null."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_writable(value, DEPTH_MAX))


def camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail) if head else name


def plain(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """One level of an object of the API with its names in camelCase. Where both spellings stand, the camelCase one counts."""
    if not any("_" in name for name in fields):
        return fields
    return {camel(name): value for name, value in fields.items() if "_" in name} | {k: v for k, v in fields.items() if "_" not in k}


def message(value: Any, path: str) -> Mapping[str, Any]:
    """An object of the API; raises Unfit."""
    return plain(mapping(value, path))


def messages(value: Any, path: str) -> list[Mapping[str, Any]]:
    """Objects of the API. A single one may stand for a list of one: Google's own first examples wrote `"parts": {"text": ...}`."""
    if isinstance(value, dict):
        return [plain(value)]
    return [message(one, f"{path}[{place}]") for place, one in enumerate(sequence(value, path))]


def _constant(name: str) -> float | None:
    return NO_CHANCE if name == "-Infinity" else None


def _writable(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if levels == 0:
        return None
    if isinstance(value, Mapping):
        return {_writable(str(key), 1): _writable(one, levels - 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(one, levels - 1) for one in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value) if abs(value) < 10**308 else None
    return value
