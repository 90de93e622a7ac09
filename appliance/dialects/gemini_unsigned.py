"""Requests of Gemini's own callers that Gemini 3 would refuse, since another vendor's model made the calls of the current turn, or the
caller lost their signatures.

The rule: only what Google itself looks at counts: the first call of each of the model's contents since the user last spoke
(ai.google.dev/gemini-api/docs/thought-signatures).
"""

from collections.abc import Mapping
from typing import Any

from appliance.dialects.gemini_json import plain
from appliance.dialects.gemini_model import wants_signatures


def lacks_signature(fields: Mapping[str, Any], model: str) -> bool:
    """Whether the request has to be written anew for this model, which then is told that nobody shall look."""
    contents = fields.get("contents")
    if not wants_signatures(model) or not isinstance(contents, list):
        return False
    for content in reversed(contents):
        parts = content.get("parts") if isinstance(content, dict) else None
        told = [plain(part) for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        if not isinstance(content, dict) or content.get("role", "user") == "model":
            first = next((part for part in told if part.get("functionCall") is not None), None)
            if first is not None and not first.get("thoughtSignature"):
                return True
        elif told and not any(part.get("functionResponse") is not None for part in told):
            return False
    return False
