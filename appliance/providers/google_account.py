"""Where an account at Google Cloud has its tokens, its project and its endpoint from; and what the sources of tokens answer.

The rule: the order is that of Google's own libraries (cloud.google.com/docs/authentication/application-default-credentials), without the
file that gcloud leaves in a user's home: the configuration, GOOGLE_APPLICATION_CREDENTIALS, the metadata server.
"""

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs

from appliance.providers.account import LABEL, VISIBLE, BadAccount, Grant, Trouble, says_no, shown

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URL = "https://oauth2.googleapis.com/token"
ASSERTION_LIFE_S = 3600
"""The longest that Google accepts (developers.google.com/identity/protocols/oauth2/service-account)."""

METADATA_HOST = "metadata.google.internal"
METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
METADATA_HEADER = (b"metadata-flavor", b"Google")

MULTI_REGIONS = frozenset({"us", "eu"})
"""Locations with hosts of their own form (the SDKs of Google and Anthropic agree)."""

_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{0,99}")
_PEM = re.compile(r"-----BEGIN (?:RSA )?PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END (?:RSA )?PRIVATE KEY-----")
_LIFETIME_MAX_S = 86_400.0


@attrs.frozen
class ServiceAccount:
    """A key file of type service_account."""

    client_email: str
    private_key: str = attrs.field(repr=False)
    private_key_id: str = ""
    token_url: str = TOKEN_URL
    project: str = ""


@attrs.frozen
class AuthorizedUser:
    """A file of type authorized_user, as `gcloud auth application-default login` writes it."""

    client_id: str
    client_secret: str = attrs.field(repr=False)
    refresh_token: str = attrs.field(repr=False)
    token_url: str = TOKEN_URL
    project: str = ""


@attrs.frozen
class Metadata:
    """The metadata server of a machine, a pod or a service of Google's."""

    url: str


GoogleSource = ServiceAccount | AuthorizedUser | Metadata


def source_of(key_file: str, env: Mapping[str, str], read_file: Callable[[str], bytes]) -> GoogleSource | BadAccount:
    """The first source that is there.

    Args:
        key_file: the configured one's text, empty for none.
        read_file: the bytes of a file; raises OSError or ValueError.
    """
    if key_file:
        found = read_key_file(key_file)
        return BadAccount(f"service_account {found}") if isinstance(found, str) else found
    name = env.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if not name:
        return Metadata(f"http://{env.get('GCE_METADATA_HOST') or METADATA_HOST}")
    try:
        text = read_file(name).decode()
    except (OSError, ValueError):
        return BadAccount("service_account is not set, and the file that GOOGLE_APPLICATION_CREDENTIALS names cannot be read")
    found = read_key_file(text)
    if isinstance(found, str):
        return BadAccount(f"service_account is not set, and the file that GOOGLE_APPLICATION_CREDENTIALS names {found}")
    return found


