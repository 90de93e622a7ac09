"""Requests are signed as Amazon's published test suite says, and as its own library does it."""

import calendar
import datetime
import time

import pytest

from appliance.providers.sigv4 import Credentials, sign, signing_key

SUITE = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
MOMENT = calendar.timegm((2015, 8, 30, 12, 36, 0))
HOST = (b"Host", b"example.amazonaws.com")
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SLASH_ONLY = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
PLAIN = "host;x-amz-date"
MINE = "host;my-header1;x-amz-date"

# The signatures that github.com/awslabs/aws-c-auth (tests/aws-signing-test-suite/v4) publishes for headers; the long-lived vectors of
# docs.aws.amazon.com/general/latest/gr/signature-v4-test-suite.html.
VECTORS = [
    ("get-vanilla", "GET", "/", [], b"", PLAIN, SLASH_ONLY),
    ("get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", [], b"", PLAIN,
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ("get-vanilla-query-unreserved", "GET", f"/?{UNRESERVED}={UNRESERVED}", [], b"", PLAIN,
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
    ("get-vanilla-empty-query-key", "GET", "/?Param1=value1", [], b"", PLAIN,
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
    ("get-utf8", "GET", "/ሴ", [], b"", PLAIN, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ("get-relative", "GET", "/example/..", [], b"", PLAIN, SLASH_ONLY),
    ("get-relative-relative", "GET", "/example1/example2/../..", [], b"", PLAIN, SLASH_ONLY),
    ("get-slash", "GET", "//", [], b"", PLAIN, SLASH_ONLY),
    ("get-slash-dot-slash", "GET", "/./", [], b"", PLAIN, SLASH_ONLY),
    ("get-slashes", "GET", "//example//", [], b"", PLAIN, "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    ("get-slash-pointless-dot", "GET", "/./example", [], b"", PLAIN,
     "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"),
    ("get-space", "GET", "/example space/", [], b"", PLAIN, "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
    ("post-vanilla", "POST", "/", [], b"", PLAIN, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ("post-vanilla-query", "POST", "/?Param1=value1", [], b"", PLAIN,
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"),
    ("get-header-key-duplicate", "GET", "/",
     [(b"My-Header1", b"value2"), (b"My-Header1", b"value2"), (b"My-Header1", b"value1")], b"", MINE,
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"),
    ("get-header-value-order", "GET", "/",
     [(b"My-Header1", b"value4"), (b"My-Header1", b"value1"), (b"My-Header1", b"value3"), (b"My-Header1", b"value2")], b"", MINE,
     "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"),
    ("get-header-value-trim", "GET", "/", [(b"My-Header1", b" value1"), (b"My-Header2", b' "a   b   c"')], b"",
     "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
    ("post-header-value-case", "POST", "/", [(b"My-Header1", b"VALUE1")], b"", MINE,
     "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"),
    ("post-x-www-form-urlencoded", "POST", "/",
     [(b"Content-Type", b"application/x-www-form-urlencoded"), (b"Content-Length", b"13")], b"Param1=value1",
     "content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
    ("post-x-www-form-urlencoded-parameters", "POST", "/",
     [(b"Content-Type", b"application/x-www-form-urlencoded; charset=utf8"), (b"Content-Length", b"13")], b"Param1=value1",
     "content-type;host;x-amz-date", "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"),
]  # fmt: skip


def proof(signed: list[tuple[bytes, bytes]]) -> str:
    return dict(signed)[b"authorization"].decode()


@pytest.mark.parametrize(("name", "method", "target", "headers", "body", "names", "signature"), VECTORS, ids=[one[0] for one in VECTORS])
def test_the_published_vectors_are_signed_as_published(name, method, target, headers, body, names, signature):
    signed = sign(method, target, [HOST, *headers], body, credentials=SUITE, region="us-east-1", service="service", now=MOMENT)
    assert proof(signed) == (
        f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={names}, Signature={signature}"
    )
    assert dict(signed)[b"x-amz-date"] == b"20150830T123600Z"


def test_a_session_token_is_sent_and_signed():
    token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
    credentials = Credentials(SUITE.access_key_id, SUITE.secret_access_key, token)
    signed = sign("GET", "/", [HOST], b"", credentials=credentials, region="us-east-1", service="service", now=MOMENT)
    assert dict(signed)[b"x-amz-security-token"] == token.encode()
    assert proof(signed).endswith(
        "SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"
    )


def test_the_signing_key_is_the_published_chain():
    key = signing_key(SUITE.secret_access_key, "20120215", "us-east-1", "iam")
    assert key.hex() == "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"


def test_signing_again_replaces_the_old_proof():
    headers = [HOST, (b"Content-Type", b"application/json")]
    first = sign("POST", "/a", headers, b"{}", credentials=SUITE, region="us-east-1", service="bedrock", now=MOMENT)
    again = sign("POST", "/a", [*headers, *first], b"{}", credentials=SUITE, region="us-east-1", service="bedrock", now=MOMENT)
    assert again == first


def test_credentials_never_show_themselves():
    shown = repr(Credentials("AKIDEXAMPLE", "topsecret", "sessiontoken"))
    assert "AKID" not in shown
    assert "topsecret" not in shown
    assert "sessiontoken" not in shown


@pytest.mark.parametrize("token", ["", "a+session/token=="])
@pytest.mark.parametrize("target", [
    "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream",
    "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude/converse",
    "/foundation-models?byProvider=anthropic&byOutputModality=TEXT",
])  # fmt: skip
def test_amazons_own_library_signs_the_same(monkeypatch, target, token):
    auth = pytest.importorskip("botocore.auth", reason="botocore is not installed: the published vectors alone have to do")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as TheirCredentials

    now = time.time()
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    monkeypatch.setattr(auth, "get_current_datetime", lambda *_args, **_kwargs: moment)
    body = '{"messages":[{"role":"user","content":[{"text":"Grüße"}]}]}'.encode()
    request = AWSRequest("POST", f"https://bedrock-runtime.us-east-1.amazonaws.com{target}", {"Content-Type": "application/json"}, body)
    auth.SigV4Auth(TheirCredentials("AKIDEXAMPLE", SUITE.secret_access_key, token or None), "bedrock", "us-east-1").add_auth(request)
    ours = sign(
        "POST", target, [(b"host", b"bedrock-runtime.us-east-1.amazonaws.com"), (b"content-type", b"application/json")], body,
        credentials=Credentials("AKIDEXAMPLE", SUITE.secret_access_key, token), region="us-east-1", service="bedrock", now=now,
    )  # fmt: skip
    assert proof(ours) == request.headers["Authorization"]
