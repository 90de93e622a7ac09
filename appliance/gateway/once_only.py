"""Which requests must be sent to one backend, once: neither a copy for an experiment nor a second attempt beside them is harmless. Pure.

The rule: what a backend goes on from, adds to what it keeps, works off later by itself, or whose tools it calls itself, is done twice when
it is sent twice.
"""

from appliance.gateway.call import Call

STATEFUL = ("previous_response_id", "conversation", "background", "container", "mcp_servers")
"""Members of a request that say so: of the Responses API the first three, of Anthropic's Messages the others."""


def once_only(call: Call) -> bool:
    fields = call.parsed.fields
    if call.upload is not None or any(fields.get(name) for name in STATEFUL):
        return True
    tools = fields.get("tools")
    return isinstance(tools, list) and any(isinstance(one, dict) and one.get("type") == "mcp" for one in tools)
