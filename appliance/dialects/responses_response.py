"""The response object of an answer to a caller, without its output: what the request asked for, how it ended, what it cost.

The rule: every member that the API's reference requires is there, in OpenAI's order; what was not asked for has the value it stands for.
"""

import hashlib
import re
from typing import Any

import orjson

from appliance.core.completion import Finish
from appliance.core.conversation import Conversation, ReasoningWish
from appliance.core.usage import Usage
from appliance.dialects.codec import Reply
from appliance.dialects.fields import Unfit
from appliance.dialects.responses_input_writer import system_text
from appliance.dialects.responses_request import EFFORTS
from appliance.dialects.responses_request_writer import write_format
from appliance.dialects.responses_tools import write_choice, write_tools

RESPONSE_PREFIX = "resp_"
TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
MALFORMED = {"code": "server_error", "message": "the model wrote a tool call that cannot be read: try again"}

_INCOMPLETE: dict[Finish, str] = {
    "length": "max_output_tokens", "context_length": "max_output_tokens", "content_filter": "content_filter",
}  # fmt: skip
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def response_id(given: str, made: str) -> str:
    """The backend's id, or ours where it gave none, as this API writes them."""
    one = given or made
    return one if one.startswith(RESPONSE_PREFIX) else RESPONSE_PREFIX + _UNSAFE.sub("_", one)


def item_id(prefix: str, response: str, number: int) -> str:
    """The id of item `number` of a response: whole or streamed the same, and short enough (64) to come back in a later input."""
    return f"{prefix}_{hashlib.sha256(f'{response}/{number}'.encode('utf-8', 'replace')).hexdigest()[:40]}"


def shell(reply: Reply, identity: str, created: int, service_tier: str) -> dict[str, Any]:
    """A response that has just begun. `output` and what changes at the end are replaced by others."""
    asked = reply.conversation
    tier = service_tier or asked.service_tier
    return {
        "id": identity,
        "object": "response",
        "created_at": created or reply.created,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": system_text(asked.messages) or None,
        "max_output_tokens": asked.max_tokens,
        "max_tool_calls": None,
        "model": reply.model,
        "output": [],
        "parallel_tool_calls": asked.parallel_tools is not False,
        "previous_response_id": asked.previous or None,
        "prompt_cache_key": asked.cache_key or None,
        "reasoning": _reasoning(asked.reasoning),
        "safety_identifier": None,
        "service_tier": tier if tier in TIERS else None,
        "store": False,  # nothing that was translated can be asked for again
        "temperature": asked.sampling.temperature,
        "text": {"format": _format(asked), "verbosity": asked.verbosity or "medium"},
        "tool_choice": _choice(asked),
        "tools": _tools(asked),
        "top_logprobs": asked.sampling.top_logprobs or 0,
        "top_p": asked.sampling.top_p,
        "truncation": asked.extra.get("truncation", "disabled"),
        "usage": None,
        "user": asked.user or None,
        "metadata": dict(asked.metadata),
    }


def _reasoning(wish: ReasoningWish | None) -> dict[str, Any]:
    effort = wish.effort if wish is not None and wish.effort in EFFORTS else None
    return {"effort": effort, "summary": (wish.summary if wish is not None else "") or None}


def _choice(asked: Conversation) -> Any:
    try:
        return write_choice(asked.tool_choice, asked.tools) if asked.tool_choice is not None else "auto"
    except Unfit:
        return "auto"


def _tools(asked: Conversation) -> Any:
    return _fragment(write_tools(asked.tools, None, []), [])


def _format(asked: Conversation) -> Any:
    plain = {"type": "text"}
    return _fragment(write_format(asked.output), plain) if asked.output is not None else plain


def _fragment(value: Any, otherwise: Any) -> Any:
    """Written once, since a stream says it three times; `otherwise` for what is nested too deeply to be said."""
    try:
        return orjson.Fragment(orjson.dumps(value))
    except (TypeError, RecursionError):
        return otherwise


def ending(finish: Finish, refused: bool) -> dict[str, Any]:
    """What a finish reason changes in the response. refused: the answer holds a refusal in words, so that the caller can tell."""
    if finish == "malformed_tool_call":
        return {"status": "failed", "error": MALFORMED}
    reason = _INCOMPLETE.get(finish) or ("content_filter" if finish == "refusal" and not refused else "")
    return {"status": "incomplete", "incomplete_details": {"reason": reason}} if reason else {"status": "completed"}


def write_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens, "cache_write_tokens": usage.cache_write_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
