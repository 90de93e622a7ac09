"""Where an account at Amazon has its credentials, its region and its endpoint from; and what the sources of credentials answer.

The rule: the order is that of Amazon's own SDKs, as far as it goes without their files (docs.aws.amazon.com/sdkref/latest/guide/
standardized-credentials.html): the configuration, variables, web identity, the container's service, the instance's. The first that is
there is the one; when it fails, no other is tried in its place.
"""

import html
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs

from appliance.providers.account import LABEL, VISIBLE, BadAccount, Grant, Trouble, says_no, shown
from appliance.providers.sigv4 import Credentials

BEARER_VARIABLE = "AWS_BEARER_TOKEN_BEDROCK"
"""A Bedrock API key, which Amazon's SDKs take before any access key of the environment (docs.aws.amazon.com/bedrock/latest/userguide/
api-keys-use.html)."""

CONTAINER_URL = "http://169.254.170.2"
CONTAINER_HOSTS = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost", "127.0.0.1", "::1"})
"""Where a container's credentials may come from without TLS: ECS, EKS Pod Identity, this machine (as botocore has it, utils.py)."""

INSTANCE_URL = "http://169.254.169.254"
INSTANCE_PATH = "/latest/meta-data/iam/security-credentials/"
INSTANCE_TOKEN_PATH = "/latest/api/token"
INSTANCE_TOKEN_TTL_S = 300

STS_VERSION = "2011-06-15"
SESSION_NAME = "appliance"

_HOST_REGION = re.compile(r"(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.")
_ROLE = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
"""Names of roles (docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html)."""


@attrs.frozen
class Keys:
    """What the configuration says; empty where it says nothing."""

    access_key_id: str = attrs.field(default="", repr=False)
    secret_access_key: str = attrs.field(default="", repr=False)
    session_token: str = attrs.field(default="", repr=False)


@attrs.frozen
class Fixed:
    """Credentials that are known from the start; whoever set them has to change them before they end."""

    credentials: Credentials


@attrs.frozen
class WebIdentity:
    """A role that a token in a file stands for (EKS service accounts, OIDC): exchanged at Amazon's STS."""

    url: str
    role_arn: str
    session_name: str
    token_file: str


@attrs.frozen
class Container:
    """The service beside a container (ECS, EKS Pod Identity). `token` or `token_file` is what it wants to see."""

    url: str
    token: str = attrs.field(default="", repr=False)
    token_file: str = ""


@attrs.frozen
class Instance:
    """The metadata service of an EC2 instance, version 2 (the one with a token)."""

    url: str


AwsSource = Fixed | WebIdentity | Container | Instance


def region_of(configured: str, base_url: str, env: Mapping[str, str]) -> str | BadAccount:
    """The region to sign for: the configured one, the one in base_url's host, else AWS_REGION or AWS_DEFAULT_REGION."""
    try:
        in_host = _HOST_REGION.search(urlsplit(base_url).hostname or "")
    except ValueError:  # an odd bracket; which addresses are told apart so depends on Python's own version
        in_host = None
    region = configured or (in_host[1] if in_host else "") or env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or ""
    if not region:
        return BadAccount('region is missing, and neither AWS_REGION nor base_url names one: write it, like region = "us-east-1"')
    if not LABEL.fullmatch(region):
        return BadAccount('region is no region\'s name: write it like "us-east-1"')
    return region


def host_of(service: str, region: str) -> str:
    """The host of a service in a region: China has a domain of its own."""
    return f"{service}.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def source_of(keys: Keys, region: str, env: Mapping[str, str]) -> AwsSource | BadAccount:
    """The first source that is there."""
    given = _pair(keys, ("access_key_id", "secret_access_key", "session_token"))
    if given is None:
        variables = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        given = _pair(Keys(*(env.get(name, "") for name in variables)), variables)
        if isinstance(given, BadAccount):
            return BadAccount(f"access_key_id is not set, and of the environment's {given.reason}")
    if given is not None:
        return given if isinstance(given, BadAccount) else Fixed(given)
    if env.get("AWS_WEB_IDENTITY_TOKEN_FILE") and env.get("AWS_ROLE_ARN"):
        url = env.get("AWS_ENDPOINT_URL_STS") or f"https://{host_of('sts', region)}"
        name = env.get("AWS_ROLE_SESSION_NAME") or SESSION_NAME
        return WebIdentity(url, env["AWS_ROLE_ARN"], name, env["AWS_WEB_IDENTITY_TOKEN_FILE"])
    if env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") or env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return _container(env)
    if env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return BadAccount(
            "access_key_id is missing, and no other source of credentials is there: set it with secret_access_key, or api_key, or the"
            " AWS_ variables, or give the container or the instance a role"
        )
    return Instance((env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or INSTANCE_URL).rstrip("/"))


