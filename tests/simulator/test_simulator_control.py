"""What upstream saw can be asked: sockets, disconnects and when they were noticed, bodies to the byte, tokens billed. Faults can be set."""

import hashlib
import time

import orjson
import pytest
import trio

from appliance.simulator.settings import Settings

ASK = [{"role": "user", "content": "Tell me something."}]


async def until(condition, sim, limit_s=30.0):
    """The first stats that fulfil the condition."""
    with trio.fail_after(limit_s):
        while True:
            stats = await sim.stats()
            if condition(stats):
                return stats
            await trio.sleep(0.01)


def request_bytes(model: str, stream: bool = True) -> bytes:
    body = orjson.dumps({"model": model, "stream": stream, "messages": ASK})
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    ("model", "stream", "answered"),
    [("sim+endless", True, True), ("sim+hang", True, False), ("sim@ttft=1m", False, False), ("sim+hang=2", True, True)],
)
async def test_a_client_that_leaves_is_noticed_at_once(sim, model, stream, answered):
    connection = await trio.open_tcp_stream("127.0.0.1", sim.port)
    await connection.send_all(request_bytes(model, stream))
    if answered:
        await connection.receive_some()
    running = await until(lambda s: s["in_flight"] == 1, sim)
    assert running["connections_open"] == 2  # this one, and the one that asks
    left_s = time.monotonic()
    await connection.aclose()
    after = await until(lambda s: s["disconnects"] == 1, sim)
    seen = after["last"][-1]
    assert seen["outcome"] == "client_gone"
    assert 0 <= seen["disconnected_monotonic_s"] - left_s < 1
    assert abs(seen["disconnected_s"] - time.time()) < 10
    assert after["in_flight"] == 0
    await until(lambda s: s["connections_open"] == 1, sim)


