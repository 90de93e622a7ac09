"""An account at Amazon: the order of its sources, its region and endpoint, and what each source answers."""

import math
from urllib.parse import parse_qs

import pytest

from appliance.providers import aws_account
from appliance.providers.account import BadAccount, Grant, Trouble
from appliance.providers.aws_account import (
    Container,
    Fixed,
    Instance,
    Keys,
    WebIdentity,
    read_document,
    read_role,
    read_sts,
    region_of,
    source_of,
    web_identity_form,
)
from appliance.providers.sigv4 import Credentials

KEYS = Keys("AKIDCONFIG", "config-secret")
NOW = 1_800_000_000.0
IN_AN_HOUR = "2027-01-15T09:00:00Z"

VARIABLES = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "env-secret", "AWS_SESSION_TOKEN": "env-token"}
IDENTITY = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}
RELATIVE = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/1"}
POD = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/var/run/pod/token",
}
NO_INSTANCE = {"AWS_EC2_METADATA_DISABLED": "true"}

ORDER = [
    ("the configuration before all", KEYS, VARIABLES | IDENTITY | POD, Fixed(Credentials("AKIDCONFIG", "config-secret"))),
    ("variables before roles", Keys(), VARIABLES | IDENTITY | POD, Fixed(Credentials("AKIDENV", "env-secret", "env-token"))),
    ("web identity before the container", Keys(), IDENTITY | POD,
     WebIdentity("https://sts.eu-west-1.amazonaws.com", "arn:aws:iam::1:role/r", "appliance", "/var/run/token")),
    ("ECS", Keys(), RELATIVE | POD, Container("http://169.254.170.2/v2/credentials/1", "", "/var/run/pod/token")),
    ("EKS Pod Identity", Keys(), POD, Container("http://169.254.170.23/v1/credentials", "", "/var/run/pod/token")),
    ("the instance at last", Keys(), {}, Instance("http://169.254.169.254")),
    ("elsewhere", Keys(), {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1/"}, Instance("http://127.0.0.1:1")),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "env", "source"), [row[1:] for row in ORDER], ids=[row[0] for row in ORDER])
def test_the_first_source_that_is_there_is_the_one(keys: Keys, env: dict[str, str], source: object) -> None:
    assert source_of(keys, "eu-west-1", env) == source


MISSING = [
    (Keys("AKID"), {}, "secret_access_key is missing beside access_key_id"),
    (Keys("", "s"), {}, "access_key_id is missing beside secret_access_key"),
    (Keys("", "", "t"), {}, "access_key_id is missing beside session_token"),
    (Keys("AK ID", "s"), {}, "access_key_id holds white space"),
    (Keys(), {"AWS_ACCESS_KEY_ID": "AKID"}, "AWS_SECRET_ACCESS_KEY is missing beside AWS_ACCESS_KEY_ID"),
    (Keys(), NO_INSTANCE, "no other source of credentials is there"),
    (Keys(), {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/x"}, "neither an https:// URL nor"),
    (Keys(), {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[x/"}, "is no URL"),
]


@pytest.mark.parametrize(("keys", "env", "words"), MISSING)
def test_what_is_missing_is_told_by_its_name(keys: Keys, env: dict[str, str], words: str) -> None:
    found = source_of(keys, "eu-west-1", env)
    assert isinstance(found, BadAccount)
    assert words in found.reason


REGIONS = [
    ("us-east-1", "https://bedrock-runtime.eu-west-1.amazonaws.com", {"AWS_REGION": "ap-south-1"}, "us-east-1"),
    ("", "https://bedrock-runtime.eu-west-1.amazonaws.com", {"AWS_REGION": "ap-south-1"}, "eu-west-1"),
    ("", "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", {}, "us-gov-west-1"),
    ("", "https://vpce-0a.bedrock-runtime.eu-central-1.vpce.amazonaws.com", {}, "eu-central-1"),
    ("", "http://127.0.0.1:9", {"AWS_REGION": "ap-south-1", "AWS_DEFAULT_REGION": "x"}, "ap-south-1"),
    ("", "", {"AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2"),
]


@pytest.mark.parametrize(("configured", "base_url", "env", "region"), REGIONS)
def test_the_region_is(configured: str, base_url: str, env: dict[str, str], region: str) -> None:
    assert region_of(configured, base_url, env) == region


@pytest.mark.parametrize(("configured", "words"), [("", "region is missing"), ("us east", "no region's name"), ("x.example/", "no region")])
def test_a_region_that_cannot_be_is_told(configured: str, words: str) -> None:
    found = region_of(configured, "", {})
    assert isinstance(found, BadAccount)
    assert words in found.reason


def test_a_region_in_china_has_its_own_domain() -> None:
    assert aws_account.host_of("sts", "cn-north-1") == "sts.cn-north-1.amazonaws.com.cn"


GOOD = {"Code": "Success", "AccessKeyId": "ASIA1", "SecretAccessKey": "s/1+", "Token": "t==", "Expiration": IN_AN_HOUR}


def test_a_document_gives_credentials_and_their_life() -> None:
    found = read_document(200, GOOD, NOW, "it")
    assert found == Grant(Credentials("ASIA1", "s/1+", "t=="), 3600.0)
    assert set(found.secrets) == {b"ASIA1", b"s/1+", b"t=="}
    without_end = {key: value for key, value in GOOD.items() if key != "Expiration"}
    endless = read_document(200, without_end, NOW, "it")
    assert isinstance(endless, Grant)
    assert endless.lifetime_s == math.inf


DOCUMENTS = [
    (200, None, False, "without a usable AccessKeyId"),
    (200, {**GOOD, "SecretAccessKey": 5}, False, "without a usable SecretAccessKey"),
    (200, {**GOOD, "Token": "a\r\nb: c"}, False, "without a usable Token"),
    (200, {**GOOD, "Expiration": "soon"}, False, "without a usable Expiration"),
    (200, {**GOOD, "Expiration": "2027-01-15T09:00:00"}, False, "without a usable Expiration"),
    (200, {**GOOD, "Expiration": "2027-01-15T07:59:59Z"}, False, "have ended already"),
    (200, {"Code": "AssumeRoleUnauthorizedAccess", "Message": "hush"}, True, '"AssumeRoleUnauthorizedAccess"'),
    (403, {"code": "AccessDenied", "message": "hush"}, True, 'answered 403 and said "AccessDenied"'),
    (404, None, True, "answered 404"),
    (429, None, False, "answered 429"),
    (500, {"code": {"hush": 1}}, False, "something unreadable"),
]


@pytest.mark.parametrize(("status", "fields", "refused", "words"), DOCUMENTS)
def test_a_document_that_gives_nothing_is_trouble(status: int, fields: dict[str, object] | None, refused: bool, words: str) -> None:
    found = read_document(status, fields, NOW, "it")
    assert isinstance(found, Trouble)
    assert found.refused is refused
    assert words in found.words
    assert "hush" not in found.words


def test_a_role_is_the_first_line() -> None:
    assert read_role(200, b"my-role\nother") == "my-role"
    for status, body, refused in [(404, b"", True), (200, b"", False), (200, b"<html>", False), (200, b"../x", False), (401, b"", True)]:
        found = read_role(status, body)
        assert isinstance(found, Trouble)
        assert found.refused is refused


STS = b"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult><Credentials>
    <SessionToken>tok&amp;en==</SessionToken><SecretAccessKey>sec/ret</SecretAccessKey>
    <Expiration>2027-01-15T09:00:00Z</Expiration><AccessKeyId>ASIASTS</AccessKeyId>
  </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


def test_what_sts_answers_is_read() -> None:
    assert read_sts(200, STS, NOW) == Grant(Credentials("ASIASTS", "sec/ret", "tok&en=="), 3600.0)
    refused = read_sts(400, b"<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>hush</Message></Error></ErrorResponse>", NOW)
    assert isinstance(refused, Trouble)
    assert refused.refused
    assert refused.words == 'Amazon\'s STS answered 400 and said "InvalidIdentityToken"'


def test_a_web_identity_is_exchanged_in_a_form() -> None:
    source = source_of(Keys(), "eu-west-1", IDENTITY | {"AWS_ROLE_SESSION_NAME": "me"})
    assert isinstance(source, WebIdentity)
    form = parse_qs(web_identity_form(source, "a.b.c").decode())
    assert form == {
        "Action": ["AssumeRoleWithWebIdentity"], "Version": ["2011-06-15"], "RoleArn": ["arn:aws:iam::1:role/r"],
        "RoleSessionName": ["me"], "WebIdentityToken": ["a.b.c"],
    }  # fmt: skip


def test_nothing_shows_a_secret() -> None:
    container = Container("http://x", "hush")
    for value in (KEYS, Fixed(Credentials("hush", "hush", "hush")), container, Grant(Credentials("hush", "hush"), 1.0), Grant("hush", 1.0)):
        assert "hush" not in repr(value)
        assert "config-secret" not in repr(value)
