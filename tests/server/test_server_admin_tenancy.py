"""Tenants, keys, usage and audit over the admin API, and the document that describes all of it."""

import csv
import io
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from rig import KEY, Gateway, Simulator, call, chat, eventually, one_backend, running

from appliance.server.admin_table import TABLE

TOKEN = "canary-admin-token"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("tenancy")
    sim = Simulator(folder)
    with running(sim):
        priced = '[prices.models."sim-priced"]\ninput_usd_per_mtok = 1000\noutput_usd_per_mtok = 1000\n'
        one = Gateway(folder, one_backend(sim) + priced, admin=f'token = "{TOKEN}"')
        with running(one):
            yield one


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=gateway.admin_url, trust_env=False, timeout=30, headers=headers) as one:
        yield one


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    return dict(client.get("/admin/openapi.json").json())


def asked(gateway: Gateway, key: str, model: str = "sim") -> int:
    return call(f"{gateway.url}/v1/chat/completions", chat(model), authorization=f"Bearer {key}")[0]


def test_a_tenant_is_made_shown_changed_and_removed(client: httpx.Client) -> None:
    made = client.post("/admin/tenants", json={"name": "acme", "rpm": 60, "budget": {"usd": 5}})
    assert made.status_code == 201
    assert (made.json()["name"], made.json()["source"], made.json()["rpm"]) == ("acme", "store", 60)
    assert client.get("/admin/tenants/acme").json() == made.json()
    names = [(one["name"], one["source"]) for one in client.get("/admin/tenants").json()["tenants"]]
    assert names == [("acme", "store"), ("test", "file")]
    assert client.post("/admin/tenants", json={"name": "acme"}).status_code == 409
    changed = client.put("/admin/tenants/acme", json={"tpm": 5})
    assert (changed.status_code, changed.json()["tpm"], changed.json()["rpm"], changed.json()["budget"]) == (200, 5, None, None)
    assert client.delete("/admin/tenants/acme").json() == {"name": "acme", "removed_keys": []}
    for answer in (client.get("/admin/tenants/acme"), client.put("/admin/tenants/acme", json={}), client.delete("/admin/tenants/acme")):
        assert answer.status_code == 404


def test_a_key_works_at_once_and_is_told_once(client: httpx.Client, gateway: Gateway) -> None:
    client.post("/admin/tenants", json={"name": "keyed", "models": ["sim*"]})
    made = client.post("/admin/keys", json={"tenant": "keyed", "id": "k", "expires": "2099-01-01"})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    secret = made.json()["key"]
    assert (asked(gateway, secret), asked(gateway, secret, "gpt")) == (200, 403)
    shown = client.get("/admin/keys/k").json()
    assert shown == {name: value for name, value in made.json().items() if name != "key"}
    turned = client.post("/admin/keys/k/rotate", json={"grace_s": 0}).json()
    assert (asked(gateway, secret), asked(gateway, turned["key"])) == (401, 200)
    assert client.delete("/admin/keys/k").json()["state"] == "revoked"
    assert asked(gateway, turned["key"]) == 401
    assert client.post("/admin/keys/k/revoke").status_code == 200
    assert "k" not in [one["id"] for one in client.get("/admin/keys").json()["keys"]]
    assert "k" in [one["id"] for one in client.get("/admin/keys?all=true&tenant=keyed").json()["keys"]]
    assert client.post("/admin/keys", json={"tenant": "nobody"}).status_code == 404


def test_the_key_of_a_tenant_is_made_and_rotated_without_its_id(client: httpx.Client, gateway: Gateway) -> None:
    client.post("/admin/tenants", json={"name": "single"})
    first = client.post("/admin/tenants/single/rotate-key").json()
    second = client.post("/admin/tenants/single/rotate-key", json={}).json()
    assert first["id"] == second["id"]
    assert (asked(gateway, first["key"]), asked(gateway, second["key"])) == (200, 200)
    client.post("/admin/keys", json={"tenant": "single", "id": "another"})
    unclear = client.post("/admin/tenants/single/rotate-key")
    assert (unclear.status_code, "another" in unclear.json()["error"]) == (409, True)
    assert client.post("/admin/tenants/single/rotate-key", json={"id": "another", "grace_s": 1}).json()["id"] == "another"
    assert client.post("/admin/tenants/single/rotate-key", json={"id": "k"}).status_code == 404
    assert client.post("/admin/tenants/nobody/rotate-key").status_code == 404


