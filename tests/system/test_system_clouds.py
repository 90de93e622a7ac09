"""Backends whose account is a cloud's: requests arrive signed as Amazon's own library signs, or with Google's token; tokens are replaced in
time and when refused; what is down is told and falls back; no secret is in a log, an answer or the operator's screens.
"""

import base64
import datetime
import json
import re
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from forward_proxy import ForwardProxy
from rig import KEY, Gateway, Simulator, call, chat, eventually, free_port, get_json, running
from scripted_cloud import Asked, Cloud, Told

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
SECRETS = {"secret-in-the-file", "session-in-the-file", "role-secret", "role-session", "ya29."}
ROLE = {"AccessKeyId": "ASIAROLE", "SecretAccessKey": "role-secret", "Token": "role-session"}

CONFIG = """
[backends.fixed]
provider = "bedrock"
base_url = "{url}/fixed"
access_key_id = "AKIDFILE"
secret_access_key = "secret-in-the-file"
session_token = "session-in-the-file"
headers = {{ x-amz-custom = "one  two" }}
[backends.proxied]
provider = "bedrock"
base_url = "{url}/proxied"
region = "us-west-2"
access_key_id = "AKIDPROXY"
secret_access_key = "secret-in-the-file"
proxy = "{proxy}"
[backends.simulated]
provider = "bedrock"
base_url = "{simulator}"
access_key_id = "AKIDSIM"
secret_access_key = "secret-in-the-file"
[backends.wrong]
provider = "bedrock"
base_url = "{simulator}"
access_key_id = "AKIDSIM"
secret_access_key = "another-secret"
[backends.role]
provider = "bedrock"
base_url = "{url}/role"
[backends.machine]
provider = "vertex"
base_url = "{url}/machine"
project = "my-project"
location = "us-central1"
[backends.file]
provider = "vertex"
base_url = "{url}/file"
service_account = {{ file = "key.json" }}
[backends.down]
provider = "vertex"
base_url = "{url}/down"
service_account = {{ file = "down.json" }}
[backends.refused]
provider = "vertex"
base_url = "{url}/refused"
service_account = {{ file = "refused.json" }}
[backends.plain]
provider = "custom"
base_url = "{url}/plain"
{more}
[[routes]]
name = "down-with-a-fallback"
models = ["safe"]
targets = [ {{ backend = "down", model = "gemini-2.5-pro" }} ]
fallback = [ {{ backend = "plain" }} ]
retry = {{ attempts = 2 }}
"""
ANSWER = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}],
          "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}}  # fmt: skip
CONVERSE = {"output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}}, "stopReason": "end_turn",
            "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, "metrics": {"latencyMs": 1}}  # fmt: skip
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-6",
           "content": [{"type": "text", "text": "Hello"}],
           "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 2}}  # fmt: skip
CHAT = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "from the fallback"}, "finish_reason": "stop"}]}  # fmt: skip


class Tokens:
    """A source of tokens or documents, numbered; how long each lives can be set."""

    def __init__(self, made: Callable[[int, float], dict[str, Any]], life_s: float) -> None:
        self.made, self.life_s, self.given = made, life_s, 0

    def __call__(self, asked: Asked) -> Told:
        self.given += 1
        return Told(200, self.made(self.given, self.life_s))


def a_token(number: int, life_s: float) -> dict[str, Any]:
    return {"access_token": f"ya29.number-{number}", "expires_in": life_s, "token_type": "Bearer"}


def a_document(number: int, life_s: float) -> dict[str, Any]:
    end = datetime.datetime.fromtimestamp(time.time() + life_s, datetime.UTC)
    return {**ROLE, "Token": f"role-session-{number}", "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ")}


def key_file(token_url: str) -> str:
    return json.dumps({
        "type": "service_account", "project_id": "from-file", "private_key_id": "kid", "private_key": PEM,
        "client_email": "me@from-file.iam.gserviceaccount.com", "token_uri": token_url,
    })  # fmt: skip


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud() as one:
        one.routes = {
            "/role-credentials": Tokens(a_document, 3600), "/computeMetadata/": Tokens(a_token, 3600), "/token": Tokens(a_token, 3600),
            "/refused-token": lambda _: Told(400, {"error": "invalid_grant", "error_description": PEM}),
            "/fixed": lambda _: Told(200, CONVERSE), "/role": lambda _: Told(200, CONVERSE), "/machine": lambda _: Told(200, ANSWER),
            "/file": lambda asked: Told(200, MESSAGE if "anthropic" in asked.target else ANSWER), "/plain": lambda _: Told(200, CHAT),
        }  # fmt: skip
        yield one


