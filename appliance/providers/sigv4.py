"""Amazon's Signature Version 4: a request signed with an access key, as a pure function of what is sent and when.

The rule: what is signed is what goes over the wire. Header lines that a transport or a proxy may write anew are left out, and a path is
encoded once more on top of what its own escapes say, as every service but S3 wants it
(docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
"""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import attrs

ALGORITHM = "AWS4-HMAC-SHA256"

UNSIGNED = frozenset({
    b"accept-encoding", b"authorization", b"connection", b"content-length", b"expect", b"keep-alive", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"user-agent", b"x-amz-date", b"x-amz-security-token", b"x-amzn-trace-id",
})  # fmt: skip
"""Never taken from the caller of `sign`: they change on the way, or this module writes them itself."""


@attrs.frozen
class Credentials:
    """session_token: of temporary credentials, empty for those of a user."""

    access_key_id: str = attrs.field(repr=False)
    secret_access_key: str = attrs.field(repr=False)
    session_token: str = attrs.field(default="", repr=False)


Header = tuple[bytes, bytes]


def sign(
    method: str, target: str, headers: Iterable[Header], body: bytes, *, credentials: Credentials, region: str, service: str, now: float
) -> list[Header]:
    """The header lines that prove who asks, to be sent with the others: x-amz-date, x-amz-security-token where there is one, authorization.

    Args:
        target: in origin form, as on the wire: path and query.
        headers: names in any case; `host` has to be among them. All but `UNSIGNED` are signed, so they have to go out as they are here.
        service: its signing name: "bedrock" for bedrock-runtime.
        now: wall time in Unix seconds. Amazon refuses what is more than five minutes off.
    """
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    added: list[Header] = [(b"x-amz-date", moment.encode())]
    if credentials.session_token:
        added.append((b"x-amz-security-token", credentials.session_token.encode("latin-1", "replace")))
    kept = [(name.lower(), value) for name, value in headers]
    signed = canonical_headers([*((name, value) for name, value in kept if name not in UNSIGNED), *added])
    request = canonical_request(method, target, signed, body)
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request).hexdigest()}"
    key = signing_key(credentials.secret_access_key, moment[:8], region, service)
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    proof = f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={_names(signed)}, Signature={signature}"
    return [*added, (b"authorization", proof.encode("latin-1", "replace"))]


def canonical_headers(headers: Iterable[Header]) -> list[Header]:
    """One line for each name, in the order of names; values of one name joined by commas, runs of white space as one space."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(b" ".join(value.split()))
    return [(name, b",".join(values[name])) for name in sorted(values)]


def canonical_request(method: str, target: str, signed: list[Header], body: bytes) -> bytes:
    """What is hashed and signed. signed: from `canonical_headers`."""
    path, _, query = target.partition("?")
    lines = [
        method.encode(),
        quote(_without_dots(path), safe="/-_.~").encode(),
        _canonical_query(query).encode(),
        *(name + b":" + value for name, value in signed),
        b"",
        _names(signed).encode(),
        hashlib.sha256(body).hexdigest().encode(),
    ]
    return b"\n".join(lines)


def signing_key(secret_access_key: str, day: str, region: str, service: str) -> bytes:
    """The key of one day, region and service: a chain of four HMACs. day: as in 20150830."""
    key = b"AWS4" + secret_access_key.encode()
    for step in (day, region, service, "aws4_request"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    return key


def _names(signed: list[Header]) -> str:
    return ";".join(name.decode("latin-1") for name, _ in signed)


def _without_dots(path: str) -> str:
    """The path without empty, `.` and `..` segments (RFC 3986 §5.2.4, and repeated slashes as one); a slash at the end stays."""
    out: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del out[-1:]
        elif segment not in ("", "."):
            out.append(segment)
    ends = "/" if out and path.rpartition("/")[2] in ("", ".", "..") else ""
    return "/" + "/".join(out) + ends


def _canonical_query(query: str) -> str:
    """Sorted by encoded name, then by encoded value."""
    if not query:
        return ""
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return "&".join(f"{name}={value}" for name, value in sorted((_encoded(name), _encoded(value)) for name, _, value in pairs))


def _encoded(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape")
