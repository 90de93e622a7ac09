"""Liveness and readiness. Alive means that this process answers; ready means that a request sent here now has somewhere to go."""

import trio

from appliance.gateway.accounts import reason_of
from appliance.gateway.gateway import Gateway
from appliance.http1.asgi import Send
from appliance.server.reply import reply_json

NO_STORE = [(b"cache-control", b"no-store")]


def reasons_against(gateway: Gateway) -> list[str]:
    """Why the gateway is not ready; empty when it is."""
    reasons = []
    if gateway.live.draining:
        reasons.append("draining")
    upstreams, now = gateway.plan.upstreams, trio.current_time()
    if not upstreams:
        reasons.append("no backend configured")
    elif not any(upstream.state.available(now) for upstream in upstreams.values()):
        # Whoever would be asked counts, not the health gauge: a backend that failed and is to be tried again needs traffic to recover.
        reasons.append("no healthy backend")
    ledger = gateway.accounts.ledger.status()
    if ledger.fault is not None and ledger.refusing:
        reasons.append(reason_of(ledger.fault))
    return reasons


def doubts_of(gateway: Gateway) -> list[str]:
    """What an operator should see to although requests are served."""
    ledger = gateway.accounts.ledger.status()
    return [] if ledger.fault is None or ledger.refusing else [reason_of(ledger.fault)]


async def serve_live(send: Send) -> None:
    await reply_json(send, {"status": "ok"}, headers=NO_STORE)


async def serve_ready(gateway: Gateway, send: Send) -> None:
    reasons = reasons_against(gateway)
    if reasons:
        await reply_json(send, {"status": "not_ready", "reasons": reasons}, 503, NO_STORE)
    else:
        doubts = doubts_of(gateway)
        await reply_json(send, {"status": "ready", **({"warnings": doubts} if doubts else {})}, headers=NO_STORE)