@pytest.fixture(scope="module")
def config(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    proxy = ForwardProxy()
    simulator = Simulator(tmp_path_factory.mktemp("simulator"), extra=("--require-key", "secret-in-the-file"))
    with running(simulator):
        yield lambda more: CONFIG.format(url=cloud.url, proxy=f"http://127.0.0.1:{proxy.port}", simulator=simulator.url, more=more)
    proxy.close()


@pytest.fixture(scope="module")
def gateway(cloud: Cloud, config: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("clouds")
    (folder / "key.json").write_text(key_file(cloud.url + "/token"))
    (folder / "down.json").write_text(key_file(f"http://127.0.0.1:{free_port()}/token"))
    (folder / "refused.json").write_text(key_file(cloud.url + "/refused-token"))
    env = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": cloud.url + "/role-credentials", "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "",
        "GCE_METADATA_HOST": f"127.0.0.1:{cloud.port}", "GOOGLE_APPLICATION_CREDENTIALS": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "",
    }  # fmt: skip
    one = Gateway(folder, config(""), env=env, head='forward_headers = ["x-amz-*", "x-team"]')
    with running(one):
        # The doors open before the first tokens are there.
        for name in ("role", "machine", "file"):
            eventually(lambda name=name: one.provider(name)["credentials"]["valid_s"] > 0)
        for name in ("down", "refused"):
            eventually(lambda name=name: one.provider(name)["credentials"]["problem"])
        yield one


@pytest.fixture(autouse=True)
def forget(cloud: Cloud, gateway: Gateway) -> None:
    """Whatever the gateway asked for by itself as it started is not a test's affair."""
    cloud.asked.clear()


def ask(gateway: Gateway, backend: str, model: str = "gemini-2.5-pro", **headers: str) -> tuple[int, dict[str, str], bytes]:
    return call(gateway.url + "/v1/chat/completions", chat(f"{backend}/{model}", "Grüße"), **headers)


def signed_by_amazon(asked: Asked, cloud: Cloud, key: tuple[str, str, str], region: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The authorization line that botocore gives the request that arrived, had it the same credentials at the same time."""
    auth = pytest.importorskip("botocore.auth", reason="botocore is not installed, and there is no other judge of signatures")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    moment = datetime.datetime.strptime(asked.header("x-amz-date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    monkeypatch.setattr(auth, "get_current_datetime", lambda *_args, **_kwargs: moment)
    names = asked.header("authorization").partition("SignedHeaders=")[2].partition(",")[0].split(";")
    headers = {name: asked.header(name) for name in names if name not in ("host", "x-amz-date", "x-amz-security-token")}
    request = AWSRequest(asked.method, cloud.url + asked.target, headers, asked.body)
    auth.SigV4Auth(Credentials(*key), "bedrock", region).add_auth(request)
    return str(request.headers["Authorization"])


def test_a_signature_is_the_one_that_amazons_library_computes(cloud: Cloud, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    model = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
    status, _, body = ask(gateway, "fixed", model, x_amz_meta="the caller's   own", x_amz_security_token="the caller's", x_team="a")
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, "Hello")
    asked = cloud.to("/fixed")[0]
    assert asked.target == "/fixed/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse"
    proof = asked.header("authorization")
    key = ("AKIDFILE", "secret-in-the-file", "session-in-the-file")
    assert proof == signed_by_amazon(asked, cloud, key, "eu-central-1", monkeypatch)
    assert "SignedHeaders=content-type;host;x-amz-custom;x-amz-date;x-amz-meta;x-amz-security-token, " in proof
    assert asked.header("x-amz-security-token") == "session-in-the-file", "and not the caller's"
    assert asked.header("x-team") == "a", "forwarded, and deliberately not signed"
    moment = datetime.datetime.strptime(asked.header("x-amz-date"), "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    assert abs(moment.timestamp() - time.time()) < 60


def test_a_signature_survives_an_outbound_proxy(cloud: Cloud, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.routes["/proxied"] = lambda _: Told(200, CONVERSE)
    assert ask(gateway, "proxied", "us.anthropic.claude-haiku-4-5-20251001-v1:0")[0] == 200
    asked = cloud.to("/proxied")[0]
    assert asked.target == "/proxied/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse"
    key = ("AKIDPROXY", "secret-in-the-file", "")
    assert asked.header("authorization") == signed_by_amazon(asked, cloud, key, "us-west-2", monkeypatch)


def test_streams_are_signed_as_a_service_that_checks_it_wants(gateway: Gateway) -> None:
    body = chat("simulated/amazon.nova-pro-v1:0", "[[say=Good morning to you]]", stream=True)
    said = httpx.post(gateway.url + "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=30)
    chunks = [json.loads(line[6:]) for line in said.text.split("\n\n") if line.startswith("data: {")]
    assert "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]) == "Good morning to you"
    status, _, refused = ask(gateway, "wrong", "amazon.nova-pro-v1:0")
    assert status == 502
    assert "refused the gateway's own credentials" in json.loads(refused)["error"]["message"]


def test_a_container_role_signs(cloud: Cloud, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(gateway, "role", "amazon.nova-pro-v1:0")[0] == 200
    asked = cloud.to("/role/")[0]
    key = (ROLE["AccessKeyId"], ROLE["SecretAccessKey"], asked.header("x-amz-security-token"))
    assert key[2].startswith("role-session-")
    assert asked.header("authorization") == signed_by_amazon(asked, cloud, key, "eu-central-1", monkeypatch)


def test_the_metadata_servers_token_is_sent_to_vertex(cloud: Cloud, gateway: Gateway) -> None:
    status, headers, body = ask(gateway, "machine")
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, "Hello")
    assert headers["x-served-by"] == "machine"
    asked = cloud.to("/machine")[0]
    place = "/machine/v1/projects/my-project/locations/us-central1/publishers/google/models/gemini-2.5-pro:generateContent"
    assert asked.target == place
    assert asked.header("authorization").startswith("Bearer ya29.number-")


def test_a_service_account_signs_for_its_token(cloud: Cloud, gateway: Gateway) -> None:
    assert ask(gateway, "file")[0] == 200, "it waits for the first token, which may come later than the doors open"
    cloud.asked.clear()
    assert call(gateway.admin_url + "/admin/reload", {})[0] == 200
    assert ask(gateway, "file")[0] == 200
    place = "/file/v1/projects/from-file/locations/global/publishers/google/models/gemini-2.5-pro:generateContent"
    assert cloud.to("/file")[0].target == place
    assert cloud.to("/token") == [], "a reload that changes nothing asks for no token again"


def test_claude_on_vertex_gets_the_callers_own_bytes(cloud: Cloud, gateway: Gateway) -> None:
    body = b'{ "model":"file/claude-opus-4-6","max_tokens":5,"messages":[{"role":"user","content":"Hi"}],"n":1.50 }'
    said = httpx.post(gateway.url + "/v1/messages", content=body, headers={"x-api-key": KEY, "anthropic-beta": "x-1"}, timeout=30)
    assert (said.status_code, said.json()) == (200, MESSAGE)
    asked = cloud.to("/file")[0]
    assert asked.target.endswith("/publishers/anthropic/models/claude-opus-4-6:rawPredict")
    assert asked.body == (
        b'{ "max_tokens":5,"messages":[{"role":"user","content":"Hi"}],"n":1.50 ,"anthropic_version":"vertex-2023-10-16"}'
    )
    assert asked.header("anthropic-beta") == "x-1"
    translated = ask(gateway, "file", "claude-opus-4-6")
    assert (translated[0], json.loads(translated[2])["choices"][0]["message"]["content"]) == (200, "Hello")
    sent = cloud.to("/file")[1].json
    assert (sent["anthropic_version"], "model" in sent) == ("vertex-2023-10-16", False)


def test_vertex_counts_tokens_for_callers_of_every_language(cloud: Cloud, gateway: Gateway) -> None:
    place = "/file/v1/projects/from-file/locations/global/publishers"
    claude = f"{place}/anthropic/models/count-tokens:rawPredict"
    gemini = f"{place}/google/models/gemini-2.5-pro:countTokens"
    cloud.routes |= {claude: lambda _: Told(200, {"input_tokens": 7}), gemini: lambda _: Told(200, {"totalTokens": 9})}
    headers, turn = {"x-api-key": KEY}, {"messages": [{"role": "user", "content": "Hi"}]}
    for model, tokens in (("claude-opus-4-6", 7), ("gemini-2.5-pro", 9)):
        said = httpx.post(gateway.url + "/v1/messages/count_tokens", json={"model": f"file/{model}", **turn}, headers=headers, timeout=30)
        assert (said.status_code, said.json()) == (200, {"input_tokens": tokens}), said.text
    counted = httpx.post(
        f"{gateway.url}/v1beta/models/file/gemini-2.5-pro:countTokens", json={"contents": [{"parts": [{"text": "Hi"}]}]},
        headers={"x-goog-api-key": KEY}, timeout=30,
    )  # fmt: skip
    assert counted.json() == {"totalTokens": 9}
    assert cloud.to(claude)[0].json == {"model": "claude-opus-4-6", **turn, "anthropic_version": "vertex-2023-10-16"}
    contents = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    assert [one.json for one in cloud.to(gemini)] == [contents, contents]


def test_what_is_down_is_told_and_falls_back(gateway: Gateway) -> None:
    status, headers, body = call(gateway.url + "/v1/chat/completions", chat("safe"))
    assert (status, headers["x-served-by"]) == (200, "plain")
    assert json.loads(body)["choices"][0]["message"]["content"] == "from the fallback"
    status, _, body = ask(gateway, "down")
    assert status == 502
    assert "cannot get its credentials for the backend down" in json.loads(body)["error"]["message"]
    status, headers, body = ask(gateway, "refused", x_request_id="refused-1")
    assert status == 502
    assert "its operator has to check that account" in json.loads(body)["error"]["message"]
    attempt = gateway.record("refused-1")["attempts"][0]
    assert attempt["error_type"] == "authentication"
    shown = gateway.provider("refused")["credentials"]
    assert shown["problem"] == 'the token endpoint of the account\'s key file answered 400 and said "invalid_grant"'
    assert gateway.provider("machine")["credentials"]["problem"] == ""


def test_a_refused_token_is_replaced_once_and_the_request_sent_again(cloud: Cloud, gateway: Gateway) -> None:
    tokens = cloud.routes["/computeMetadata/"]
    assert isinstance(tokens, Tokens)
    good = f"Bearer ya29.number-{tokens.given + 1}"
    before = cloud.routes["/machine"]
    error = {"error": {"code": 401, "message": "expired", "status": "UNAUTHENTICATED"}}
    try:
        cloud.routes["/machine"] = lambda asked: Told(200, ANSWER) if asked.header("authorization") == good else Told(401, error)
        assert ask(gateway, "machine")[0] == 200
        assert [one.header("authorization") == good for one in cloud.to("/machine")] == [False, True]
        assert len(cloud.to("/computeMetadata/")) == 1
        cloud.asked.clear()
        cloud.routes["/machine"] = lambda _: Told(401, error)
        status, _, body = ask(gateway, "machine")
        assert status == 502, "a refusal that no token mends is the operator's"
        assert "ya29" not in body.decode()
        assert (len(cloud.to("/machine")), len(cloud.to("/computeMetadata/"))) == (1, 0)
    finally:
        cloud.routes["/machine"] = before


def test_expired_keys_are_replaced_and_forbidden_ones_are_not(cloud: Cloud, gateway: Gateway) -> None:
    before = cloud.routes["/role"]
    first: list[str] = []

    def once(asked: Asked) -> Told:
        first.append(asked.header("x-amz-security-token"))
        if len(set(first)) > 1:
            return Told(200, CONVERSE)
        return Told(403, {"message": "expired"}, (("x-amzn-errortype", "ExpiredTokenException:http://internal.amazon.com/"),))

    try:
        cloud.routes["/role/"] = once
        assert ask(gateway, "role", "amazon.nova-pro-v1:0")[0] == 200
        assert len(first) == 2
        cloud.routes["/role/"] = lambda _: Told(403, {"message": "no"}, (("x-amzn-errortype", "AccessDeniedException"),))
        cloud.asked.clear()
        assert ask(gateway, "role", "amazon.nova-pro-v1:0")[0] == 502
        assert (len(cloud.to("/role/")), len(cloud.to("/role-credentials"))) == (1, 0)
    finally:
        cloud.routes["/role"] = before
        del cloud.routes["/role/"]


def test_a_clock_that_is_wrong_is_told(cloud: Cloud, gateway: Gateway) -> None:
    told = {}
    for name, seconds in (("ahead", -3600), ("behind", 3600), ("right", 0)):
        headers = (("x-amzn-errortype", "InvalidSignatureException"), ("date", formatdate(time.time() + seconds, usegmt=True)))
        cloud.routes[f"/fixed/model/{name}/"] = lambda _, headers=headers: Told(403, {"message": "Signature expired"}, headers)
        status, _, body = ask(gateway, "fixed", name)
        assert status == 502
        told[name] = json.loads(body)["error"]["message"]
    assert re.search(r"this machine's clock is 3[56]\d\d s ahead of the backend's: its operator has to set the clock", told["ahead"])
    assert re.search(r"this machine's clock is 3[56]\d\d s behind the backend's", told["behind"])
    assert "clock" not in told["right"]


def test_tokens_are_replaced_before_they_end(cloud: Cloud, gateway: Gateway, config: Callable[[str], str]) -> None:
    """Of a new backend, whose tokens live six seconds; the others keep theirs through the reload."""
    short = Tokens(a_token, 6)
    cloud.routes["/short-token"] = short
    cloud.routes["/short/"] = lambda _: Told(200, ANSWER)
    folder = gateway.config_path.parent
    (folder / "short.json").write_text(key_file(cloud.url + "/short-token"))
    backend = f'[backends.short]\nprovider = "vertex"\nbase_url = "{cloud.url}/short"\nservice_account = {{ file = "short.json" }}'
    gateway.write_config(config(backend))
    assert call(gateway.admin_url + "/admin/reload", {})[0] == 200
    assert ask(gateway, "short")[0] == 200, "a request that comes before the first token waits for it"
    eventually(lambda: short.given >= 3, 60)
    asked = cloud.to("/short-token")
    assertion = parse_qs(asked[0].body.decode())["assertion"][0]
    head, claims, signature = assertion.split(".")
    RSA.public_key().verify(plain(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), SHA256())
    assert json.loads(plain(claims))["aud"] == cloud.url + "/short-token"
    for _ in range(3):
        ask(gateway, "short")
    assert all(one.header("authorization").startswith("Bearer ya29.number-") for one in cloud.to("/short/"))
    eventually(lambda: gateway.provider("short")["credentials"]["valid_s"] > 0)
    assert cloud.to("/token") == [] == cloud.to("/computeMetadata/"), "the others kept theirs"
    assert gateway.metric('appliance_service_restarts_total{service="credentials:short"}') == 0


def plain(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_nothing_secret_is_in_the_log_or_on_the_operators_screens(cloud: Cloud, gateway: Gateway) -> None:
    tokens = cloud.routes["/computeMetadata/"]
    assert isinstance(tokens, Tokens)
    said = f"you sent ya29.number-{tokens.given}"
    cloud.routes["/machine/v1/projects/my-project/locations/us-central1/publishers/google/models/echo:"] = lambda _: Told(
        400, {"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}
    )
    status, _, body = ask(gateway, "machine", "echo")
    assert status == 400
    screens = [json.dumps(get_json(gateway.admin_url + path)) for path in ("/admin/providers", "/admin/config", "/admin/requests")]
    for text in (body.decode(), gateway.log, gateway.metrics_text(), *screens):
        assert [secret for secret in (*SECRETS, PEM[60:100], "eyJ") if secret in text] == []
    eventually(lambda: {"credentials_renewed", "credentials_failed"} <= {one["event"] for one in gateway.events()})
