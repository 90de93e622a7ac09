"""Why an answer ended: Gemini's `finishReason` and the canonical word, both ways, as two tables.

Source: ai.google.dev/api/generate-content#FinishReason; Vertex and google-genai know a few more.
"""

from appliance.core.completion import Finish

READ: dict[str, Finish] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",  # the limit of one request; the token to go on with is Google's own business
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MALFORMED_FUNCTION_CALL": "malformed_tool_call",
    "UNEXPECTED_TOOL_CALL": "malformed_tool_call",
}

WRITTEN: dict[Finish, str] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "tool_use": "STOP",
    "length": "MAX_TOKENS",
    "context_length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "malformed_tool_call": "MALFORMED_FUNCTION_CALL",
    "pause": "OTHER",
    "other": "OTHER",
    "": "OTHER",
}


def read_finish(reason: object, has_call: bool) -> Finish:
    """`finishReason` as a backend wrote it; "" for none. A call in this language is whole or not there, so it always counts."""
    if reason is None or reason == "FINISH_REASON_UNSPECIFIED":
        return ""
    if has_call:
        return "tool_use"
    return READ.get(reason, "other") if isinstance(reason, str) else "other"