def test_what_the_file_names_is_read_only(client: httpx.Client) -> None:
    refused = [
        client.put("/admin/tenants/test", json={"rpm": 1}), client.delete("/admin/tenants/test"), client.delete("/admin/keys/test"),
        client.post("/admin/keys/test/rotate"), client.post("/admin/tenants", json={"name": "test"}),
        client.post("/admin/keys", json={"tenant": "test", "id": "test"}),
    ]  # fmt: skip
    for answer in refused:
        assert answer.status_code == 409
        assert "file" in answer.json()["error"]


def test_every_problem_comes_at_once_with_its_path(client: httpx.Client) -> None:
    wrong = {"name": "w", "rpm": "60", "budget": {"usd": -1, "period": "year"}, "modles": []}
    answer = client.post("/admin/tenants", json=wrong)
    assert answer.status_code == 400
    assert {one["path"] for one in answer.json()["problems"]} == {"rpm", "budget.usd", "budget.period", "modles"}
    assert all(set(one) == {"path", "message", "expected", "hint"} for one in answer.json()["problems"])
    for body in (b"{", b"[]", b'"x"', b"\xff", b'{"name": "\\ud800"}', b"{" * 5000, b'{"name": 5}', b"{}"):
        answer = client.post("/admin/tenants", content=body)
        assert (answer.status_code, bool(answer.json()["problems"])) == (400, True), body
    assert client.post("/admin/tenants", content=b"name=x", headers={"content-type": "text/plain"}).status_code == 415
    assert client.post("/admin/tenants", content=b" " * 300_000).status_code == 413
    assert client.get("/admin/tenants/w").status_code == 404


def test_who_changed_what_is_audited_without_secrets(client: httpx.Client) -> None:
    client.post("/admin/tenants", json={"name": "watched", "rpm": 1})
    client.put("/admin/tenants/watched", json={"rpm": 2})
    secret = client.post("/admin/keys", json={"tenant": "watched", "id": "seen"}).json()["key"]
    client.delete("/admin/keys/seen")
    entries = client.get("/admin/audit?limit=4").json()["entries"]
    assert [(one["action"], one["target"]) for one in entries] == [
        ("key.revoke", "seen"), ("key.create", "seen"), ("tenant.set", "watched"), ("tenant.create", "watched"),
    ]  # fmt: skip
    assert (entries[2]["before"], entries[2]["after"], entries[2]["actor"]) == ({"rpm": 1}, {"rpm": 2}, "admin:token@127.0.0.1")
    assert secret[:12] not in client.get("/admin/audit?limit=1000").text
    older = client.get(f"/admin/audit?limit=1&before={entries[0]['id']}").json()["entries"]
    assert older == [entries[1]]
    for query in ("limit=0", "limit=x", "before=0", "limit=99999999999999999999"):
        assert client.get(f"/admin/audit?{query}").status_code == 400


