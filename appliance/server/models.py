"""The door of the model list: what this key may ask for, in the caller's dialect."""

from urllib.parse import parse_qs

import trio

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.openai_chat import model_one, models_list
from appliance.gateway.admission import authenticate
from appliance.gateway.gateway import Gateway
from appliance.http1.asgi import Scope, Send
from appliance.server.inference import refuse_plainly
from appliance.server.reply import header_map, reply

OWNED_BY = "appliance"
PAGE_DEFAULT = 20


async def serve_models(gateway: Gateway, scope: Scope, send: Send, model: str, *, anonymous: bool) -> None:
    """GET /v1/models, or one of them when `model` is given (ids may hold slashes)."""
    plan = gateway.plan
    key = authenticate(plan, header_map(scope), scope["query_string"], gateway.wall_clock(), anonymous=anonymous)
    if isinstance(key, Fault):
        await refuse_plainly(gateway, scope, send, key)
        return
    created = int(gateway.wall_clock() - (trio.current_time() - gateway.started_at))
    anthropic = b"anthropic-version" in header_map(scope)  # every client of theirs says it, and no other
    if not model:
        ids = plan.listed_models(key)
        await reply(send, 200, _page(ids, created, scope["query_string"]) if anthropic else models_list(ids, created, OWNED_BY))
        return
    known = key.may_use(model) and not isinstance(plan.resolve(model, {}, 0), Fault)
    if known:
        await reply(send, 200, ANTHROPIC.model_one(model, created) if anthropic else model_one(model, created, OWNED_BY))
        return
    message = f"the model {model[:80]!r} does not exist, or this key may not use it"
    await refuse_plainly(gateway, scope, send, Fault(FaultKind.UNKNOWN_MODEL, message, param="model", code="model_not_found"))


def _page(ids: list[str], created: int, query: bytes) -> bytes:
    """Anthropic's list comes in pages."""
    asked = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
    limit = asked.get("limit", "")
    size = int(limit) if limit.isdigit() and len(limit) < 8 else PAGE_DEFAULT
    return ANTHROPIC.models_list(ids, created, limit=size, after=asked.get("after_id", ""), before=asked.get("before_id", ""))
