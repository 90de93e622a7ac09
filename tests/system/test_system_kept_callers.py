"""What is remembered of a kept-alive connection's caller never outlives its truth: revoked and expired keys, other callers, reloads."""

import hashlib
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from raw_client import RawClient
from rig import KEY, Gateway, Simulator, chat, eventually, one_backend, running

from appliance.server.caller import read_caller

OTHER = "sk-other-0123456789"
LIVES_S = 2.0
"""At least; ten times as long as this machine takes to put a key in force just now."""


def tenant(expires: str = "", name: str = "other") -> str:
    sha256 = hashlib.sha256(OTHER.encode()).hexdigest()
    return f'[tenants.{name}]\nmodels = ["sim", "shorter"]\nkeys = [ {{ id = "o", sha256 = "{sha256}"{expires} }} ]\n'


@pytest.fixture
def gateway(simulator: Simulator, tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path, one_backend(simulator) + tenant())
    with running(gateway):
        yield gateway


def reload(gateway: Gateway, text: str) -> None:
    seen = gateway.metric('appliance_config_reloads_total{result="ok"}')
    gateway.write_config(text)
    gateway.signal(signal.SIGHUP)
    eventually(lambda: gateway.metric('appliance_config_reloads_total{result="ok"}') == seen + 1)


def ask(client: RawClient, model: str = "sim", key: str = OTHER, text: str = "Hello!", **headers: str) -> tuple[int, dict[str, str], bytes]:
    client.ask(chat(model, text), authorization=f"Bearer {key}", **headers)
    status, answered = client.read_head()
    return status, answered, client.read_body(answered)


def test_a_revoked_key_is_refused_on_the_connection_that_used_it(gateway: Gateway, simulator: Simulator) -> None:
    with RawClient(gateway.url) as client:
        assert [ask(client, model)[0] for model in ("sim", "sim", "shorter")] == [200, 200, 200]
        reload(gateway, one_backend(simulator))
        assert ask(client)[0] == 401
        reload(gateway, one_backend(simulator) + tenant())
        assert ask(client)[0] == 200


def test_a_key_that_moves_to_another_tenant_is_that_tenants(gateway: Gateway, simulator: Simulator) -> None:
    with RawClient(gateway.url) as client:
        assert ask(client)[0] == 200
        reload(gateway, one_backend(simulator) + tenant(name="later"))
        assert ask(client)[0] == 200
    eventually(lambda: [line["tenant"] for line in gateway.requests()] == ["other", "later"])


def test_an_expired_key_is_refused_on_the_connection_that_used_it(gateway: Gateway, simulator: Simulator) -> None:
    begun = time.monotonic()
    reload(gateway, one_backend(simulator) + tenant())
    lives_s = max(LIVES_S, 10 * (time.monotonic() - begun))
    moment = (datetime.now(UTC) + timedelta(seconds=lives_s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    reload(gateway, one_backend(simulator) + tenant(f", expires = {moment}"))
    with RawClient(gateway.url) as client:
        assert ask(client)[0] == 200
        status, _, body = eventually(lambda: (answer := ask(client))[0] != 200 and answer, 3 * lives_s)
        assert (status, b"expired" in body) == (401, True)


def test_each_caller_of_a_shared_connection_is_known_by_their_own_head(gateway: Gateway) -> None:
    with RawClient(gateway.url) as client:
        for key, status in ((OTHER, 200), (KEY, 200), ("sk-wrong-0123456789", 401), (OTHER, 200), (OTHER, 200), (KEY, 200)):
            assert ask(client, key=key)[0] == status
    eventually(lambda: [line["tenant"] for line in gateway.requests()] == ["other", "test", "none", "other", "other", "test"])


def test_a_body_of_another_length_is_judged_by_its_own_length(gateway: Gateway, simulator: Simulator) -> None:
    with RawClient(gateway.url) as client:
        assert ask(client, "sim")[0] == 200
        assert ask(client, "sim" + "x" * 200)[0] == 403  # not one of this tenant's models: the whole name was read
        assert ask(client, "shorter")[0] == 200


def test_a_smaller_body_limit_holds_for_a_kept_connection(simulator: Simulator, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, one_backend(simulator), head="limits = { body_max_bytes = 100_000 }")
    with running(gateway), RawClient(gateway.url) as client:
        assert ask(client, text="x" * 5000, key=KEY)[0] == 200
        gateway.head = gateway.head.replace("100_000", "4_000")
        reload(gateway, one_backend(simulator))
        assert ask(client, text="x" * 3000, key=KEY)[0] == 200
        assert ask(client, text="x" * 5000, key=KEY)[0] == 413


def test_a_reload_changes_what_is_forwarded_for_a_kept_connection(simulator: Simulator, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, one_backend(simulator), head='forward_headers = ["x-note"]')
    with running(gateway), RawClient(gateway.url) as client:
        simulator.reset()
        ask(client, key=KEY, x_note="one")
        gateway.head = gateway.head.replace('"x-note"', "")
        reload(gateway, one_backend(simulator))
        ask(client, key=KEY, x_note="one")
        seen = [dict(one["headers"]) for one in simulator.stats()["last"]]
        assert ["x-note" in headers for headers in seen] == [True, False]


def test_a_request_id_is_that_of_its_own_head(gateway: Gateway) -> None:
    with RawClient(gateway.url) as client:
        shown = [ask(client, **headers)[1]["x-request-id"] for headers in ({}, {}, {"x_request_id": "mine"}, {"x_request_id": "a b"}, {})]
    assert shown[2] == "mine"
    assert len(set(shown)) == 5
    assert "a b" not in shown


def test_what_is_remembered_of_a_caller_shows_no_secret() -> None:
    headers = [(b"authorization", b"Bearer sk-secret"), (b"content-length", b"5"), (b"x-user-id", b"ann")]
    caller = read_caller({"headers": headers})
    assert "secret" not in repr(caller)
    assert "ann" in repr(caller)
