"""The request target and Host: where a request is addressed, in origin-form, absolute-form or asterisk-form (RFC 9112 §3.2). Pure.

The rule: target and Host may not name two different places, since the next reader in the chain could believe the other one.
"""

import re

from appliance.http1.refusal import Refusal

# reg-name without the sub-delims that no host name uses, an IPv4 address, or an IPv6 address in brackets; then an optional port.
HOST = re.compile(rb"(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?\])(?::[0-9]{0,5})?")
ABSOLUTE = re.compile(rb"(https?)://([^/?]*)(.*)", re.IGNORECASE)


def split_target(method: bytes, target: bytes, host: bytes | None) -> tuple[bytes, bytes] | Refusal:
    """(path, query) of a target, both still percent-encoded; `host` is the Host header or None when there was none."""
    if host is not None and HOST.fullmatch(host) is None:
        return Refusal(400, "malformed Host", target)
    if b"#" in target:
        return Refusal(400, "fragment in the request target", target)
    if target[0] == 0x2F:  # "/", nearly always
        path, _, query = target.partition(b"?")
        return path, query
    if target == b"*":
        if method != b"OPTIONS":
            return Refusal(400, "malformed request target", target)
        return target, b""
    absolute = ABSOLUTE.fullmatch(target)
    if absolute is None:
        return Refusal(400, "malformed request target", target)
    scheme, authority, rest = absolute.groups()
    if HOST.fullmatch(authority) is None:
        return Refusal(400, "malformed request target", target)
    if host is not None and _origin(authority, scheme) != _origin(host, scheme):
        return Refusal(400, "the request target and Host name different places", target)
    path, _, query = rest.partition(b"?")
    return path or b"/", query


def _origin(authority: bytes, scheme: bytes) -> tuple[bytes, bytes]:
    """Host and port, comparable: lowercased, the scheme's default port filled in (RFC 9110 §4.2.3)."""
    name, _, port = authority.lower().rpartition(b":") if re.search(rb":[0-9]*\Z", authority) else (authority.lower(), b"", b"")
    return name, port.lstrip(b"0") or (b"443" if scheme.lower() == b"https" else b"80")