def test_usage_is_summed_for_the_operator_and_for_the_caller(client: httpx.Client, gateway: Gateway) -> None:
    client.post("/admin/tenants", json={"name": "using", "rpm": 600, "tpm": 900_000, "budget": {"usd": 100, "period": "day"}})
    secret = client.post("/admin/keys", json={"tenant": "using", "id": "using-1"}).json()["key"]
    assert [asked(gateway, secret) for _ in range(3)] == [200, 200, 200]
    eventually(lambda: client.get("/admin/usage?tenant=using").json()["total"]["requests"] == 3)
    view = client.get("/admin/usage?tenant=using&by=tenant,key,backend,model,route").json()
    (row,) = view["rows"]
    assert (row["tenant"], row["key"], row["backend"], row["model"], row["route"]) == ("using", "using-1", "sim", "sim", "all")
    assert (row["requests"], row["errors"]) == (3, 0)
    assert row["input_tokens"] > 0
    table = client.get("/admin/usage?tenant=using&by=model&format=csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert [one["requests"] for one in csv.DictReader(io.StringIO(table.text))] == ["3"]
    for query in ("by=colour", "since=soon", "format=xml", "colour=red", "since=1d&until=2d"):
        assert client.get(f"/admin/usage?{query}").status_code == 400, query


def test_a_caller_sees_its_own_tenants_usage_and_nobody_elses(client: httpx.Client, gateway: Gateway) -> None:
    budget = {"usd": 100, "period": "day", "timezone": "Asia/Tokyo"}
    client.post("/admin/tenants", json={"name": "seeing", "rpm": 600, "concurrency": 9, "budget": budget})
    secret = client.post("/admin/keys", json={"tenant": "seeing", "id": "seeing-1"}).json()["key"]
    assert [asked(gateway, secret), asked(gateway, secret), asked(gateway, KEY)] == [200, 200, 200]

    def usage(query: str = "", **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in headers.items()} or {"authorization": f"Bearer {secret}"}
        return httpx.get(f"{gateway.url}/v1/usage{query}", headers=given, trust_env=False)

    view = eventually(lambda: usage().json() if usage().json()["total"]["requests"] == 2 else None)
    assert list(view)[:7] == ["tenant", "period", "budget_usd", "spent_usd", "reserved_usd", "limits", "from"]
    assert (view["tenant"], view["budget_usd"], view["reserved_usd"]) == ("seeing", 100.0, 0.0)
    assert view["limits"] == {"requests_per_minute": 600, "tokens_per_minute": None, "concurrency": 9}
    assert view["period"]["start"].endswith("T15:00:00Z"), "midnight in Tokyo"
    assert view["period"]["end"].endswith("T15:00:00Z")
    assert view["spent_usd"] == view["total"]["cost_usd"]
    assert [(row["model"], row["requests"]) for row in view["rows"]] == [("sim", 2)]
    assert usage("?by=key&key=seeing-1").json()["rows"][0]["key"] == "seeing-1"
    assert usage("?by=key&key=test").json()["rows"] == [], "another tenant's key"
    assert usage("?by=model&format=csv").text.splitlines()[1].startswith("sim,2,")
    assert usage(f"?key={secret}", x_nothing="").json()["total"]["requests"] == 2, "Gemini's clients send it there"
    assert usage(x_api_key="wrong").status_code == 401
    for query in ("?tenant=test", "?by=colour", "?since=soon", "?format=xml"):
        refused = usage(query)
        assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error"), query
    assert client.put("/admin/tenants/seeing", json={"rpm": 1}).status_code == 200
    assert eventually(lambda: asked(gateway, secret) == 429)
    assert [usage().status_code for _ in range(3)] == [200, 200, 200], "who is at a limit wants to know"
    month = httpx.get(f"{gateway.url}/v1/usage", headers={"authorization": f"Bearer {KEY}"}, trust_env=False).json()
    assert (month["budget_usd"], month["period"]["start"][8:]) == (None, "01T00:00:00Z")
    assert httpx.post(f"{gateway.url}/v1/usage", trust_env=False).status_code == 405


def test_what_a_tenant_has_spent_of_its_budget_is_told_as_it_stands(client: httpx.Client, gateway: Gateway) -> None:
    client.post("/admin/tenants", json={"name": "paying", "budget": {"usd": 50}})
    secret = client.post("/admin/keys", json={"tenant": "paying"}).json()["key"]
    headers = {"authorization": f"Bearer {secret}"}
    status, answered, _ = call(f"{gateway.url}/v1/chat/completions", chat("sim-priced"), authorization=headers["authorization"])
    assert status == 200
    cost = float(answered["x-gateway-cost-usd"])
    assert cost > 0

    def settled() -> dict[str, Any] | None:
        view = dict(httpx.get(f"{gateway.url}/v1/usage", headers=headers, trust_env=False).json())
        return view if view["total"]["requests"] else None

    view = eventually(settled)
    assert (view["budget_usd"], view["reserved_usd"]) == (50.0, 0.0)
    assert view["spent_usd"] == pytest.approx(cost)
    assert view["total"]["cost_usd"] == pytest.approx(cost)
    assert client.get("/admin/usage?tenant=paying").json()["total"]["cost_usd"] == pytest.approx(cost)


# The document.


def test_the_document_holds_every_route_and_no_other(document: dict[str, Any]) -> None:
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert {(route.method, route.path) for route in TABLE} <= described
    outside = {path for _, path in described} - {route.path for route in TABLE}
    assert outside == {"/metrics", "/livez", "/healthz", "/readyz", "/health"}
    named = {path for _, path in described}
    assert {
        "/admin/tenants", "/admin/tenants/{name}", "/admin/tenants/{name}/rotate-key", "/admin/keys", "/admin/usage", "/admin/providers",
        "/admin/stats", "/admin/requests", "/admin/requests/{id}", "/admin/config", "/admin/openapi.json", "/admin/reload",
        "/admin/backends/{name}/drain", "/admin/backends/{name}/resume", "/admin/backends/{name}/reset-breaker",
    } <= named  # fmt: skip


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    """Its own rules (spec.openapis.org/oas/v3.1.0): required members, unique operations, parameters of the path, references that lead."""
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert {"title", "version"} <= set(document["info"])
    operations = [(path, one) for path, item in document["paths"].items() for one in item.values()]
    ids = [one["operationId"] for _, one in operations]
    assert len(ids) == len(set(ids))
    for path, one in operations:
        in_path = [each["name"] for each in one["parameters"] if each["in"] == "path"]
        assert in_path == re.findall(r"\{(\w+)\}", path)
        assert all(each["required"] for each in one["parameters"] if each["in"] == "path")
        assert all(set(each) <= {"name", "in", "required", "description", "schema"} for each in one["parameters"])
        assert any(status.startswith("2") for status in one["responses"])
        assert all(re.fullmatch(r"[1-5]\d\d", status) and each["description"] for status, each in one["responses"].items())
    schemas = document["components"]["schemas"]
    assert all(re.fullmatch(r"[\w.-]+", name) for name in schemas)
    for found in re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)):
        assert found.removeprefix("#/components/schemas/") in schemas
    used = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert used == set(schemas), "a schema that nobody uses describes nothing"
    for schema in schemas_in(document):
        known = {
            "type", "properties", "required", "additionalProperties", "items", "minItems", "anyOf", "enum", "minimum", "maximum",
            "minLength", "maxLength", "pattern", "format", "default", "description", "$ref",
        }  # fmt: skip
        assert set(schema) <= known, schema
        assert set(schema.get("required", ())) <= set(schema.get("properties", ())), schema


