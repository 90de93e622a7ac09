"""Signature Version 4 as the receiving side checks it: the structure always, the signature where the secret key is known. Pure.

Written from the service's description alone, so that it can judge whoever signs:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. No clock is looked at: a simulator's may stand.
"""

import hashlib
import hmac
import re
from urllib.parse import parse_qsl, quote

import attrs

from appliance.simulator.request import Request

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "bedrock"
UNRESERVED = "-._~"
AUTHORIZATION = re.compile(ALGORITHM + r" +Credential=([^,\s]+), *SignedHeaders=([^,\s]+), *Signature=([0-9a-f]{64})")
DATE = re.compile(r"\d{8}T\d{6}Z")
MUST_SIGN = ("host", "x-amz-date")


@attrs.frozen
class Signed:
    """An Authorization header's parts. `scope` is date/region/service/aws4_request."""

    key_id: str
    scope: str
    headers: tuple[str, ...]
    signature: str


def read_authorization(value: str) -> Signed | None:
    match = AUTHORIZATION.fullmatch(value)
    if match is None:
        return None
    key_id, _, scope = match[1].partition("/")
    return Signed(key_id, scope, tuple(match[2].split(";")), match[3])


def signature_problem(request: Request, secret: str) -> str | None:
    """What the service would refuse it for, None for nothing. `secret` is that of every key id; "" if unknown, and nothing is computed."""
    signed = read_authorization(request.header(b"authorization"))
    if signed is None:
        return "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters."
    date = request.header(b"x-amz-date")
    if DATE.fullmatch(date) is None:
        return "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
    day, _, rest = signed.scope.partition("/")
    region, _, service = rest.partition("/")
    if day != date[:8] or not region or service != f"{SERVICE}/aws4_request":
        return f"Credential should be scoped to a valid date, region and correct service: '{SERVICE}'."
    missing = [name for name in MUST_SIGN if name not in signed.headers]
    if request.header(b"x-amz-security-token") and "x-amz-security-token" not in signed.headers:
        missing.append("x-amz-security-token")
    if missing or list(signed.headers) != sorted(signed.headers):
        return f"'{(missing or ['SignedHeaders'])[0]}' must be a 'SignedHeader' in the AWS Authorization."
    if not secret:
        return None
    expected = signature_of(request, signed, secret, date)
    if not hmac.compare_digest(expected, signed.signature):
        return (
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing "
            "method. Consult the service documentation for details."
        )
    return None


def signature_of(request: Request, signed: Signed, secret: str, date: str) -> str:
    canonical = "\n".join(
        (
            request.method,
            quote(request.raw_path.decode("latin-1"), safe="/" + UNRESERVED),  # encoded a second time, as for every service but S3
            canonical_query(request.query),
            *(f"{name}:{header_value(request, name)}" for name in signed.headers),
            "",
            ";".join(signed.headers),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    to_sign = "\n".join((ALGORITHM, date, signed.scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = b"AWS4" + secret.encode()
    for part in signed.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def canonical_query(query: bytes) -> str:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return "&".join(sorted(f"{quote(n, safe=UNRESERVED)}={quote(v, safe=UNRESERVED)}" for n, v in pairs))


def header_value(request: Request, name: str) -> str:
    """Every value of that name, white space squeezed."""
    values = [" ".join(v.decode("latin-1").split()) for n, v in request.headers if n == name.encode()]
    return ",".join(values)
