"""An account at Google Cloud: its sources, its project and endpoint, the assertion it signs, and what token endpoints answer."""

import base64
import json
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.providers.account import BadAccount, Grant, Trouble
from appliance.providers.google_account import (
    AuthorizedUser,
    GoogleSource,
    Metadata,
    ServiceAccount,
    assertion_form,
    base_url_of,
    claims_of,
    project_of,
    read_key_file,
    read_token,
    refresh_form,
    source_of,
)
from appliance.providers.rs256 import signed_token

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
FILE = {
    "type": "service_account", "project_id": "from-file", "private_key_id": "kid-1", "private_key": PEM,
    "client_email": "me@from-file.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
}  # fmt: skip
USER = {"type": "authorized_user", "client_id": "id", "client_secret": "hush", "refresh_token": "hush", "quota_project_id": "quota"}
NOW = 1_800_000_000.5


def no_file(name: str) -> bytes:
    raise FileNotFoundError(name)


def account() -> ServiceAccount:
    found = read_key_file(json.dumps(FILE))
    assert isinstance(found, ServiceAccount)
    return found


def test_the_first_source_that_is_there_is_the_one() -> None:
    variables = {"GOOGLE_APPLICATION_CREDENTIALS": "/k.json", "GCE_METADATA_HOST": "127.0.0.1:1"}
    files = {"/k.json": json.dumps(USER).encode()}
    assert source_of(json.dumps(FILE), variables, files.__getitem__) == account()
    user = source_of("", variables, files.__getitem__)
    assert user == AuthorizedUser("id", "hush", "hush", "https://oauth2.googleapis.com/token", "quota")
    assert source_of("", {"GCE_METADATA_HOST": "127.0.0.1:1"}, no_file) == Metadata("http://127.0.0.1:1")
    assert source_of("", {}, no_file) == Metadata("http://metadata.google.internal")


def without(*names: str) -> str:
    return json.dumps({name: value for name, value in FILE.items() if name not in names})


BAD_FILES = [
    ("{", "is no JSON"),
    ("[" * 100_000, "is no JSON"),
    ("[]", "is no JSON object"),
    ("{}", "lacks the field type"),
    (json.dumps({"type": "external_account"}), 'is of type "external_account"'),
    (without("private_key"), "lacks private_key: expected client_email, private_key"),
    (without("private_key", "client_email"), "lacks client_email, private_key"),
    (json.dumps({**FILE, "private_key": "hush"}), "no PEM private key"),
    (json.dumps({**FILE, "private_key": PEM.replace("\n", "\\n")}), "no PEM private key"),
    (json.dumps({**FILE, "token_uri": "http://example.com"}), "token_uri that is no https:// URL"),
    (json.dumps({"type": "authorized_user", "client_id": "x"}), "lacks client_secret, refresh_token"),
]


@pytest.mark.parametrize(("text", "words"), BAD_FILES)
def test_a_key_file_that_lacks_something_is_told_with_what_was_expected(text: str, words: str) -> None:
    found = source_of(text, {}, no_file)
    assert isinstance(found, BadAccount)
    assert found.reason.startswith("service_account ")
    assert words in found.reason
    assert "hush" not in found.reason
    named = source_of("", {"GOOGLE_APPLICATION_CREDENTIALS": "/k"}, lambda _: text.encode())
    assert isinstance(named, BadAccount)
    assert words in named.reason


def test_a_named_file_that_is_not_there_is_told() -> None:
    found = source_of("", {"GOOGLE_APPLICATION_CREDENTIALS": "/k"}, no_file)
    assert isinstance(found, BadAccount)
    assert "cannot be read" in found.reason


@pytest.mark.parametrize(
    ("configured", "source", "env", "project"),
    [
        ("mine", account(), {"GOOGLE_CLOUD_PROJECT": "env"}, "mine"),
        ("", account(), {"GOOGLE_CLOUD_PROJECT": "env"}, "from-file"),
        ("", Metadata("http://m"), {"GOOGLE_CLOUD_PROJECT": "env"}, "env"),
    ],
)
def test_the_project_is(configured: str, source: GoogleSource, env: dict[str, str], project: str) -> None:
    assert project_of(configured, source, env) == project


def test_a_project_that_cannot_be_is_told() -> None:
    for configured, words in [("", "project is missing"), ("a/b", "no project's id"), ("a b", "no project's id")]:
        found = project_of(configured, Metadata("http://m"), {})
        assert isinstance(found, BadAccount)
        assert words in found.reason


