"""The provider's own answers, before any fault: whose key, what body, which endpoint. Pure but for the clock it is handed.

The rule: it knows no language; `languages/table.py` says who answers.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from appliance.simulator.answer import Answer, whole
from appliance.simulator.api_error import BAD_JSON, ApiError, unknown_model, unknown_url, wrong_method
from appliance.simulator.form import boundary_of, read_form
from appliance.simulator.language import Call, Language, refusal
from appliance.simulator.languages.table import Found, path_known
from appliance.simulator.request import Request
from appliance.simulator.settings import Settings

HEALTH_PATH = "/health"


def answer_call(call: Call, found: Found) -> Answer | ApiError:
    if call.model.bare and call.settings.only_listed and call.model.bare not in call.settings.models:
        return unknown_model(call.model.asked)
    return found.endpoint.answer(call)


def answer_plain(request: Request, language: Language) -> Answer:
    """What no endpoint serves."""
    if request.method == "GET" and request.path == HEALTH_PATH:
        return whole({"status": "ok"})
    known = path_known(request.path)
    error = wrong_method(request.method, request.path) if known else unknown_url(request.method, request.path)
    return refusal(error, language)


def check_key(request: Request, language: Language, settings: Settings) -> ApiError | None:
    if not settings.require_key or request.path == HEALTH_PATH:
        return None
    return language.key_error(request, settings.require_key)


def read_fields(request: Request) -> Mapping[str, Any] | ApiError:
    """What a POST says, in JSON or as a form with files."""
    boundary = boundary_of(request.header(b"content-type"))
    return parse_fields(request.body) if boundary is None else read_form(request.body, boundary)


def parse_fields(body: bytes) -> Mapping[str, Any] | ApiError:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return BAD_JSON
    return fields if isinstance(fields, dict) else BAD_JSON
