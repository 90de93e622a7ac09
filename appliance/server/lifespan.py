"""ASGI lifespan, for servers that ask: the gateway's parts are started by its supervisor, so there is nothing to do but to agree."""

from appliance.http1.asgi import Receive, Send


async def serve_lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
