"""Top-level fields that the operator sets, or a vendor wants, in a request that was written anew. (One that passes verbatim is spliced
instead.)
"""

from collections.abc import Collection, Mapping
from typing import Any

import orjson

GROUPS = frozenset({"generationConfig", "generation_config", "inferenceConfig", "additionalModelRequestFields"})
"""Members of Gemini's and Bedrock's requests that hold settings, where other languages have these at the top: what an operator sets in one
of them leaves the others in it alone. Any other value is replaced whole: halves of two would be neither (`thinking`, `response_format`).
"""


def overridden(body: bytes, fields: Mapping[str, Any], without: Collection[str] = (), lifted: str = "") -> bytes:
    """`body`, a JSON object, with these members set and those left out; `lifted` names a member whose own take its place before that."""
    kept = orjson.loads(body)
    if lifted in kept:
        inner = kept.pop(lifted)
        kept = {**kept, **inner}
    for name in without:
        kept.pop(name, None)
    return orjson.dumps({**kept, **grouped(kept, fields)})


def grouped(kept: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with what stands in the groups of `kept` beside what they set there."""
    return {name: _joined(kept.get(name), value) if name in GROUPS else value for name, value in fields.items()}


def _joined(before: Any, value: Any) -> Any:
    return {**before, **value} if isinstance(before, Mapping) and isinstance(value, Mapping) else value
