"""What the HTTP engine answers by itself (a broken head, a body over its limit): on the public listener in the envelope of the dialect that
the path belongs to, on the admin listener in the shape of its other errors.
"""

import orjson

from appliance.core.fault import Fault, FaultKind
from appliance.server.paths import envelope_of

_KINDS = {
    404: FaultKind.NOT_FOUND,
    405: FaultKind.METHOD_NOT_ALLOWED,
    408: FaultKind.REQUEST_TIMEOUT,
    413: FaultKind.BODY_TOO_LARGE,
    500: FaultKind.INTERNAL,
    503: FaultKind.NO_BACKEND,
}


def render_refusal(status: int, reason: str, target: bytes) -> tuple[bytes, bytes]:
    """Content type and body of an engine's own answer."""
    fault = Fault(_KINDS.get(status, FaultKind.BAD_REQUEST), reason)
    return b"application/json", envelope_of(target.partition(b"?")[0].decode("latin-1")).error(fault, "")


def render_admin_refusal(status: int, reason: str, target: bytes) -> tuple[bytes, bytes]:
    """The same for the admin listener, which speaks no dialect."""
    del status, target
    return b"application/json", orjson.dumps({"error": reason}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
