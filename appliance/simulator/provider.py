"""The provider's own answers, before any fault: which endpoint, whose key, what body. Pure but for the clock it is handed.

The rule: one table of endpoints; each is a function from the request's JSON to a planned answer or an ApiError.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import orjson

from appliance.simulator.answer import Answer, Headers, refusal, whole
from appliance.simulator.api_error import BAD_JSON, NO_KEY, ApiError, unknown_model, unknown_url, wrong_key, wrong_method
from appliance.simulator.catalogue import find_model, model_list
from appliance.simulator.chat_answer import answer_chat, letters
from appliance.simulator.chat_request import parse_chat
from appliance.simulator.chat_wire import chat_to_wire
from appliance.simulator.completions import answer_completion
from appliance.simulator.embeddings import answer_embeddings
from appliance.simulator.model_name import ModelName
from appliance.simulator.prose import seed_of
from appliance.simulator.request import Request
from appliance.simulator.settings import Settings, Speed

# What the service reports of a generous account; they do not count down, so that answers repeat.
LIMIT_HEADERS: Headers = (
    (b"x-ratelimit-limit-requests", b"10000"),
    (b"x-ratelimit-limit-tokens", b"2000000"),
    (b"x-ratelimit-remaining-requests", b"9999"),
    (b"x-ratelimit-remaining-tokens", b"1999000"),
    (b"x-ratelimit-reset-requests", b"6ms"),
    (b"x-ratelimit-reset-tokens", b"30ms"),
)


@attrs.frozen
class Call:
    """A model endpoint's request, read as far as everybody needs: the JSON object, the model's name, its speed."""

    fields: Mapping[str, Any] = attrs.field(repr=False)
    model: ModelName
    speed: Speed
    headers: Headers


def answer_chat_call(call: Call, settings: Settings) -> Answer | ApiError:
    request = parse_chat(call.fields)
    if isinstance(request, ApiError):
        return request
    answer = answer_chat(request, call.model.bare, created=created(settings), tokens_max=settings.answer_tokens_max)
    return chat_to_wire(answer, request, call.speed, call.headers)


def answer_completion_call(call: Call, settings: Settings) -> Answer | ApiError:
    return answer_completion(
        call.fields, call.model.bare, call.speed, call.headers, created=created(settings), tokens_max=settings.answer_tokens_max
    )


def answer_embeddings_call(call: Call, settings: Settings) -> Answer | ApiError:
    del settings
    return answer_embeddings(call.fields, call.model.bare, call.speed, call.headers)


ENDPOINTS: Mapping[str, Callable[[Call, Settings], Answer | ApiError]] = {
    "/v1/chat/completions": answer_chat_call,
    "/v1/completions": answer_completion_call,
    "/v1/embeddings": answer_embeddings_call,
}


def answer_call(request: Request, call: Call, settings: Settings) -> Answer:
    """A POST."""
    if request.path not in ENDPOINTS:
        return refusal(misdirected(request))
    if settings.only_listed and call.model.bare not in settings.models:
        return refusal(unknown_model(call.model.asked))
    made = ENDPOINTS[request.path](call, settings)
    return refusal(made) if isinstance(made, ApiError) else made


def answer_models(model: ModelName, listed: tuple[str, ...], settings: Settings) -> Answer:
    """GET /v1/models and /v1/models/{id}; ids may hold slashes."""
    if not model.asked:
        return whole(model_list(listed))
    found = find_model(model.asked, model.bare, listed, only_listed=settings.only_listed)
    return refusal(found) if isinstance(found, ApiError) else whole(found)


def answer_plain(request: Request) -> Answer:
    """Any other request that is no POST."""
    if request.method == "GET" and request.path == "/health":
        return whole({"status": "ok"})
    return refusal(misdirected(request))


def check_key(request: Request, settings: Settings) -> ApiError | None:
    if not settings.require_key:
        return None
    given = request.header(b"authorization")
    scheme, _, key = given.partition(" ")
    if scheme.lower() != "bearer":
        key = request.header(b"api-key") or request.header(b"x-api-key")
    key = key.strip()
    if not key:
        return NO_KEY
    return None if key == settings.require_key else wrong_key(key)


def parse_fields(body: bytes) -> Mapping[str, Any] | ApiError:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return BAD_JSON
    return fields if isinstance(fields, dict) else BAD_JSON


def misdirected(request: Request) -> ApiError:
    """For a method and path that nothing serves."""
    known = request.path in ENDPOINTS or request.path == "/v1/models" or request.path.startswith("/v1/models/")
    return wrong_method(request.method, request.path) if known else unknown_url(request.method, request.path)


def usual_headers(body: bytes) -> Headers:
    """The service's own headers; the request id is derived from the body, so that it repeats too."""
    request_id = letters(seed_of(body.hex()), 32).lower()
    return (
        (b"openai-organization", b"simulator"),
        (b"openai-processing-ms", b"10"),
        (b"openai-version", b"2020-10-01"),
        (b"x-request-id", b"req_" + request_id.encode()),
        *LIMIT_HEADERS,
    )


def created(settings: Settings) -> int | None:
    return None if settings.clock is None else int(settings.clock())