def read_key_file(text: str) -> ServiceAccount | AuthorizedUser | str:
    """A key file; a string says what is wrong with it."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return "is no JSON: give the whole key file, as Google's console downloads it"
    if not isinstance(fields, dict):
        return "is no JSON object: give the whole key file, as Google's console downloads it"
    kind = fields.get("type")
    if kind == "service_account":
        needed: tuple[str, ...] = ("client_email", "private_key")
    elif kind == "authorized_user":
        needed = ("client_id", "client_secret", "refresh_token")
    elif kind is None:
        return 'lacks the field type, which was expected to be "service_account" or "authorized_user"'
    else:
        return f'is of type {shown(kind)}, which is not known here: expected "service_account" or "authorized_user"'
    lacking = [name for name in needed if not isinstance(fields.get(name), str) or not fields[name]]
    if lacking:
        return f"lacks {', '.join(lacking)}: expected {', '.join(needed)} in a file of type {kind}"
    url = fields.get("token_uri") or TOKEN_URL
    if not isinstance(url, str) or not _is_url(url):
        return "has a token_uri that is no https:// URL"
    project = fields.get("project_id") or fields.get("quota_project_id") or ""
    project = project if isinstance(project, str) else ""
    if kind == "authorized_user":
        return AuthorizedUser(fields["client_id"], fields["client_secret"], fields["refresh_token"], url, project)
    if not _is_pem(fields["private_key"]):
        return "has a private_key that is no PEM private key: check how it was copied (its line breaks are \\n in JSON)"
    key_id = fields.get("private_key_id")
    return ServiceAccount(fields["client_email"], fields["private_key"], key_id if isinstance(key_id, str) else "", url, project)


def _is_url(text: str) -> bool:
    """https, or http on this machine."""
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        return False
    if not VISIBLE.fullmatch(text) or not host:
        return False
    return url.scheme == "https" or (url.scheme == "http" and host in ("localhost", "127.0.0.1", "::1"))


def _is_pem(text: str) -> bool:
    found = _PEM.fullmatch(text.strip())
    try:
        return found is not None and bool(b64decode("".join(found[1].split()), validate=True))
    except binascii.Error:
        return False


def project_of(configured: str, source: GoogleSource | None, env: Mapping[str, str]) -> str | BadAccount:
    """The configured project, the key file's, or GOOGLE_CLOUD_PROJECT."""
    in_file = "" if source is None or isinstance(source, Metadata) else source.project
    project = configured or in_file or env.get("GOOGLE_CLOUD_PROJECT") or ""
    if not project:
        return BadAccount('project is missing: write the id of the project that pays, like project = "my-project"')
    return project if _PROJECT.fullmatch(project) else BadAccount("project is no project's id: write it as Google's console shows it")


def base_url_of(configured: str, project: str, location: str) -> str | BadAccount:
    """Below which the publishers' models are. configured: what Google's SDK calls base_url, perhaps with its /v1; empty for the
    location's own. project: empty for a key of Express mode, to which it is known. location: empty for `global`."""
    location = location or "global"
    if not LABEL.fullmatch(location):
        return BadAccount('location is no location\'s name: write it like "us-central1", or "global"')
    if configured:
        root = configured.rstrip("/").removesuffix("/v1")
    elif location == "global":
        root = "https://aiplatform.googleapis.com"
    elif location in MULTI_REGIONS:
        root = f"https://aiplatform.{location}.rep.googleapis.com"
    else:
        root = f"https://{location}-aiplatform.googleapis.com"
    return f"{root}/v1/projects/{project}/locations/{location}" if project else f"{root}/v1"


def claims_of(account: ServiceAccount, now: float) -> dict[str, Any]:
    """What the account asserts to get a token. now: wall time in Unix seconds."""
    issued = int(now)
    return {"iss": account.client_email, "scope": SCOPE, "aud": account.token_url, "iat": issued, "exp": issued + ASSERTION_LIFE_S}


def assertion_form(assertion: str) -> bytes:
    """The body of a request for a token in exchange for a signed assertion (RFC 7523 §2.1)."""
    return urlencode({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}, errors="replace").encode()


def refresh_form(user: AuthorizedUser) -> bytes:
    """The body of a request for a token in exchange for a user's refresh token (RFC 6749 §6)."""
    return urlencode({
        "grant_type": "refresh_token", "client_id": user.client_id, "client_secret": user.client_secret,
        "refresh_token": user.refresh_token,
    }, errors="replace").encode()  # fmt: skip


def read_token(status: int, fields: Mapping[str, Any] | None, what: str) -> Grant | Trouble:
    """What a token endpoint, and the metadata server, answer (RFC 6749 §5). fields: the JSON object, None where it was none."""
    fields = fields or {}
    if status != 200:
        code = fields.get("error")
        said = f" and said {shown(code)}" if code is not None else ""
        return Trouble(f"{what} answered {status}{said}", refused=says_no(status))
    token, lifetime_s = fields.get("access_token"), _seconds(fields.get("expires_in"))
    if not isinstance(token, str) or not VISIBLE.fullmatch(token):
        return Trouble(f"{what} gave an answer without a usable access_token")
    if lifetime_s is None:
        return Trouble(f"{what} gave an answer without a usable expires_in")
    return Grant(token, lifetime_s)


def _seconds(value: Any) -> float | None:
    """At most a day. Some servers write the number as a text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    return float(min(value, _LIFETIME_MAX_S))