async def test_a_request_is_remembered_to_the_byte_and_its_secrets_are_not(sim):
    body = '{"model": "sim",\n  "messages": [{"role":"user","content":"héllo"}]  , "x-unknown": 1}'.encode()
    async with sim.http() as client:
        await client.post(
            "/v1/chat/completions?key=sk-in-query&a=1",
            content=body,
            headers={"authorization": "Bearer sk-secret", "x-api-key": "sk-other", "x-kept": "yes", "cookie": "session=abc"},
        )
        seen = (await sim.stats())["last"][-1]
        exact = await client.get(f"/sim/requests/{seen['number']}/body")
    text = orjson.dumps(seen).decode()
    assert not any(secret in text for secret in ("sk-secret", "sk-other", "sk-in-query", "session=abc"))
    headers = dict(seen["headers"])
    assert headers["authorization"] == "Bearer sha256:" + hashlib.sha256(b"sk-secret").hexdigest()[:12]
    assert headers["x-kept"] == "yes"
    assert seen["path"].startswith("/v1/chat/completions?key=sha256:")
    assert seen["path"].endswith("&a=1")
    assert exact.content == body
    assert seen["body"] == body.decode()
    assert (seen["body_bytes"], seen["body_sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert (seen["status"], seen["outcome"]) == (200, "complete")


async def test_a_body_that_is_no_text_is_shown_in_base64(sim):
    async with sim.http() as client:
        await client.post("/v1/chat/completions", content=b"\xff\xfe")
    seen = (await sim.stats())["last"][-1]
    assert (seen["body"], seen["body_base64"]) == (None, "//4=")


async def test_tokens_are_billed_as_they_are_sent(sim):
    whole = (await sim.wire("sim")).json["usage"]
    await sim.wire("sim", stream=True)
    await sim.wire("other+cut=4", stream=True)
    await sim.wire("sim+500")
    embedded = (await sim.wire("sim", path="/v1/embeddings", input="one two")).json["usage"]
    stats = await sim.stats()
    assert stats["models"]["sim"] == {
        "requests": 4,
        "prompt_tokens": 2 * whole["prompt_tokens"] + embedded["prompt_tokens"],
        "completion_tokens": 2 * whole["completion_tokens"],
    }
    assert stats["models"]["other"] == {"requests": 1, "prompt_tokens": whole["prompt_tokens"], "completion_tokens": 3}
    assert stats["billed"]["completion_tokens"] == 2 * whole["completion_tokens"] + 3
    assert stats["faults"] == {"cut": 1, "500": 1}


async def test_reset_forgets(sim):
    await sim.wire("sim+500;first=1")
    async with sim.http() as client:
        await client.post("/sim/faults", json={"fault": "503"})
        await client.post("/sim/reset")
    stats = await sim.stats()
    assert (stats["requests"], stats["last"], stats["faults"], stats["models"], stats["standing_faults"]) == (0, [], {}, {}, [])
    assert (await sim.wire("sim+500;first=1")).status == 500


async def test_a_standing_fault_meets_matching_models_so_often(sim):
    async with sim.http() as client:
        answer = await client.post("/sim/faults", json={"model": "gpt-*", "fault": "503", "count": 2})
        assert answer.json()["faults"] == [{"model": "gpt-*", "path": "", "fault": "503", "count": 2, "met": 0}]
        statuses = [(await sim.wire(m)).status for m in ("gpt-4o", "sim", "gpt-5", "gpt-4o")]
        assert statuses == [503, 200, 503, 200]
        assert (await client.get("/sim/faults")).json() == {"faults": []}


async def test_a_standing_fault_stays_until_it_is_cleared_or_replaced(sim):
    async with sim.http() as client:
        for fault, status in (("500", 500), ("429", 429), (None, 200)):
            await client.post("/sim/faults", json={"model": "*", "fault": fault})
            assert [(await sim.wire("sim")).status for _ in range(2)] == [status, status]
        await client.post("/sim/faults", json={"fault": "500"})
        await client.request("DELETE", "/sim/faults")
    assert (await sim.wire("sim")).status == 200


async def test_a_standing_fault_on_a_path_meets_health_checks_and_leaves_calls_alone(sim):
    async with sim.http() as client:
        await client.post("/sim/faults", json={"path": "/v1/models*", "fault": "503"})
        assert (await client.get("/v1/models")).status_code == 503
        assert (await client.get("/v1/models/x")).status_code == 503
        assert (await client.get("/health")).status_code == 200
    assert (await sim.wire("sim")).status == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"fault": "nonsense"}, "fault"),
        ({"fault": "500", "count": 0}, "count"),
        ({"fault": "500", "count": True}, "count"),
        ({"fault": 500}, "fault"),
        ({"fault": "500", "model": "a", "path": "/b"}, "path"),
        ({"fault": "500", "modle": "a"}, "modle"),
    ],
)
async def test_a_mistaken_standing_fault_is_refused(sim, fields, param):
    async with sim.http() as client:
        answer = await client.post("/sim/faults", json=fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_standing_faults_are_bounded(start):
    async with start(Settings(standing_faults_max=2)) as sim, sim.http() as client:
        statuses = [(await client.post("/sim/faults", json={"model": m, "fault": "500"})).status_code for m in ("a", "b", "c", "a")]
    assert statuses == [200, 200, 400, 200]


async def test_the_log_is_bounded_in_requests_and_in_bytes(start):
    async with start(Settings(log_requests_max=3, log_bytes_max=1000, log_body_max_bytes=600)) as sim:
        for i in range(5):
            await sim.wire(f"m{i}", user="x" * 800)
        stats = await sim.stats(last=100)
    assert [s["model"] for s in stats["last"]] == ["m2", "m3", "m4"]
    assert [len(s["body"] or "") for s in stats["last"]] == [0, 0, 600]
    assert stats["last"][-1]["body_truncated"] is True
    assert stats["last"][-1]["body_bytes"] > 800
    assert stats["requests"] == 5


async def test_names_are_bounded(start):
    async with start(Settings(counters_max=2)) as sim:
        for i in range(4):
            await sim.wire(f"m{i}@ttft=0,tps=0")
        stats = await sim.stats()
    assert set(stats["models"]) == {"m0", "m1", "other"}
    assert stats["models"]["other"]["requests"] == 2


async def test_control_endpoints_are_not_observed_and_unknown_ones_are_refused(sim):
    async with sim.http() as client:
        for method, path, status in (
            ("GET", "/sim/stats", 200),
            ("POST", "/sim/stats", 405),
            ("GET", "/sim/nothing", 404),
            ("GET", "/sim/requests/99/body", 404),
        ):
            assert (await client.request(method, path)).status_code == status
    assert (await sim.stats())["requests"] == 0
