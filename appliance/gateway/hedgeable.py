"""Which requests may be asked for at two backends at once. Pure.

The rule: only where the second answer changes nothing anywhere, and what it costs can be told when it is broken off.
"""

from appliance.dialects.protocol import EMBEDDINGS, RERANK
from appliance.gateway.call import Call

HEDGED = frozenset({"chat", "text_completion", EMBEDDINGS, RERANK, "moderations"})
"""Operations that may be asked for twice. What a picture or speech that was broken off costs nobody can estimate; a count is free, and the
gateway can count itself."""

STATEFUL = ("previous_response_id", "conversation", "mcp_servers")
"""Members of a request that a backend goes on from, or adds to what it keeps; or whose tools the backend itself calls."""


def hedgeable(call: Call) -> bool:
    """Whether a request may be asked for at two backends at once."""
    parsed = call.parsed
    if parsed.operation not in HEDGED or call.upload is not None or any(parsed.fields.get(name) for name in STATEFUL):
        return False
    tools = parsed.fields.get("tools")
    return not (isinstance(tools, list) and any(isinstance(one, dict) and one.get("type") == "mcp" for one in tools))