def schemas_in(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    waiting = list(document["components"]["schemas"].values())
    for item in document["paths"].values():
        for one in item.values():
            waiting += [each["schema"] for each in one["parameters"]]
            bodies = [*one["responses"].values(), *([one["requestBody"]] if "requestBody" in one else [])]
            waiting += [content["schema"] for body in bodies for content in body.get("content", {}).values()]
    while waiting:
        schema = waiting.pop()
        yield schema
        waiting += [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
        waiting += [schema["items"]] if "items" in schema else []


def test_settings_are_described_as_the_configuration_has_them(document: dict[str, Any]) -> None:
    rpm = document["components"]["schemas"]["TenantSettings"]["properties"]["rpm"]
    assert rpm == {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "description": "requests per minute"}
    key = document["components"]["schemas"]["NewKey"]
    assert key["required"] == ["tenant"]
    assert "sha256" not in key["properties"]


JUNK = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=20),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
NAMES = some.sampled_from(["acme", "test", "fuzz", "k", "nobody", "sim"]) | some.text(min_size=1, max_size=12)


def of_schema(schema: dict[str, Any], document: dict[str, Any]) -> some.SearchStrategy[Any]:
    """Values as a schema wants them, now and then others."""
    if "$ref" in schema:
        return of_schema(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], document)
    if "anyOf" in schema:
        return some.one_of([of_schema(one, document) for one in schema["anyOf"]])
    if "enum" in schema:
        return some.sampled_from(schema["enum"]) | JUNK
    match schema.get("type"):
        case "object":
            parts = {name: of_schema(one, document) for name, one in schema.get("properties", {}).items()}
            return some.fixed_dictionaries({}, optional=parts) | some.dictionaries(some.sampled_from([*parts, "x"]), JUNK, max_size=4)
        case "array":
            return some.lists(of_schema(schema["items"], document), max_size=3)
        case "integer":
            return some.integers(0, 1000) | some.integers()
        case "number":
            return some.floats(0, 1000) | some.floats(allow_nan=False)
        case "boolean":
            return some.booleans()
    return NAMES | some.sampled_from(["2099-01-01", "UTC", "*", "gpt-*"]) | some.text(max_size=20)