@pytest.mark.parametrize(
    ("configured", "location", "root"),
    [
        ("", "", "https://aiplatform.googleapis.com/v1/projects/p/locations/global"),
        ("", "global", "https://aiplatform.googleapis.com/v1/projects/p/locations/global"),
        ("", "us-central1", "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1"),
        ("", "eu", "https://aiplatform.eu.rep.googleapis.com/v1/projects/p/locations/eu"),
        ("http://127.0.0.1:9/", "europe-west1", "http://127.0.0.1:9/v1/projects/p/locations/europe-west1"),
        ("https://x.p.googleapis.com/v1", "europe-west1", "https://x.p.googleapis.com/v1/projects/p/locations/europe-west1"),
    ],
)
def test_the_endpoint_is(configured: str, location: str, root: str) -> None:
    assert base_url_of(configured, "p", location) == root


def test_a_location_stands_in_a_host_and_is_checked() -> None:
    assert isinstance(base_url_of("", "p", "evil.example/"), BadAccount)


def test_an_assertion_is_signed_so_that_the_public_key_verifies_it() -> None:
    token = signed_token(claims_of(account(), NOW), PEM, "kid-1")
    assert isinstance(token, str)
    head, claims, signature = token.split(".")
    KEY.public_key().verify(_plain(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), SHA256())
    assert json.loads(_plain(head)) == {"alg": "RS256", "typ": "JWT", "kid": "kid-1"}
    assert json.loads(_plain(claims)) == {
        "iss": FILE["client_email"], "scope": "https://www.googleapis.com/auth/cloud-platform", "aud": FILE["token_uri"],
        "iat": 1_800_000_000, "exp": 1_800_003_600,
    }  # fmt: skip


def test_googles_own_library_reads_the_assertion() -> None:
    jwt = pytest.importorskip("google.auth.jwt", reason="google-auth is not installed: the public key alone has to do")
    token = signed_token(claims_of(account(), NOW), PEM, "kid-1")
    assert isinstance(token, str)
    assert jwt.decode_header(token)["alg"] == "RS256"
    assert jwt.decode(token, verify=False)["iss"] == FILE["client_email"]


def _plain(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_a_key_that_cannot_sign_is_trouble() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for pem in (PEM[:200] + PEM[300:], curve):
        found = signed_token({}, pem)
        assert isinstance(found, Trouble)
        assert found.refused
        assert pem[60:90] not in found.words


def test_forms_are_what_the_standards_say() -> None:
    assert parse_qs(assertion_form("a.b.c").decode()) == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:jwt-bearer"], "assertion": ["a.b.c"],
    }  # fmt: skip
    user = read_key_file(json.dumps(USER))
    assert isinstance(user, AuthorizedUser)
    assert parse_qs(refresh_form(user).decode())["grant_type"] == ["refresh_token"]
    assert "hush" not in repr(user)
    assert "PRIVATE" not in repr(account())


def test_a_token_is_read() -> None:
    assert read_token(200, {"access_token": "ya29.x", "expires_in": 3599, "token_type": "Bearer"}, "it") == Grant("ya29.x", 3599.0)
    assert read_token(200, {"access_token": "ya29.x", "expires_in": "3599"}, "it") == Grant("ya29.x", 3599.0)


@pytest.mark.parametrize(
    ("status", "fields", "refused", "words"),
    [
        (200, None, False, "without a usable access_token"),
        (200, {"access_token": "a\r\nb", "expires_in": 5}, False, "without a usable access_token"),
        (200, {"access_token": "a", "expires_in": True}, False, "without a usable expires_in"),
        (200, {"access_token": "a", "expires_in": -1}, False, "without a usable expires_in"),
        (200, {"access_token": "a"}, False, "without a usable expires_in"),
        (400, {"error": "invalid_grant", "error_description": "hush"}, True, 'answered 400 and said "invalid_grant"'),
        (503, None, False, "answered 503"),
        (429, {"error": {"hush": 1}}, False, "something unreadable"),
    ],
)
def test_an_answer_without_a_token_is_trouble(status: int, fields: dict[str, object] | None, refused: bool, words: str) -> None:
    found = read_token(status, fields, "it")
    assert isinstance(found, Trouble)
    assert found.refused is refused
    assert words in found.words
    assert "hush" not in found.words
