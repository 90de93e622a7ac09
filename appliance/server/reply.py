"""Plain answers over ASGI, and the few things that every door reads from a request."""

import orjson

from appliance.http1.asgi import Scope, Send

HeaderList = list[tuple[bytes, bytes]]
JSON = b"application/json"


async def reply(send: Send, status: int, body: bytes, content_type: bytes = JSON, headers: HeaderList | None = None) -> None:
    """A whole answer."""
    head = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def reply_json(send: Send, value: object, status: int = 200, headers: HeaderList | None = None) -> None:
    """A whole answer in indented JSON, for people with curl as much as for programs."""
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    await reply(send, status, body, JSON, headers)


def header_map(scope: Scope) -> dict[bytes, bytes]:
    """Request headers by lowercased name. Of a repeated one the first counts: a client's own comes before what is appended on the way."""
    return dict(reversed(scope["headers"]))


def bearer(headers: dict[bytes, bytes]) -> bytes | None:
    """The token of `Authorization: Bearer …`, None without one."""
    value = headers.get(b"authorization", b"")
    return value[7:].strip() if value[:7].lower() == b"bearer " else None