def _pair(keys: Keys, names: tuple[str, str, str]) -> Credentials | BadAccount | None:
    if not (keys.access_key_id or keys.secret_access_key or keys.session_token):
        return None
    if not keys.access_key_id:
        beside = names[1] if keys.secret_access_key else names[2]
        return BadAccount(f"{names[0]} is missing beside {beside}: write the id of that access key")
    if not keys.secret_access_key:
        return BadAccount(f"{names[1]} is missing beside {names[0]}: write the secret of that access key")
    for name, value in zip(names, (keys.access_key_id, keys.secret_access_key, keys.session_token), strict=True):
        if value and not VISIBLE.fullmatch(value):
            return BadAccount(f"{name} holds white space, control or non-ASCII characters: check how it was copied")
    return Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)


def _container(env: Mapping[str, str]) -> Container | BadAccount:
    relative = env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
    url = CONTAINER_URL + relative if relative else env["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return BadAccount("access_key_id is not set, and the environment's AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in CONTAINER_HOSTS):
        words = "names neither an https:// URL nor one of the addresses that container platforms use"
        return BadAccount(f"access_key_id is not set, and the environment's AWS_CONTAINER_CREDENTIALS_FULL_URI {words}")
    return Container(url, env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", ""), env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", ""))


def web_identity_form(source: WebIdentity, token: str) -> bytes:
    """The body of an AssumeRoleWithWebIdentity, which is not signed (docs.aws.amazon.com/STS/latest/APIReference)."""
    return urlencode({
        "Action": "AssumeRoleWithWebIdentity", "Version": STS_VERSION, "RoleArn": source.role_arn,
        "RoleSessionName": source.session_name, "WebIdentityToken": token,
    }, errors="replace").encode()  # fmt: skip


def read_role(status: int, body: bytes) -> str | Trouble:
    """The instance's role: the first line of the listing."""
    if status == 404:
        return Trouble("the instance metadata service knows no role of this instance", refused=True)
    name = body.split(b"\n", 1)[0].strip().decode("latin-1")
    if status != 200 or not _ROLE.fullmatch(name):
        return Trouble(f"the instance metadata service answered {status} when asked for the instance's role", refused=says_no(status))
    return name


def read_document(status: int, fields: Mapping[str, Any] | None, now: float, what: str) -> Grant | Trouble:
    """What the container's service and the instance's answer.

    Args:
        fields: the JSON object, None where it was none.
        now: wall time in Unix seconds.
        what: the source's name in words.
    """
    fields = fields or {}
    code = fields.get("Code") or fields.get("code")
    if status != 200 or code not in (None, "Success"):
        said = f" and said {shown(code)}" if code is not None else ""
        return Trouble(f"{what} answered {status}{said}", refused=status == 200 or says_no(status))
    names = ("AccessKeyId", "SecretAccessKey", "Token", "Expiration")
    return _grant([fields.get(name) for name in names], names, now, what)


def read_sts(status: int, body: bytes, now: float) -> Grant | Trouble:
    """What STS answers to `web_identity_form`, in XML."""
    text = body.decode("utf-8", "replace")
    if status != 200:
        code = _element(text, "Code")
        return Trouble(f"Amazon's STS answered {status}" + (f" and said {shown(code)}" if code else ""), refused=says_no(status))
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    return _grant([_element(text, name) for name in names], names, now, "Amazon's STS")


def _element(text: str, name: str) -> str | None:
    """The words of an element that holds no other; a few kilobytes of known form are not worth an XML parser."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", text)
    return html.unescape(found[1]).strip() if found else None


def _grant(values: list[Any], names: tuple[str, ...], now: float, what: str) -> Grant | Trouble:
    """From key, secret, token and end."""
    for name, value in zip(names[:3], values[:3], strict=True):
        if not isinstance(value, str) or not VISIBLE.fullmatch(value):
            return Trouble(f"{what} gave an answer without a usable {name}")
    lifetime_s = _lifetime_s(values[3], now)
    if lifetime_s is None:
        return Trouble(f"{what} gave an answer without a usable {names[3]}")
    if lifetime_s <= 0:
        return Trouble(f"{what} gave credentials that have ended already: this machine's clock may be ahead")
    return Grant(Credentials(values[0], values[1], values[2]), lifetime_s)


def _lifetime_s(end: Any, now: float) -> float | None:
    if end is None:
        return math.inf  # a container's service may give keys that do not end
    try:
        moment = datetime.fromisoformat(end)
    except (TypeError, ValueError):
        return None
    return moment.timestamp() - now if moment.tzinfo is not None else None
