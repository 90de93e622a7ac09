"""What the admin listener shows and does."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from admin_place import Place, gateway_config, started
from rig import call, chat, eventually


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with started(tmp_path_factory.mktemp("admin")) as open_to_loopback:
        yield open_to_loopback


def test_the_configuration_is_shown_whole_but_for_its_secrets(place: Place) -> None:
    shown = place.get("/admin/config").json()
    assert shown["backends"]["sim"]["base_url"] == f"{place.sim.url}/v1"
    assert shown["backends"]["sim"]["breaker"]["consecutive_failures"] == 3
    assert shown["routes"][0]["name"] == "main"
    backends = shown["backends"]
    for secret in (backends["sim"]["api_key"], backends["sim"]["headers"]["x-secret"], backends["proxied"]["proxy"]):
        assert secret
        assert "canary" not in json.dumps(secret)


def test_providers_are_shown_with_their_state(place: Place) -> None:
    shown = {one["name"]: one for one in place.get("/admin/providers").json()["providers"]}
    assert set(shown) == {"sim", "spare", "proxied"}
    wanted = {
        "name", "provider", "base_url", "healthy", "drained", "breaker", "breaker_opened_total", "in_flight", "max_concurrency",
        "waiting", "connections", "first_byte_ms", "latency_ms", "requests", "errors", "down_because", "last_error", "last_error_s_ago",
        "last_probe", "credentials", "keys",
    }  # fmt: skip
    assert set(shown["sim"]) == wanted
    assert shown["spare"]["breaker"] == "closed"


def test_stats_sum_what_was_served(place: Place) -> None:
    place.gateway.settle()
    before = place.get("/admin/stats").json()
    for model in ("sim", "sim", "sim+400"):
        call(f"{place.gateway.url}/v1/chat/completions", chat(model))
    place.gateway.settle()
    after = place.get("/admin/stats").json()
    for name, more in (("requests", 3), ("succeeded", 2), ("refused", 1), ("errors", 0)):
        assert after["total"][name] == before["total"][name] + more
        assert after["backends"]["sim"][name] == before["backends"]["sim"][name] + more
    assert after["total"]["output_tokens"] > before["total"]["output_tokens"]
    assert after["backends"]["sim"]["breaker"] == "closed"
    assert set(after["routes"]) >= {"main"}
    assert set(after["tenants"]) >= {"test"}


def test_requests_are_listed_newest_first_found_by_either_id_and_filtered(place: Place) -> None:
    url = f"{place.gateway.url}/v1/chat/completions"
    asked = (chat("sim-one"), "first-of-two"), (chat("sim-two+400", stream=True), "second-of-two"), (b"{", "neither")
    for body, name in asked:
        call(url, body, X_Request_Id=name)
        place.gateway.settle()

    def listed(query: str) -> list[dict[str, Any]]:
        return list(place.get(f"/admin/requests?{query}").json()["requests"])

    assert [one["request_id"] for one in listed("limit=3")] == ["neither", "second-of-two", "first-of-two"]
    by_id = place.get("/admin/requests/first-of-two").json()
    assert place.get(f"/admin/requests/{by_id['id']}").json() == by_id
    assert {one["request_id"] for one in listed("model=sim-one")} == {"first-of-two"}
    assert listed("status=400&stream=true")[0]["request_id"] == "second-of-two"
    assert listed("route=none")[0]["request_id"] == "neither"
    assert listed("error_type=invalid_request&backend=sim")[0]["request_id"] == "second-of-two"
    assert listed("tenant=nobody") == []
    assert all(one["error_type"] for one in listed("failed=true&limit=1000"))
    assert not any(one["error_type"] for one in listed("failed=false&tenant=test&limit=1000"))
    assert len(listed("limit=1")) == 1


def test_requests_are_paged_without_gap_or_overlap_and_since_a_moment(place: Place) -> None:
    url = f"{place.gateway.url}/v1/chat/completions"
    for number in range(5):
        call(url, chat(f"sim-page-{number}"), X_Request_Id=f"page-{number}")
        place.gateway.settle()
    pages: list[list[str]] = []
    query = "limit=2&since=1h&tenant=test"
    while len(pages) < 3:
        page = place.get(f"/admin/requests?{query}").json()
        pages.append([one["request_id"] for one in page["requests"]])
        query = f"limit=2&since=1h&tenant=test&before={page['next']}"
    assert [one for page in pages for one in page][:5] == [f"page-{number}" for number in (4, 3, 2, 1, 0)]
    assert place.get("/admin/requests?limit=1000").json()["next"] is None
    assert place.get("/admin/requests?before=no-such-id").json() == {"requests": [], "next": None}
    assert place.get("/admin/requests?since=2999-01-01").json()["requests"] == []
    assert place.get("/admin/requests?key=nobody").json()["requests"] == []
    assert place.get("/admin/requests?since=soon").status_code == 400


RECORD = {
    "id", "request_id", "tenant", "key", "route", "model", "dialect", "stream", "attempts", "status", "usage", "cost_usd",
    "overhead_ms", "ttft_ms", "duration_ms", "dropped_fields", "experiment", "cache", "trace_id",
}  # fmt: skip
ATTEMPT = {"backend", "model", "outcome", "status", "error_type", "started_ms", "duration_ms"}


def test_a_record_has_the_shape_that_programs_read(place: Place) -> None:
    _, headers, _ = call(f"{place.gateway.url}/v1/chat/completions", chat("sim", stream=True))
    record = place.gateway.record(headers["x-request-id"])
    assert set(record) >= RECORD
    assert set(record["attempts"][0]) >= ATTEMPT
    assert record["usage"]["source"] == "provider"
    assert 0 < record["ttft_ms"] <= record["duration_ms"]
    assert 0 <= record["overhead_ms"] <= record["duration_ms"]
    assert record["attempts"][0]["outcome"] == "success"
    assert record["dialect"] == "openai_chat"


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/admin/requests?limit=0", 400, "limit"),
        ("/admin/requests?limit=many", 400, "limit"),
        ("/admin/requests?limit=99999", 400, "limit"),
        ("/admin/requests?colour=red", 400, "colour"),
        ("/admin/requests?status=good", 400, "status"),
        ("/admin/requests?stream=maybe", 400, "stream"),
        ("/admin/requests/no-such-id", 404, "no such request"),
        ("/admin/nothing", 404, "/admin/nothing"),
        ("/nothing", 404, "/nothing"),
        ("/metrics?vocabulary=klingon", 400, "klingon"),
    ],
)
def test_what_is_not_there_is_said_to_be(place: Place, path: str, status: int, word: str) -> None:
    answer = place.get(path)
    assert answer.status_code == status
    assert word in answer.text


def test_only_get_and_post_and_only_where_they_lead(place: Place) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        answer = place.client.request(method, "/admin/config")
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
    assert place.client.post("/admin/config").status_code == 405
    for path in ("backends/sim", "backends/sim/explode", "backends/nobody/drain", "backends//drain"):
        assert place.client.post(f"/admin/{path}").status_code == 404
    assert "spare" in place.client.post("/admin/backends/nobody/drain").json()["error"]
    assert place.client.head("/admin/config").content == b""


def served_by(place: Place, model: str = "sim") -> str:
    _, headers, _ = call(f"{place.gateway.url}/v1/chat/completions", chat(model))
    return headers.get("x-served-by", "")


def test_a_drained_backend_gets_nothing_until_it_is_resumed(place: Place) -> None:
    assert served_by(place) == "sim"
    answer = place.client.post("/admin/backends/sim/drain")
    assert (answer.status_code, answer.json()["drained"], answer.json()["healthy"]) == (200, True, False)
    assert served_by(place) == "spare"
    assert place.gateway.metric('inference_gateway_backend_health{backend="sim",namespace="default"}') == 0
    assert place.client.post("/admin/backends/sim/resume").json()["healthy"] is True
    assert served_by(place) == "sim"


def test_an_open_breaker_can_be_reset_by_hand(place: Place) -> None:
    for _ in range(3):
        assert served_by(place, "sim+500") == "spare"
    assert place.gateway.provider("sim")["breaker"] == "open"
    assert place.gateway.provider("sim")["last_error"]
    assert served_by(place) == "spare"
    answer = place.client.post("/admin/backends/sim/reset-breaker").json()
    assert (answer["breaker"], answer["healthy"]) == ("closed", True)
    assert served_by(place) == "sim"


def test_readiness_says_why_not(place: Place) -> None:
    for name in ("sim", "spare"):
        place.client.post(f"/admin/backends/{name}/drain")
    assert place.get("/readyz").status_code == 200, "one backend is left"
    place.client.post("/admin/backends/proxied/drain")
    for url in (place.gateway.admin_url, place.gateway.url, place.gateway.hypercorn_url):
        for path in ("/readyz", "/health"):
            answer = httpx.get(url + path, trust_env=False)
            assert answer.status_code == 503
            assert answer.json() == {"status": "not_ready", "reasons": ["no healthy backend"]}
        assert httpx.get(url + "/livez", trust_env=False).json() == {"status": "ok"}
    for name in ("sim", "spare", "proxied"):
        place.client.post(f"/admin/backends/{name}/resume")
    assert place.get("/readyz").json() == {"status": "ready"}


def test_a_backend_that_failed_stays_ready_to_be_tried(place: Place) -> None:
    """Else a gateway with one backend would get no traffic from its balancer any more, and could never learn that it works again."""
    for name in ("spare", "proxied"):
        place.client.post(f"/admin/backends/{name}/drain")
    call(f"{place.gateway.url}/v1/chat/completions", chat("sim+500"))
    ready, healthy = place.get("/readyz").status_code, place.gateway.provider("sim")["healthy"]
    for name in ("sim", "spare", "proxied"):
        place.client.post(f"/admin/backends/{name}/resume")
        place.client.post(f"/admin/backends/{name}/reset-breaker")
    assert (ready, healthy) == (200, False)


def test_a_reload_brings_the_file_into_force_or_says_why_not(place: Place) -> None:
    config = gateway_config(place)
    place.gateway.write_config(config.replace('name = "main"', 'name = "renamed"'))
    answer = place.client.post("/admin/reload")
    assert answer.status_code == 200
    assert answer.json()["problems"] == []
    assert any("renamed" in change for change in answer.json()["changes"])
    assert place.get("/admin/config").json()["routes"][0]["name"] == "renamed"
    place.gateway.write_config(config.replace("targets", "tragets"))
    refused = place.client.post("/admin/reload")
    assert refused.status_code == 422
    assert any("tragets" in problem for problem in refused.json()["problems"])
    assert place.get("/admin/config").json()["routes"][0]["name"] == "renamed"
    assert served_by(place) == "sim"
    place.gateway.write_config(config)
    assert place.client.post("/admin/reload").status_code == 200


def test_what_a_reload_would_change_is_shown_and_nothing_is_changed(place: Place) -> None:
    def compared() -> dict[str, Any]:
        answer = place.get("/admin/config?diff=true")
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    config, before = gateway_config(place), place.get("/admin/config").json()
    assert compared() == {"changes": [], "problems": [], "needs_restart": []}
    changed = config.replace("attempts = 2", "attempts = 3").replace("canary-api-key-3", "canary-api-key-9")
    place.gateway.write_config(changed + "[telemetry]\nrecent_max = 77\n")
    found = compared()
    assert found["changes"] == ["telemetry.recent_max: 1000 → 77", "backends.sim.api_key: changed", "routes[main].retry.attempts: 2 → 3"]
    assert (found["problems"], found["needs_restart"]) == ([], ["telemetry.recent_max"])
    place.gateway.write_config(config.replace("targets", "tragets"))
    assert any("tragets" in problem for problem in compared()["problems"])
    assert place.get("/admin/config").json() == before
    assert place.get("/admin/config?diff=perhaps").status_code == 400
    place.gateway.write_config(config)


def test_the_public_listener_has_no_admin_paths(place: Place) -> None:
    for url in (place.gateway.url, place.gateway.hypercorn_url):
        for path in ("/admin/config", "/admin/requests", "/admin/providers"):
            assert httpx.get(url + path, trust_env=False).status_code == 404
        assert call(f"{url}/admin/reload", {})[0] == 404


def test_every_log_line_is_one_json_object(place: Place) -> None:
    served_by(place)
    eventually(lambda: place.gateway.requests())
    lines = [line for line in place.gateway.log.rpartition("\n")[0].splitlines() if line]  # the last may still be being written
    assert all(re.match(r"\{.*\}$", line) and json.loads(line)["event"] for line in lines)
