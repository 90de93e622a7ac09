"""What every connection of a server shares: what it was built with, and two values that change while it runs."""

from collections.abc import Callable
from typing import Any

import attrs

from appliance.http1.asgi import App, Scope
from appliance.http1.refusal import OnRefusal, RenderRefusal
from appliance.http1.server_limits import ServerLimits

OnError = Callable[[Exception, Scope], None]


@attrs.define(eq=False)
class ServerState:
    """`date_line` is the Date header with its CRLF, renewed by the sweeper; once `draining` every answer ends its connection.

    `lifespan_state` is what the application put into its lifespan scope's state; each request gets a shallow copy (ASGI lifespan spec)."""

    app: App
    limits: ServerLimits
    render_refusal: RenderRefusal
    on_error: OnError
    on_refusal: OnRefusal | None
    lifespan_state: dict[str, Any] | None = None
    date_line: bytes = b""
    draining: bool = False
