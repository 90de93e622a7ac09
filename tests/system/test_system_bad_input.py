"""What callers get wrong: the right status in OpenAI's envelope, words that help, an id to ask about, one record, and never a backend."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from doors import DOORS, Door, Site, site
from rig import KEY, chat, eventually

EXPIRED_KEY, NARROW_KEY = "sk-expired-0123456789", "sk-narrow-0123456789"
BODY_MAX_BYTES = 100_000
ITEMS_MAX = 2_000
CONFIG = """
[tenants.old]
keys = [ { id = "old", sha256 = "EXPIRED", expires = 2020-01-01 } ]
[tenants.narrow]
models = ["small"]
keys = [ { id = "narrow", sha256 = "NARROW" } ]
[backends.sim]
provider = "custom"
base_url = "{sim}"
[[routes]]
name = "known"
models = ["sim", "small"]
targets = [ { backend = "sim" } ]
""".replace("EXPIRED", hashlib.sha256(EXPIRED_KEY.encode()).hexdigest()).replace("NARROW", hashlib.sha256(NARROW_KEY.encode()).hexdigest())

MESSAGES = b'"messages":[{"role":"user","content":"Hi"}]'
# name: (body, code, a word of the message); every one is a 400
BROKEN: dict[str, tuple[bytes, str, str]] = {
    "nothing": (b"", "invalid_json", "empty"),
    "white space": (b" \n ", "invalid_json", "empty"),
    "half": (b'{"model":"sim",', "invalid_json", "line 1"),
    "no JSON": (b"model=sim&messages=hi", "invalid_json", "not valid JSON"),
    "single quotes": (b"{'model': 'sim'}", "invalid_json", "not valid JSON"),
    "trailing comma": (b'{"model":"sim",' + MESSAGES + b",}", "invalid_json", "comma"),
    "two documents": (b'{"model":"sim",' + MESSAGES + b"}{}", "invalid_json", "not valid JSON"),
    "NaN": (b'{"model":"sim","temperature":NaN,' + MESSAGES + b"}", "invalid_json", "not valid JSON"),
    "control character": (b'{"model":"s\x01im",' + MESSAGES + b"}", "invalid_json", "control character"),
    "byte order mark": (b"\xef\xbb\xbf" + b'{"model":"sim",' + MESSAGES + b"}", "invalid_json", "byte order mark"),
    "bad UTF-8": (b'{"model":"sim","user":"\xff\xfe",' + MESSAGES + b"}", "invalid_json", "UTF-8"),
    "UTF-16": ('{"model":"sim"}'.encode("utf-16"), "invalid_json", "UTF-8"),
    "null": (b"null", "invalid_json", "null"),
    "an array": (b"[]", "invalid_json", "an array"),
    "a string": (b'"sim"', "invalid_json", "a string"),
    "a number": (b"12", "invalid_json", "a number"),
    "deep nesting": (b'{"model":"sim","x":' + b"[" * 5000 + b"]" * 5000 + b"," + MESSAGES + b"}", "invalid_json", "not valid JSON"),
    "unclosed nesting": (b"[" * 10_000, "invalid_json", "not valid JSON"),
    "no model": (b"{" + MESSAGES + b"}", "missing_required_parameter", "model"),
    "model null": (b'{"model":null,' + MESSAGES + b"}", "missing_required_parameter", "null"),
    "model empty": (b'{"model":"",' + MESSAGES + b"}", "missing_required_parameter", "empty"),
    "model blank": (b'{"model":"  ",' + MESSAGES + b"}", "invalid_value", "empty"),
    "model a number": (b'{"model":4,' + MESSAGES + b"}", "invalid_value", "a number"),
    "model endless": (b'{"model":"' + b"m" * 600 + b'",' + MESSAGES + b"}", "invalid_value", "512"),
    "model twice": (b'{"model":"sim",' + MESSAGES + b',"model":"small"}', "duplicate_field", "model"),
    "model twice, once in escapes": (b'{"model":"sim",' + MESSAGES + b',"mod\\u0065l":"small"}', "duplicate_field", "model"),
    "stream twice": (b'{"model":"sim","stream":false,' + MESSAGES + b',"stream":true}', "duplicate_field", "stream"),
    "limit twice": (b'{"model":"sim","max_tokens":1,' + MESSAGES + b',"max_tokens":9}', "duplicate_field", "max_tokens"),
    "stream a word": (b'{"model":"sim","stream":"yes",' + MESSAGES + b"}", "invalid_type", "stream"),
    "no messages": (b'{"model":"sim"}', "missing_required_parameter", "messages"),
    "messages a string": (b'{"model":"sim","messages":"Hi"}', "invalid_type", "a string"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    head = f"[server.limits]\nbody_max_bytes = {BODY_MAX_BYTES}\nitems_max = {ITEMS_MAX}"
    with site(tmp_path_factory.mktemp("bad"), CONFIG, head=head) as both:
        yield both


@pytest.fixture(scope="module", params=DOORS)
def door(place: Site, request: pytest.FixtureRequest) -> Door:
    return place.door(request.param)


@pytest.fixture(scope="module", params=DOORS[:2])
def cleartext(place: Site, request: pytest.FixtureRequest) -> Door:
    """For long tables: HTTP/2 adds nothing to them."""
    return place.door(request.param)


def refused(answer: httpx.Response, status: int, code: str, word: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    """Checks the envelope; returns the error."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    document = answer.json()
    error: dict[str, Any] = document["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == (kind, code)
    assert word.lower() in error["message"].lower()
    assert document["request_id"] == answer.headers["x-request-id"]
    return error


def counts(place: Site, status: int, tenant: str = "test", model: str = "unknown") -> tuple[float, float, float]:
    """A refusal as two vocabularies count it, and everything that reached a backend."""
    place.gateway.settle()
    word = {401: "unauthorized", 403: "unauthorized", 404: "no_provider"}.get(status, "bad_request")
    metric = place.gateway.metric
    return (
        metric(f'inference_gateway_requests_total{{route="none",backend="none",status="{status}"}}'),
        metric(f'aigateway_requests_total{{tenant_id="{tenant}",provider="none",model="{model}",status="{word}"}}'),
        float(place.sim.stats()["requests"]),
    )


@pytest.mark.parametrize("name", BROKEN)
def test_a_body_that_makes_no_sense_is_a_400_that_says_why(place: Site, cleartext: Door, name: str) -> None:
    body, code, word = BROKEN[name]
    before = counts(place, 400)
    answer = cleartext.post("/v1/chat/completions", content=body)
    refused(answer, 400, code, word)
    record = cleartext.record(answer)
    assert (record["status"], record["error_type"], record["route"], record["attempts"]) == (400, "invalid_request", "none", [])
    one, other, reached = counts(place, 400)
    assert (one - before[0], other - before[1], reached - before[2]) == (1, 1, 0)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
def test_the_other_endpoints_refuse_alike(door: Door, path: str) -> None:
    refused(door.post(path, content=b"{"), 400, "invalid_json", "not valid JSON")
    refused(door.post(path, content=b"{}"), 400, "missing_required_parameter", "model")
    refused(door.post(path, body={"model": "nobody", "input": "x"}), 404, "model_not_found", "nobody", "not_found_error")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"])
def test_a_body_of_another_type_is_a_415(place: Site, door: Door, kind: str) -> None:
    before = counts(place, 415)[0]
    answer = door.post("/v1/chat/completions", content=json.dumps(chat("sim")).encode(), headers={"content-type": kind})
    refused(answer, 415, "unsupported_media", "application/json")
    assert door.record(answer)["status"] == 415
    assert counts(place, 415)[0] == before + 1


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json", None])
def test_a_json_body_by_any_of_its_names_is_taken(door: Door, kind: str | None) -> None:
    with door.http() as client:
        headers = {"authorization": f"Bearer {KEY}", **({"content-type": kind} if kind else {})}
        assert client.post("/v1/chat/completions", content=json.dumps(chat("sim")).encode(), headers=headers).status_code == 200


def test_a_compressed_body_is_a_415_that_says_so(door: Door) -> None:
    answer = door.post("/v1/chat/completions", content=b"\x1f\x8b\x08\x00", headers={"content-encoding": "gzip"})
    refused(answer, 415, "unsupported_media", "gzip")


def test_a_body_of_too_many_objects_is_a_413(place: Site, door: Door) -> None:
    crowded = {"model": "sim", "messages": [{"role": "user", "content": "x"}] * 2_000}
    refused(door.chat(crowded), 413, "too_many_items", str(ITEMS_MAX))
    crowded["messages"] = [{"role": "user", "content": "x"}] * 1_900
    assert door.chat(crowded).status_code == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_over_the_limit_is_a_413(place: Site, door: Door, chunked: bool) -> None:
    before = counts(place, 413)[0]
    body = json.dumps(chat("sim", "x" * 3 * BODY_MAX_BYTES)).encode()
    pieces: Any = (body[start : start + 20_000] for start in range(0, len(body), 20_000))
    answer = door.post("/v1/chat/completions", content=pieces if chunked else body)
    refused(answer, 413, "body_too_large", str(BODY_MAX_BYTES))
    assert door.record(answer)["error_type"] == "body_too_large"
    assert counts(place, 413)[0] == before + 1
    just = json.dumps(chat("sim", "x" * (BODY_MAX_BYTES - 200))).encode()
    assert door.post("/v1/chat/completions", content=just).status_code == 200


def test_a_refusal_leaves_the_other_streams_of_its_connection_alone(door: Door) -> None:
    """Over one connection where the protocol shares it."""
    headers = {"authorization": f"Bearer {KEY}"}
    long = chat("sim", "[[tokens=150]]", stream=True)
    with door.http(headers=headers) as client, client.stream("POST", "/v1/chat/completions", json=long) as running:
        pieces = running.iter_bytes()
        got = next(pieces)
        refused(client.post("/v1/chat/completions", json=chat("sim", "x" * 3 * BODY_MAX_BYTES)), 413, "body_too_large", "")
        wrong = client.post("/v1/chat/completions", json=chat("sim", "x" * 9000), headers={"authorization": "Bearer sk-wrong"})
        refused(wrong, 401, "invalid_api_key", "key", "authentication_error")
        got += b"".join(pieces)
    assert got.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ({}, "no API key"),
        ({"authorization": "Bearer sk-wrong"}, "not known"),
        ({"authorization": "Bearer"}, "no API key"),
        ({"authorization": "Basic dXNlcjpwYXNz"}, "no API key"),
        ({"authorization": f"Bearer {EXPIRED_KEY}"}, "expired"),
        ({"x-api-key": "sk-wrong"}, "not known"),
        ({"authorization": "Bearer sk-wrong", "x-api-key": KEY}, "not known"),
        ({"authorization": f"Bearer {KEY}x"}, "not known"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models"])
def test_without_a_good_key_there_is_only_a_401(place: Site, door: Door, path: str, headers: dict[str, str], word: str) -> None:
    before = counts(place, 401, "none")
    with door.http(headers=headers) as client:
        answer = client.get(path) if path == "/v1/models" else client.post(path, json=chat("sim"))
    refused(answer, 401, "invalid_api_key", word, "authentication_error")
    assert "sk-" not in answer.text
    if path != "/v1/models":
        record = door.record(answer)
        assert (record["tenant"], record["key"], record["error_type"]) == ("none", "none", "unauthorized")
        assert counts(place, 401, "none") == (before[0] + 1, before[1] + 1, before[2])


@pytest.mark.parametrize("headers", [{"authorization": f"bearer {KEY}"}, {"x-api-key": KEY}, {"x-goog-api-key": KEY}, {"api-key": KEY}])
def test_a_key_is_taken_wherever_the_usual_clients_put_it(door: Door, headers: dict[str, str]) -> None:
    with door.http(headers=headers) as client:
        assert client.post("/v1/chat/completions", json=chat("sim")).status_code == 200


def test_a_key_in_the_query_is_taken_and_never_written_down(place: Site, door: Door) -> None:
    with door.http() as client:
        answer = client.post(f"/v1/chat/completions?key={KEY}", json=chat("sim"))
        listed = client.get("/v1/models", params={"key": KEY})
    assert (answer.status_code, listed.status_code) == (200, 200)
    shown = eventually(lambda: [one for one in place.gateway.requests() if one["request_id"] == answer.headers["x-request-id"]])
    assert shown[0]["path"] == "/v1/chat/completions"
    assert KEY not in place.gateway.log
    assert "key=" not in place.sim.stats(1)["last"][-1]["path"]


def test_a_model_that_the_key_may_not_use_is_a_403(place: Site, door: Door) -> None:
    before = counts(place, 403, "narrow", "sim")
    answer = door.chat(chat("sim"), key=NARROW_KEY)
    error = refused(answer, 403, "model_not_allowed", "sim", "permission_error")
    assert error["param"] == "model"
    assert counts(place, 403, "narrow", "sim") == (before[0] + 1, before[1] + 1, before[2])
    assert door.chat(chat("small"), key=NARROW_KEY).status_code == 200


def test_an_unknown_model_is_a_404_and_never_a_label(place: Site, door: Door) -> None:
    before = counts(place, 404)
    answer = door.chat(chat("made-up-model-name"))
    error = refused(answer, 404, "model_not_found", "made-up-model-name", "not_found_error")
    assert error["param"] == "model"
    assert "/v1/models" in error["message"]
    assert counts(place, 404) == (before[0] + 1, before[1] + 1, before[2])
    metrics = httpx.get(place.gateway.admin_url + "/metrics", trust_env=False).text
    assert "made-up-model-name" not in metrics


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
def test_another_method_is_a_405_that_names_the_right_one(cleartext: Door, path: str, method: str) -> None:
    with cleartext.http(headers={"authorization": f"Bearer {KEY}"}) as client:
        answer = client.request(method, path)
    refused(answer, 405, "method_not_allowed", "POST")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/sim", "/livez", "/readyz", "/metrics"])
def test_what_is_only_looked_at_takes_no_post(door: Door, path: str) -> None:
    answer = door.post(path, body={})
    refused(answer, 405, "method_not_allowed", "GET")
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/chat", "/v1/chat/completions/", "/v1/assistants", "/admin/config", "/..%2f"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_a_404_that_lists_what_there_is(door: Door, path: str, method: str) -> None:
    with door.http(headers={"authorization": f"Bearer {KEY}"}) as client:
        answer = client.request(method, path)
    refused(answer, 404, "not_found", "/v1/chat/completions", "not_found_error")


def test_head_is_answered_without_a_body(door: Door) -> None:
    with door.http() as client:
        for path, status in (("/livez", 200), ("/readyz", 200), ("/v1/chat/completions", 405), ("/nowhere", 404)):
            answer = client.head(path)
            assert (answer.status_code, answer.content) == (status, b"")


@pytest.mark.parametrize(("given", "kept"), [("a-1.2_3", True), ("a" * 128, True), ("a" * 129, False), ("has space", False), ("é", False)])
def test_a_callers_request_id_is_kept_when_it_can_be_printed(door: Door, given: str, kept: bool) -> None:
    for answer in (
        door.chat(chat("sim"), headers={"x-request-id": given.encode()}),
        door.post("/v1/chat/completions", content=b"{", headers={"x-request-id": given.encode()}),
        door.post("/nowhere", body={}, headers={"x-request-id": given.encode()}),
    ):
        assert (answer.headers["x-request-id"] == given) is kept
        assert answer.headers["x-request-id"].isascii()


def test_after_all_that_the_gateway_is_well(place: Site, door: Door) -> None:
    assert door.chat(chat("sim")).status_code == 200
    assert place.gateway.admin("/admin/stats")
    assert "Traceback" not in place.gateway.log
    assert not [one for one in place.gateway.events() if one["level"] == "error"]