def state(gateway: Gateway) -> list[list[Any]]:
    """All tenants, keys and changes, as they lie in the store."""
    path = gateway.config_path.parent
    (file,) = [found for found in path.rglob("*.db") if found.is_file()]
    connection = sqlite3.connect(file)
    try:
        tables = ("tenants", "keys", "(SELECT max(id) AS id FROM audit)")
        columns = ("*", "id, tenant, sha256, settings, expires_at, revoked_at, previous_sha256, previous_until", "id")
        return [connection.execute(f"SELECT {what} FROM {table}").fetchall() for what, table in zip(columns, tables, strict=True)]
    finally:
        connection.close()


def test_no_input_makes_the_admin_api_fail_or_leaves_half_a_change(
    client: httpx.Client, gateway: Gateway, document: dict[str, Any]
) -> None:
    operations = [
        (method, path, one)
        for path, item in document["paths"].items()
        for method, one in item.items()
        if path.startswith("/admin") and path != "/admin/reload"
    ]

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(some.data())
    def fuzz(data: some.DataObject) -> None:
        method, path, one = data.draw(some.sampled_from(operations))
        names = {each["name"]: data.draw(NAMES) for each in one["parameters"] if each["in"] == "path"}
        query = {
            each["name"]: str(data.draw(of_schema(each["schema"], document))) for each in one["parameters"]
            if each["in"] == "query" and data.draw(some.booleans())
        }  # fmt: skip
        body: bytes | None = None
        if "requestBody" in one:
            schema = one["requestBody"]["content"]["application/json"]["schema"]
            value = data.draw(of_schema(schema, document) | JUNK)
            body = data.draw(some.just(json.dumps(value).encode()) | some.binary(max_size=20))
        url = path
        for name, text in names.items():
            url = url.replace("{" + name + "}", quoted(text))
        before = state(gateway)
        answer = client.request(method, url, params=query, content=body, headers={"content-type": "application/json"})
        after = state(gateway)
        assert answer.status_code < 500, (method, url, body, answer.text)
        lost = any(text in (".", "..") for text in names.values())  # the client makes another path of them
        assert lost or str(answer.status_code) in one["responses"], (method, url, body, answer.status_code)
        if answer.status_code >= 400:
            assert answer.json()["error"]
            assert after == before
        elif method == "get":
            assert after == before
        else:
            assert len(after[0]) - len(before[0]) in (0, 1, -1)
            assert (after != before) == (after[2] != before[2]), "whatever changed is in the audit"

    fuzz()
    client.post("/admin/backends/sim/resume")
    assert asked(gateway, KEY) == 200
    assert "request_failed" not in gateway.log


def quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))


def test_without_the_token_nothing_is_told_and_nothing_changed(gateway: Gateway) -> None:
    before = state(gateway)
    for route in TABLE:
        url = gateway.admin_url + route.path.replace("{name}", "acme").replace("{id}", "k")
        answer = httpx.request(route.method, url, trust_env=False, json={"name": "x", "tenant": "test"} if route.takes else None)
        assert answer.status_code == 401, route.path
    assert state(gateway) == before


def test_secrets_told_over_the_api_are_in_no_log(gateway: Gateway, client: httpx.Client) -> None:
    secret = client.post("/admin/keys", json={"tenant": "test", "id": "logged"}).json()["key"]
    assert asked(gateway, secret) == 200
    assert secret not in gateway.log
    assert TOKEN not in gateway.log
    assert Path(gateway.log_path).exists()
