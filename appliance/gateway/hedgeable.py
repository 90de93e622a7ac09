"""Which requests may be asked for at two backends at once. Pure.

The rule: only where the second answer changes nothing anywhere, and what it costs can be told when it is broken off.
"""

from appliance.dialects.protocol import EMBEDDINGS, RERANK
from appliance.gateway.call import Call
from appliance.gateway.once_only import once_only

HEDGED = frozenset({"chat", "text_completion", EMBEDDINGS, RERANK, "moderations"})
"""Operations that may be asked for twice. What a picture or speech that was broken off costs nobody can estimate; a count is free, and the
gateway can count itself."""


def hedgeable(call: Call) -> bool:
    """Whether a request may be asked for at two backends at once."""
    return call.parsed.operation in HEDGED and not once_only(call)
