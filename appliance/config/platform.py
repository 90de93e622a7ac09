"""What a platform that runs containers tells by variables, as a part of the configuration.

One rule: it fills in what the configuration leaves open and never speaks against it; what came from here is called by its variable's name.
"""

from collections.abc import Mapping

import attrs

from appliance.config.document import Document, Fragment, merge

PORT_VARIABLE = "PORT"
"""Where a platform sends requests to (Railway, Heroku, Cloud Run, Render)."""
ORIGIN = "$" + PORT_VARIABLE


def on_port(document: Document, env: Mapping[str, str]) -> Document:
    """The document with `server.listen = ["[::]:$PORT"]` (all addresses, IPv4 too) where PORT is set and it has no server.listen.

    A PORT that is no port number becomes an address that the checker refuses, under this variable's name.
    """
    port = env.get(PORT_VARIABLE, "")
    server = document.table.get("server", {})
    if not port or not isinstance(server, dict) or "listen" in server:
        return document
    added = merge([Fragment(ORIGIN, {"server": {"listen": [f"[::]:{port}"]}})])
    table = {**document.table, "server": {**server, **added.table["server"]}}
    provenance = {steps: origin for steps, origin in added.provenance.items() if "listen" in steps}
    return attrs.evolve(document, table=table, provenance={**provenance, ("server",): ORIGIN, **document.provenance})
