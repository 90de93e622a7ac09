"""What an application is told of a request: its ASGI scope (asgi.readthedocs.io, HTTP & WebSocket 2.4).

The rule: what a head says of its request is worked out once and shared by all its repeats on the connection; each request gets a copy.
"""

from typing import Any
from urllib.parse import unquote

from appliance.http1.asgi import Scope
from appliance.http1.request_head import HeadFacts, RequestHead
from appliance.http1.turn import Turn

ASGI = {"version": "3.0", "spec_version": "2.4"}

Address = tuple[str, int | None] | None
"""Host and port, or the path of a unix socket and None; None for a client without an address."""


def request_scope(head: RequestHead, turn: Turn, client: Address, local: Address, lifespan_state: dict[str, Any] | None) -> Scope:
    """The scope of one request. `turn` is its `extensions["http1"]`."""
    facts = head.facts
    shared = facts.shared_scope
    if shared is None:
        shared = facts.shared_scope = _shared(facts, client, local)
    scope = shared.copy()
    scope["headers"] = head.headers
    scope["extensions"] = {"http1": turn}
    if lifespan_state is not None:
        scope["state"] = lifespan_state.copy()
    return scope


def _shared(facts: HeadFacts, client: Address, local: Address) -> dict[str, Any]:
    path = facts.path.decode("ascii")
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": "1.1" if facts.http11 else "1.0",
        "method": facts.method.decode("ascii"),
        "scheme": "http",
        "path": unquote(path) if "%" in path else path,
        "raw_path": facts.path,
        "query_string": facts.query,
        "root_path": "",
        "client": client,
        "server": local,
    }
