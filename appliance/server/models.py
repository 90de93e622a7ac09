"""The door of the model list: what this key may ask for, in the caller's dialect."""

import trio

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.openai_chat import model_one, models_list
from appliance.gateway.admission import authenticate
from appliance.gateway.gateway import Gateway
from appliance.http1.asgi import Scope, Send
from appliance.server.inference import refuse_plainly
from appliance.server.reply import header_map, reply

OWNED_BY = "appliance"


async def serve_models(gateway: Gateway, scope: Scope, send: Send, model: str, *, anonymous: bool) -> None:
    """GET /v1/models, or one of them when `model` is given (ids may hold slashes)."""
    plan = gateway.plan
    key = authenticate(plan, header_map(scope), scope["query_string"], gateway.wall_clock(), anonymous=anonymous)
    if isinstance(key, Fault):
        await refuse_plainly(gateway, scope, send, key)
        return
    created = int(gateway.wall_clock() - (trio.current_time() - gateway.started_at))
    if not model:
        await reply(send, 200, models_list(plan.listed_models(key), created, OWNED_BY))
        return
    known = key.may_use(model) and not isinstance(plan.resolve(model, {}, 0), Fault)
    if known:
        await reply(send, 200, model_one(model, created, OWNED_BY))
        return
    message = f"the model {model[:80]!r} does not exist, or this key may not use it"
    await refuse_plainly(gateway, scope, send, Fault(FaultKind.UNKNOWN_MODEL, message, param="model", code="model_not_found"))
