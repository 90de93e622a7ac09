"""A request as it was received, before anybody interpreted it."""

from urllib.parse import parse_qs

import attrs


@attrs.frozen
class Request:
    """`path` is percent-decoded, `raw_path` and `query` are not; `headers` as ASGI gives them (lower-case names)."""

    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    raw_path: bytes = b""

    def header(self, name: bytes) -> str:
        """The first value of that name, "" when there is none."""
        return next((v.decode("latin-1") for n, v in self.headers if n == name), "")

    def parameter(self, name: str) -> str:
        return parse_qs(self.query.decode("latin-1")).get(name, [""])[0]
