"""The sources of temporary credentials, asked over real sockets: each protocol step by step, and what goes wrong as a value."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import trio
from scripted_cloud import Asked, Cloud, Told

from appliance.gateway.account_client import ANSWER_MAX_BYTES, Reach, fetch
from appliance.providers.account import Grant, Trouble
from appliance.providers.aws_account import Container, Instance, WebIdentity
from appliance.providers.google_account import AuthorizedUser, Metadata
from appliance.providers.sigv4 import Credentials

NOW = 1_800_000_000.0
DOCUMENT = {"AccessKeyId": "ASIA1", "SecretAccessKey": "s3cret", "Token": "t0ken", "Expiration": "2027-01-15T09:00:00Z"}
GRANT = Grant(Credentials("ASIA1", "s3cret", "t0ken"), 3600.0)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as one:
        yield one


def clock() -> float:
    return NOW


async def test_an_instance_is_asked_in_three_steps(cloud: Cloud) -> None:
    def token(asked: Asked) -> Told:
        assert asked.method == "PUT"
        assert 60 <= int(asked.header("x-aws-ec2-metadata-token-ttl-seconds")) <= 21600
        return Told(200, b"imds-token", (("content-type", "text/plain"),))

    def credentials(asked: Asked) -> Told:
        if asked.header("x-aws-ec2-metadata-token") != "imds-token":
            return Told(401, b"")
        return Told(200, {"Code": "Success", **DOCUMENT}) if asked.target.endswith("/my-role") else Told(200, b"my-role")

    cloud.routes = {"/latest/api/token": token, "/latest/meta-data/iam/security-credentials/": credentials}
    assert await fetch(Instance(cloud.url), Reach(proxy="http://127.0.0.1:1"), clock) == GRANT, "and never through the backend's proxy"
    assert [one.method for one in cloud.asked] == ["PUT", "GET", "GET"]


async def test_an_instance_without_a_role_is_told(cloud: Cloud) -> None:
    cloud.routes = {"/latest/api/token": lambda _: Told(200, b"imds-token"), "/latest/meta-data": lambda _: Told(404, b"")}
    found = await fetch(Instance(cloud.url), Reach(), clock)
    assert isinstance(found, Trouble)
    assert found.refused
    assert "no role" in found.words


async def test_a_container_shows_the_token_that_is_in_its_file_now(cloud: Cloud, tmp_path: Path) -> None:
    cloud.routes = {"/v1/credentials": lambda asked: Told(200 if asked.header("authorization") == "Bearer two" else 403, DOCUMENT)}
    file = tmp_path / "token"
    source = Container(cloud.url + "/v1/credentials", "", str(file))
    assert isinstance(await fetch(source, Reach(), clock), Trouble), "no file"
    file.write_text("Bearer one\n")
    refused = await fetch(source, Reach(), clock)
    assert isinstance(refused, Trouble)
    assert refused.refused
    file.write_text("Bearer two\n")
    assert await fetch(source, Reach(), clock) == GRANT


async def test_a_web_identity_is_exchanged_at_sts_without_a_signature(cloud: Cloud, tmp_path: Path) -> None:
    answer = "".join(f"<{name}>{value}</{name}>" for name, value in {**DOCUMENT, "SessionToken": "t0ken"}.items())
    cloud.routes = {"/": lambda _: Told(200, f"<A><Credentials>{answer}</Credentials></A>".encode())}
    (tmp_path / "token").write_text("a.b.c\n")
    source = WebIdentity(cloud.url, "arn:aws:iam::1:role/r", "appliance", str(tmp_path / "token"))
    assert await fetch(source, Reach(), clock) == GRANT
    assert cloud.asked[0].header("authorization") == ""
    assert cloud.asked[0].header("content-type") == "application/x-www-form-urlencoded"
    assert parse_qs(cloud.asked[0].body.decode())["WebIdentityToken"] == ["a.b.c"]


async def test_googles_metadata_server_wants_its_header(cloud: Cloud) -> None:
    good = {"access_token": "ya29.m", "expires_in": 1799, "token_type": "Bearer"}
    cloud.routes = {"/computeMetadata/v1/instance/service-accounts/default/token": lambda asked: (
        Told(200, good) if asked.header("metadata-flavor") == "Google" else Told(403, b"")
    )}  # fmt: skip
    assert await fetch(Metadata(cloud.url), Reach(), clock) == Grant("ya29.m", 1799.0)


async def test_a_user_exchanges_a_refresh_token(cloud: Cloud) -> None:
    cloud.routes = {"/token": lambda _: Told(200, {"access_token": "ya29.u", "expires_in": 3599})}
    found = await fetch(AuthorizedUser("id", "secret", "refresh", cloud.url + "/token"), Reach(), clock)
    assert found == Grant("ya29.u", 3599.0)
    assert parse_qs(cloud.asked[0].body.decode())["refresh_token"] == ["refresh"]


async def test_whatever_a_source_says_is_a_value_without_its_words(cloud: Cloud) -> None:
    huge = b"x" * (ANSWER_MAX_BYTES + 1)
    for told in (Told(200, b"hush"), Told(302, b"", (("location", "http://hush"),)), Told(500, b"hush"), Told(200, huge), Told(200, [1])):
        cloud.routes = {"/": lambda _, told=told: told}
        for source in (Metadata(cloud.url), Instance(cloud.url), Container(cloud.url)):
            found = await fetch(source, Reach(), clock)
            assert isinstance(found, Trouble), told
            assert "hush" not in found.words


async def test_a_source_that_is_not_there_or_says_nothing_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    silent = Metadata(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
    monkeypatch.setattr("appliance.gateway.account_client.FETCH_S", 0.2)
    begun = time.monotonic()
    found = await fetch(silent, Reach(), clock)
    assert time.monotonic() - begun < 5
    await listener.aclose()
    gone = await fetch(silent, Reach(), clock)
    for one in (found, gone):
        assert isinstance(one, Trouble)
        assert not one.refused
        assert "Google's metadata server" in one.words


@pytest.mark.parametrize("host", ["http://x", "a b", "[", "x:y", "\x00", "\udc80", "ü" * 70, "x" * 300, ""])
async def test_an_address_that_is_none_is_trouble(host: str) -> None:
    assert isinstance(await fetch(Metadata(f"http://{host}"), Reach(), clock), Trouble)


async def test_fetching_can_be_cancelled(cloud: Cloud) -> None:
    over = threading.Event()
    cloud.routes = {"/": lambda _: (over.wait(30), Told(200, json.dumps({}).encode()))[1]}
    with trio.move_on_after(0.1) as scope:
        await fetch(Metadata(cloud.url), Reach(), clock)
    over.set()
    assert scope.cancelled_caught
