"""Listener addresses: `127.0.0.1:8080`, `[::]:8080`, `unix:/path`, `fd:3`, `fd:NAME`.

One rule: parsing only; nothing is resolved or opened here.
"""

import re
from ipaddress import ip_address
from typing import Literal

import attrs

EXPECTED = 'like "127.0.0.1:8080", "[::]:8080", "unix:/run/appliance.sock", "fd:3" or "fd:NAME"'
UNIX_PATH_MAX_BYTES = 107
"""sun_path of unix(7) holds 108 bytes with the NUL."""
FD_MAX = 1 << 20
"""Far above any limit on open files in use; keeps a typing mistake from being taken for a number."""


@attrs.frozen
class Address:
    """Where to listen. `host` and `port` for tcp, `name` is the socket's path for unix, and the number or systemd name for fd."""

    kind: Literal["tcp", "unix", "fd"]
    host: str = ""
    port: int = 0
    name: str = ""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect. Unknown for a socket handed over, so no."""
        return self.kind == "unix" or (self.kind == "tcp" and is_loopback(self.host))


def parse_address(text: str) -> Address | str:
    """The address, or what is wrong with it in a few words. Port 0 lets the system choose."""
    scheme, _, rest = text.partition(":")
    if scheme == "unix":
        return _unix(rest)
    if scheme == "fd":
        return _fd(rest)
    host, colon, port_text = text.rpartition(":")
    if not colon:
        return "has no port"
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5 and int(port_text) <= 65535):
        return "has no valid port"
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ip(host, 6):
            return "has no valid IPv6 address in its brackets"
    elif not host:
        return "has no host"
    elif ":" in host:
        return "has an IPv6 address without brackets"
    elif not _is_ip(host, 4) and not _is_host_name(host):
        return "has no valid host"
    return Address("tcp", host=host, port=int(port_text))


def is_loopback(host: str) -> bool:
    """127.0.0.0/8, ::1 and `localhost` (RFC 6761 §6.3)."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost" or host.lower().endswith(".localhost")


def is_private(host: str) -> bool:
    """Whether a host is likely on the operator's own network: private ranges, names without a dot, and `.internal`, `.local`, `.lan`."""
    try:
        return ip_address(host).is_private
    except ValueError:
        name = host.rstrip(".").lower()
        return "." not in name or name.endswith((".internal", ".local", ".localhost", ".lan", ".home.arpa", ".svc"))


def _unix(path: str) -> Address | str:
    if not path:
        return "names no socket"
    if "\0" in path or len(path.encode(errors="replace")) > UNIX_PATH_MAX_BYTES:
        return f"names a socket with NUL or more than {UNIX_PATH_MAX_BYTES} bytes"
    return Address("unix", name=path)


def _fd(name: str) -> Address | str:
    if name.isascii() and name.isdigit() and (len(name) > 7 or int(name) > FD_MAX):
        return "names no open file"
    # systemd.socket(5): FileDescriptorName= is at most 255 printable characters, without a colon
    if not name or len(name) > 255 or ":" in name or not (name.isascii() and name.isprintable()):
        return "names no descriptor"
    return Address("fd", name=name)


def _is_ip(host: str, version: int) -> bool:
    try:
        return ip_address(host).version == version
    except ValueError:
        return False


def _is_host_name(host: str) -> bool:
    """RFC 1123 §2.1, and underscores, which container platforms use. A name of digits and dots alone is a mistyped address."""
    labels = host.rstrip(".").split(".")
    return all(map(_LABEL.fullmatch, labels)) and len(host) <= 253 and not host.replace(".", "").isdigit()


_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
