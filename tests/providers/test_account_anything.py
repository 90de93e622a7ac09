"""Whatever a source of credentials answers, or a key file holds: a value comes back, nothing raises, and no secret of it is told."""

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.providers import aws_account, google_account
from appliance.providers.account import BadAccount, Grant, Trouble

LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes().map(str) | st.just("2027-01-15T09:00:00Z")
VALUE = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6)
STATUS = st.sampled_from([200, 204, 302, 400, 403, 404, 429, 500])
DOCUMENT_FIELDS = ("Code", "code", "AccessKeyId", "SecretAccessKey", "Token", "Expiration")
DOCUMENT = st.none() | st.fixed_dictionaries({}, optional=dict.fromkeys(DOCUMENT_FIELDS, VALUE))
TOKEN = st.none() | st.fixed_dictionaries({}, optional=dict.fromkeys(("access_token", "expires_in", "error"), VALUE))
KINDS = st.sampled_from(["service_account", "authorized_user"]) | VALUE
FILE_FIELDS = ("project_id", "private_key_id", "private_key", "client_email", "token_uri", "client_id", "client_secret", "refresh_token")
FILE = st.fixed_dictionaries({}, optional={"type": KINDS} | dict.fromkeys(FILE_FIELDS, VALUE))
ENV = st.dictionaries(st.sampled_from([
    "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
]), st.text())  # fmt: skip


def is_sound(found: Grant | Trouble) -> bool:
    return isinstance(found, Trouble) or (found.lifetime_s > 0 and not math.isnan(found.lifetime_s))


@given(STATUS, DOCUMENT)
def test_any_document(status: int, fields: dict[str, Any] | None) -> None:
    assert is_sound(aws_account.read_document(status, fields, 1_800_000_000.0, "it"))


def elements(text: str) -> bytes:
    return "".join(f"<{name}>{text}</{name}>" for name in ("AccessKeyId", "SessionToken", "Expiration", "Code")).encode(errors="replace")


@given(STATUS, st.binary() | st.text().map(elements))
def test_any_answer_of_sts_and_any_role(status: int, body: bytes) -> None:
    assert is_sound(aws_account.read_sts(status, body, 1_800_000_000.0))
    role = aws_account.read_role(status, body)
    assert isinstance(role, Trouble) or (role.isascii() and "/" not in role)


@given(STATUS, TOKEN)
def test_any_token(status: int, fields: dict[str, Any] | None) -> None:
    assert is_sound(google_account.read_token(status, fields, "it"))


@given(FILE | VALUE)
def test_any_key_file(value: Any) -> None:
    found = google_account.read_key_file(json.dumps(value))
    if isinstance(found, google_account.AuthorizedUser):
        assert b"grant_type" in google_account.refresh_form(found)
    elif isinstance(found, google_account.ServiceAccount):
        assert google_account.claims_of(found, 1.5)["iat"] == 1


@given(st.text(), st.text(), ENV)
def test_any_surroundings(configured: str, base_url: str, env: dict[str, str]) -> None:
    region = aws_account.region_of(configured, "https://" + base_url.replace("[", ""), env)
    assert isinstance(region, BadAccount) or region.isascii()
    aws_account.source_of(aws_account.Keys(), "us-east-1", env)
    for found in (google_account.project_of(configured, None, env), google_account.base_url_of("", "p", configured)):
        assert isinstance(found, BadAccount) or found.isascii()
