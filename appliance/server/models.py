"""The door of the model list: what this key may ask for, in the caller's dialect."""

from urllib.parse import parse_qs

import trio

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.openai_chat import model_one, models_list
from appliance.gateway.admission import authenticate
from appliance.gateway.gateway import Gateway
from appliance.http1.asgi import Scope, Send
from appliance.server.inference import refuse_plainly
from appliance.server.reply import header_map, reply

OWNED_BY = "appliance"
PAGE_DEFAULT, PAGE_DIGITS_MAX = 50, 8


async def serve_models(gateway: Gateway, scope: Scope, send: Send, model: str, *, anonymous: bool) -> None:
    """GET /v1/models, or one of them when `model` is given (ids may hold slashes)."""
    plan = gateway.plan
    key = authenticate(plan, header_map(scope), scope["query_string"], gateway.wall_clock(), anonymous=anonymous)
    if isinstance(key, Fault):
        await refuse_plainly(gateway, scope, send, key)
        return
    limited, refusal = await gateway.accounts.allowances.admit_look(key)
    if refusal is not None:
        await refuse_plainly(gateway, scope, send, refusal, limited)
        return
    created = int(gateway.wall_clock() - (trio.current_time() - gateway.started_at))
    if not model:
        await reply(send, 200, _list(scope, plan.listed_models(key), created), headers=limited)
        return
    known = key.may_use(model) and not isinstance(plan.resolve(model, {}, 0, None, key.tenant), Fault)
    if known:
        await reply(send, 200, _one(scope, model, created), headers=limited)
        return
    message = f"the model {model[:80]!r} does not exist, or this key may not use it"
    unknown = Fault(FaultKind.UNKNOWN_MODEL, message, param="model", code="model_not_found")
    await refuse_plainly(gateway, scope, send, unknown, limited)


def _of_anthropics(scope: Scope) -> bool:
    return b"anthropic-version" in header_map(scope)  # every client of theirs says it, and no other


def _of_geminis(scope: Scope) -> bool:
    """Its path, or one of the headers that Google's clients say: google-genai asks under /v1, where OpenAI's list is."""
    headers = header_map(scope)
    return scope["path"].startswith("/v1beta/") or b"x-goog-api-key" in headers or b"x-goog-api-client" in headers


def _list(scope: Scope, ids: list[str], created: int) -> bytes:
    """The list in the caller's language; Anthropic's and Gemini's come in pages."""
    asked = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
    if _of_geminis(scope):
        from appliance.dialects.gemini import GEMINI  # see language_table for why so late

        return GEMINI.models_list(ids, page_size=_size(asked.get("pageSize", "")), page_token=asked.get("pageToken", ""))
    if _of_anthropics(scope):
        from appliance.dialects.anthropic import ANTHROPIC

        size = _size(asked.get("limit", ""))
        return ANTHROPIC.models_list(ids, created, limit=size, after=asked.get("after_id", ""), before=asked.get("before_id", ""))
    return models_list(ids, created, OWNED_BY)


def _one(scope: Scope, model: str, created: int) -> bytes:
    if _of_geminis(scope):
        from appliance.dialects.gemini import GEMINI

        return GEMINI.model_one(model)
    if _of_anthropics(scope):
        from appliance.dialects.anthropic import ANTHROPIC

        return ANTHROPIC.model_one(model, created)
    return model_one(model, created, OWNED_BY)


def _size(text: str) -> int:
    """Of a page. What is no number of a few digits asks for the default."""
    return int(text) if text.isdecimal() and len(text) < PAGE_DIGITS_MAX else PAGE_DEFAULT
