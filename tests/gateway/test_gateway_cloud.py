"""Backends at clouds, built from their settings: where they stand, what proves their requests, what a reload keeps."""

from pathlib import Path

import attrs
import pytest

from appliance.config.secret import Secret
from appliance.config.upstreams import Backend
from appliance.gateway.upstream import Upstream, build_upstreams, missing_key
from appliance.http1.transport import UpstreamRequest
from appliance.providers.account import Grant
from appliance.providers.sigv4 import Credentials

NOBODY: dict[str, str] = {}


def built(settings: Backend, env: dict[str, str] = NOBODY, known: dict[str, Upstream] | None = None) -> Upstream:
    found = build_upstreams({"one": settings}, known or {}, None, env)
    assert isinstance(found, dict), found
    return found["one"]


def problem(settings: Backend, env: dict[str, str] = NOBODY) -> str:
    found = build_upstreams({"one": settings}, {}, None, env)
    assert isinstance(found, list)
    return found[0]


BEDROCK = Backend(provider="bedrock", region="us-west-2")
VERTEX = Backend(provider="vertex", project="p", location="us-central1")


def test_a_region_and_a_location_make_the_address() -> None:
    assert built(BEDROCK).base_url == "https://bedrock-runtime.us-west-2.amazonaws.com"
    assert built(attrs.evolve(BEDROCK, region="cn-north-1")).base_url == "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"
    assert built(Backend(provider="bedrock"), {"AWS_REGION": "eu-west-1"}).base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert built(VERTEX).base_url == "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1"


def test_a_key_stands_in_the_head_as_with_any_backend() -> None:
    bedrock = built(attrs.evolve(BEDROCK, api_key=Secret("the-key-itself")), {"AWS_ACCESS_KEY_ID": "ignored"})
    assert bedrock.prover is None
    assert b"authorization: Bearer the-key-itself\r\n" in bedrock.head
    vertex = built(Backend(provider="vertex", api_key=Secret("the-key-itself")), {"GOOGLE_CLOUD_PROJECT": "not-the-keys"})
    assert vertex.prover is None
    assert b"x-goog-api-key: the-key-itself\r\n" in vertex.head
    assert vertex.target("chat", "gemini-2.5-pro", "gemini") == b"/v1/publishers/google/models/gemini-2.5-pro:generateContent"
    own = built(attrs.evolve(BEDROCK, headers={"Authorization": Secret("Custom mine")}))
    assert own.prover is None


def test_an_account_stands_behind_a_backend_without_a_key_and_no_key_is_missed() -> None:
    for settings in (BEDROCK, VERTEX):
        one = built(settings)
        assert one.prover is not None
        assert one.prover.account is not None
        assert b"authorization" not in one.head
        assert not missing_key(settings)
    fixed = built(BEDROCK, {"AWS_ACCESS_KEY_ID": "AKIDENVIRONMENT", "AWS_SECRET_ACCESS_KEY": "a-secret-of-env"}).prover
    assert fixed is not None
    assert fixed.account is None


def test_the_environments_api_key_goes_before_its_access_keys_and_behind_the_files() -> None:
    env = {"AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key", "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
    prover = built(BEDROCK, env).prover
    assert prover is not None
    assert prover.fixed == Grant("bedrock-api-key", float("inf"))
    request = prover.proven(UpstreamRequest(b"POST", b"/", b"host: x\r\n", b"{}"), prover.fixed)
    assert request.headers == b"host: x\r\nauthorization: Bearer bedrock-api-key\r\n"
    configured = attrs.evolve(BEDROCK, access_key_id=Secret("AKIDFILE"), secret_access_key=Secret("secret"))
    signing = built(configured, env).prover
    assert signing is not None
    assert isinstance(signing.fixed.key if signing.fixed else None, Credentials)
    assert "AWS_BEARER_TOKEN_BEDROCK holds" in problem(BEDROCK, {"AWS_BEARER_TOKEN_BEDROCK": "two words"})


def test_what_proves_requests_is_kept_out_of_answers() -> None:
    keys = {"access_key_id": "AKIDCONFIG", "secret_access_key": "k3pt-s3cret", "session_token": "t" * 20}
    fixed = attrs.evolve(BEDROCK, **{name: Secret(value) for name, value in keys.items()})
    assert set(built(fixed).secrets) >= {b"AKIDCONFIG", b"k3pt-s3cret", b"t" * 20}
    one = built(VERTEX)
    assert one.secrets == ()
    assert one.prover is not None
    assert one.prover.account is not None
    one.prover.account.grant = Grant("ya29.token", 60.0)
    assert one.secrets == (b"ya29.token",)
    for value in (one, one.prover, one.prover.account, built(fixed).prover):
        assert not any(secret in repr(value) for secret in ("ya29", "AKIDCONFIG", "k3pt", "tttt"))


@pytest.mark.parametrize("change", [{"max_concurrency": 5}, {"base_url": "https://other.example"}, {"location": "europe-west1"}])
def test_a_change_elsewhere_keeps_an_accounts_token(change: dict[str, object]) -> None:
    before = built(VERTEX)
    after = built(attrs.evolve(VERTEX, **change), known={"one": before})
    assert after is not before
    assert before.prover is not None
    assert after.prover is not None
    assert after.prover.account is before.prover.account


@pytest.mark.parametrize("env", [{"GCE_METADATA_HOST": "elsewhere"}, {"GOOGLE_APPLICATION_CREDENTIALS": "user.json"}])
def test_another_source_is_another_account(env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user.json").write_text('{"type":"authorized_user","client_id":"a","client_secret":"b","refresh_token":"c"}')
    before = built(VERTEX)
    after = built(attrs.evolve(VERTEX, max_concurrency=5), env, {"one": before})
    assert before.prover is not None
    assert after.prover is not None
    assert after.prover.account is not before.prover.account


def test_what_is_missing_is_told_with_its_path() -> None:
    assert problem(Backend(provider="bedrock")).startswith("backends.one.region is missing")
    assert problem(Backend(provider="vertex")).startswith("backends.one.project is missing")
    assert problem(attrs.evolve(VERTEX, location="a b")).startswith("backends.one.location is no location's name")
    assert problem(attrs.evolve(BEDROCK, access_key_id=Secret("x"))).startswith("backends.one.secret_access_key is missing beside")
    assert problem(attrs.evolve(VERTEX, api_key=Secret("x"), service_account=Secret("{}"))).startswith("backends.one.api_key is set beside")
