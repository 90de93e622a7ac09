"""Who is let in at the admin listener, and that no secret ever leaves through it or any other door."""

from collections.abc import Iterator

import pytest
from admin_place import ADMIN_TOKEN, CANARIES, METRICS_TOKEN, Place, gateway_config, started
from rig import call, chat, eventually


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with started(tmp_path_factory.mktemp("admin")) as open_to_loopback:
        yield open_to_loopback


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    tokens = f'token = "{ADMIN_TOKEN}"\nmetrics_token = "{METRICS_TOKEN}"'
    with started(tmp_path_factory.mktemp("locked"), admin=tokens) as with_tokens:
        yield with_tokens


PATHS = ["/admin/providers", "/admin/stats", "/admin/requests", "/admin/config", "/metrics", "/"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:9464"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "10.0.0.1"},
        {"host": "[::2]:9464"},
        {"host": "[::1"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://127.0.0.1.evil.example"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_without_a_token_no_web_page_gets_in(place: Place, path: str, headers: dict[str, str]) -> None:
    answer = place.get(path, **headers)
    assert answer.status_code == 403
    assert "admin.token" in answer.json()["error"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "localhost"},
        {"host": "LOCALHOST:9464"},
        {"host": "[::1]:9464"},
        {"host": "127.9.9.9"},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "http://localhost:9464"},
    ],
)
def test_without_a_token_this_machine_gets_in(place: Place, path: str, headers: dict[str, str]) -> None:
    assert place.get(path, **headers).status_code == 200


def test_a_web_page_can_do_nothing_either(place: Place) -> None:
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}, {"sec-fetch-site": "cross-site"}):
        answer = place.client.post("/admin/backends/sim/drain", headers=headers)
        assert answer.status_code == 403
    assert place.gateway.provider("sim")["drained"] is False


@pytest.mark.parametrize("path", PATHS)
def test_a_configured_token_is_asked_for(locked: Place, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {ADMIN_TOKEN}"}, {"authorization": "Bearer"}):
        answer = locked.get(path, **headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "canary" not in answer.text
    assert locked.get(path, authorization=f"Bearer {ADMIN_TOKEN}").status_code == 200
    assert locked.get(path, authorization=f"Bearer {ADMIN_TOKEN}", host="gateway.internal").status_code == 200
    assert locked.get(path + f"?token={ADMIN_TOKEN}").status_code == 401


def test_the_metrics_token_opens_the_metrics_and_nothing_else(locked: Place) -> None:
    for path in PATHS:
        answer = locked.get(path, authorization=f"Bearer {METRICS_TOKEN}")
        assert answer.status_code == (200 if path == "/metrics" else 401)
    assert locked.client.post("/admin/reload", headers={"authorization": f"Bearer {METRICS_TOKEN}"}).status_code == 401
    assert locked.client.post("/admin/backends/sim/drain").status_code == 401


def test_health_needs_no_token(locked: Place) -> None:
    for path in ("/livez", "/healthz", "/readyz", "/health"):
        assert locked.get(path).status_code == 200


def test_no_secret_shows_anywhere(locked: Place) -> None:
    """Answers, errors, metrics, records and log of a gateway that was given a secret of every kind."""
    gateway, shown = locked.gateway, ""
    for fault in ("", "+500", "+401", "+400", "+reset"):
        status, _, body = call(f"{gateway.url}/v1/chat/completions", chat(f"sim{fault}"))
        shown += f"{status}{body!r}"
    _, _, body = call(f"{gateway.url}/v1/chat/completions", chat("proxied/sim"))
    shown += repr(body)
    for path in (*PATHS, "/admin/requests?limit=1000", "/admin/requests/none", "/nothing"):
        shown += locked.get(path, authorization=f"Bearer {ADMIN_TOKEN}").text
    gateway.write_config(gateway_config(locked).replace('provider = "custom"', 'provider = "costum"'))
    shown += locked.client.post("/admin/reload", headers={"authorization": f"Bearer {ADMIN_TOKEN}"}).text
    gateway.write_config(gateway_config(locked).replace("open_s = 60", "open_s = 61"))
    shown += locked.client.post("/admin/reload", headers={"authorization": f"Bearer {ADMIN_TOKEN}"}).text
    gateway.write_config(gateway_config(locked))
    shown += locked.client.post("/admin/reload", headers={"authorization": f"Bearer {ADMIN_TOKEN}"}).text
    eventually(lambda: [one for one in gateway.events() if one["event"] in ("reloaded", "reload_refused")][2:])
    shown += gateway.log
    for canary in CANARIES:
        assert canary not in shown, canary
