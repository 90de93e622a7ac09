"""Where requests go: an origin, read once from a backend's base_url.

The rule: whatever is wrong with a base_url is said in words that never repeat it, since people do paste credentials into URLs.
"""

import ipaddress
import re
from typing import Literal
from urllib.parse import unquote, urlsplit

import attrs

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
_PATH = re.compile(r"[!-~]*")
_SCHEMES = ("http", "https", "http+unix")


@attrs.frozen
class BadOrigin:
    """Why a text is no base_url."""

    reason: str


@attrs.frozen
class Origin:
    """One server to connect to.

    Attributes:
        scheme: http or https.
        host, port: where to connect; the name checked in the certificate.
        host_header: value of the Host header; the port only where it is not the scheme's own.
        path_prefix: base_url's path without the slash at its end; goes in front of every target.
        unix_path: socket path of http+unix://%2Frun%2Fserver.sock/v1, else None.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    host_header: bytes
    path_prefix: bytes = b""
    unix_path: str | None = None

    @classmethod
    def parse(cls, base_url: str) -> "Origin | BadOrigin":
        """Reads http://host[:port][/path], https://… or http+unix://percent-encoded-socket-path[/path]."""
        try:
            parts = urlsplit(base_url.strip())
            port = parts.port
        except ValueError:
            return BadOrigin("is not a URL with a valid host and port")
        reason = _refusal(parts.scheme, parts.netloc, parts.path, "?" in base_url, "#" in base_url)
        if reason is not None:
            return BadOrigin(reason)
        prefix = parts.path.rstrip("/").encode("ascii")
        if parts.scheme == "http+unix":
            path = unquote(parts.netloc)
            if not path.startswith("/") or "\0" in path:
                return BadOrigin("needs an absolute socket path, percent-encoded: http+unix://%2Frun%2Fserver.sock")
            return cls("http", "localhost", 80, b"localhost", prefix, path)
        host = parts.hostname or ""
        if not _valid_host(host, bracketed="[" in parts.netloc):
            return BadOrigin("needs a host: a name in ASCII (xn-- form for others), an IPv4 address or an IPv6 address in brackets")
        if port == 0:
            return BadOrigin("port must be 1 to 65535")
        scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
        usual = 443 if scheme == "https" else 80
        name = f"[{host}]" if ":" in host else host
        header = name if port in (None, usual) else f"{name}:{port}"
        return cls(scheme, host, port or usual, header.encode("ascii"), prefix)

    def __str__(self) -> str:
        return f"unix:{self.unix_path}" if self.unix_path else f"{self.scheme}://{self.host_header.decode('ascii')}"


def _refusal(scheme: str, netloc: str, path: str, query: bool, fragment: bool) -> str | None:
    if scheme not in _SCHEMES:
        return "must start with http:// or https:// (or http+unix:// for a socket)"
    if not netloc:
        return "needs a host"
    if "@" in netloc:
        return "must not hold a user or password: secrets belong in api_key, not in URLs"
    if query or fragment:
        return "must not hold a query or a fragment: it is a base that paths are added to"
    if not _PATH.fullmatch(path):
        return "path must be printable ASCII; percent-encode the rest"
    return None


def _valid_host(host: str, *, bracketed: bool) -> bool:
    if bracketed:
        try:
            return ipaddress.ip_address(host).version == 6 and "%" not in host
        except ValueError:
            return False
    return _HOST.fullmatch(host) is not None
