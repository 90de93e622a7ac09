"""Anthropic's endpoints: messages, their count of tokens, models."""

import re
from typing import Any

from appliance.simulator.answer import Answer, whole
from appliance.simulator.api_error import ApiError, unknown_model
from appliance.simulator.chat_answer import answer_chat
from appliance.simulator.chat_request import prompt_tokens
from appliance.simulator.language import Call, Endpoint, no_model
from appliance.simulator.languages.anthropic import ANTHROPIC
from appliance.simulator.languages.anthropic_errors import invalid
from appliance.simulator.languages.anthropic_request import parse_messages
from appliance.simulator.languages.anthropic_wire import messages_to_wire
from appliance.simulator.model_name import parse_model
from appliance.simulator.request import Request

VERSION = b"anthropic-version"
BETA = b"anthropic-beta"
PAGE_ELSE, PAGE_MAX = 20, 1000


def messages(call: Call) -> Answer | ApiError:
    if not call.request.header(VERSION):
        return invalid("anthropic-version: header is required")
    request = parse_messages(call.fields, beta=bool(call.request.header(BETA)))
    if isinstance(request, ApiError):
        return request
    answer = answer_chat(request.asked, call.model.bare, created=call.created, tokens_max=call.settings.answer_tokens_max)
    return messages_to_wire(answer, request, call.speed, call.headers)


def count_tokens(call: Call) -> Answer | ApiError:
    if not call.request.header(VERSION):
        return invalid("anthropic-version: header is required")
    request = parse_messages(call.fields, beta=bool(call.request.header(BETA)), counting=True)
    if isinstance(request, ApiError):
        return request
    return whole({"input_tokens": prompt_tokens(request.asked)}, headers=call.headers)


def models(call: Call) -> Answer | ApiError:
    """Pages of `limit`, after `after_id` or before `before_id`."""
    limit_text = call.request.parameter("limit") or str(PAGE_ELSE)
    if not limit_text.isdecimal() or not 1 <= int(limit_text[:9]) <= PAGE_MAX:
        return invalid(f"limit: Input should be a number from 1 to {PAGE_MAX}")
    ids, limit = list(call.listed), int(limit_text)
    after, before = call.request.parameter("after_id"), call.request.parameter("before_id")
    if after in ids:
        ids = ids[ids.index(after) + 1 :]
    if before in ids:
        ids = ids[: ids.index(before)]
        page, more = ids[-limit:], len(ids) > limit
    else:
        page, more = ids[:limit], len(ids) > limit
    shown = [model_entry(name) for name in page]
    return whole({"data": shown, "has_more": more, "first_id": page[0] if page else None, "last_id": page[-1] if page else None})


def model(call: Call) -> Answer | ApiError:
    asked = parse_model(call.parts["id"])
    if call.settings.only_listed and asked.bare not in call.listed:
        return unknown_model(asked.asked)
    return whole(model_entry(asked.asked))


def model_entry(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2025-06-15T00:00:00Z"}


def asks_as_anthropic(request: Request) -> bool:
    """Paths that OpenAI has, too."""
    return bool(request.header(VERSION))


ENDPOINTS = (
    Endpoint("POST", re.compile("/v1/messages"), ANTHROPIC, messages),
    Endpoint("POST", re.compile("/v1/messages/count_tokens"), ANTHROPIC, count_tokens),
    Endpoint("GET", re.compile("/v1/models/?"), ANTHROPIC, models, model=no_model, when=asks_as_anthropic),
    Endpoint("GET", re.compile("/v1/models/(?P<id>.+)"), ANTHROPIC, model, model=no_model, when=asks_as_anthropic),
)
