"""The simulator behaves as the service does towards wrong keys, paths and bodies, and listens where it is told."""

import socket
from functools import partial

import httpx
import pytest
import trio

from appliance.http1.listen import ListenFault
from appliance.simulator.serve import open_sockets, serve
from appliance.simulator.settings import Settings

ASK = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f"}}
OTHER = {"type": "function", "function": {"name": "g"}}


async def test_a_required_key_is_required(start):
    async with start(Settings(require_key="sk-right-key-0123456789")) as sim, sim.http() as client:
        cases = [
            ({}, 401, None),
            ({"authorization": "Bearer sk-wrong-key-0123456789"}, 401, "invalid_api_key"),
            ({"authorization": "Bearer sk-right-key-0123456789"}, 200, None),
            ({"api-key": "sk-right-key-0123456789"}, 200, None),
        ]
        for headers, status, code in cases:
            answer = await client.get("/v1/models", headers=headers)
            assert answer.status_code == status
            if status != 200:
                assert answer.json()["error"]["code"] == code
                assert answer.json()["error"]["type"] == "invalid_request_error"
        wrong = await client.get("/v1/models", headers=cases[1][0])
        assert "sk-wr***6789" in wrong.json()["error"]["message"]
        assert (await client.get("/health")).status_code == 200
    assert "right" not in repr(Settings(require_key="sk-right"))


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"messages": ASK}, 400, None),
        ({"model": "sim"}, 400, "messages"),
        ({"model": "sim", "messages": []}, 400, "messages"),
        ({"model": "sim", "messages": "hi"}, 400, "messages"),
        ({"model": "sim", "messages": ["hi"]}, 400, "messages[0]"),
        ({"model": "sim", "messages": [{"role": "robot", "content": "hi"}]}, 400, "messages[0].role"),
        ({"model": "sim", "messages": [{"role": "user", "content": 7}]}, 400, "messages[0].content"),
        ({"model": "sim", "messages": [{"role": "user", "content": [{"type": "smell"}]}]}, 400, "messages[0].content[0].type"),
        ({"model": "sim", "messages": ASK, "max_tokens": 0}, 400, "max_tokens"),
        ({"model": "sim", "messages": ASK, "max_tokens": "7"}, 400, "max_tokens"),
        ({"model": "sim", "messages": ASK, "n": 129}, 400, "n"),
        ({"model": "sim", "messages": ASK, "stream": "yes"}, 400, "stream"),
        ({"model": "sim", "messages": ASK, "stream_options": {"include_usage": True}}, 400, "stream_options"),
        ({"model": "sim", "messages": ASK, "stop": ["a", "b", "c", "d", "e"]}, 400, "stop"),
        ({"model": "sim", "messages": ASK, "tools": [{"type": "function"}]}, 400, "tools[0].function.name"),
        ({"model": "sim", "messages": ASK, "tool_choice": "required"}, 400, "tool_choice"),
        ({"model": "sim", "messages": ASK, "tools": [TOOL], "tool_choice": OTHER}, 400, "tool_choice"),
        ({"model": "sim", "messages": ASK, "reasoning_effort": "huge"}, 400, "reasoning_effort"),
    ],
)
async def test_a_bad_chat_request_is_refused_as_the_service_does(sim, fields, status, param):
    async with sim.http() as client:
        answer = await client.post("/v1/chat/completions", json=fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/completions", {"model": "sim"}, "prompt"),
        ("/v1/completions", {"model": "sim", "prompt": {}}, "prompt"),
        ("/v1/embeddings", {"model": "sim"}, "input"),
        ("/v1/embeddings", {"model": "sim", "input": []}, "input"),
        ("/v1/embeddings", {"model": "sim", "input": "x", "dimensions": 0}, "dimensions"),
        ("/v1/embeddings", {"model": "sim", "input": "x", "encoding_format": "hex"}, "encoding_format"),
    ],
)
async def test_other_endpoints_refuse_what_they_cannot_answer(sim, path, fields, param):
    async with sim.http() as client:
        answer = await client.post(path, json=fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/chat/completions", b'{"model":"sim","messages":[{"role":"user","content":"\xff"}]}', 400),
        ("GET", "/v1/chat/completions", b"", 405),
        ("DELETE", "/v1/models/x", b"", 405),
        ("POST", "/v1/nothing", b"{}", 404),
        ("GET", "/", b"", 404),
    ],
)
async def test_bad_json_and_unknown_places(sim, method, path, content, status):
    async with sim.http() as client:
        answer = await client.request(method, path, content=content)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_only_listed_models_when_told_so(start):
    async with start(Settings(models=("one", "two"), only_listed=True)) as sim, sim.http() as client:
        assert (await sim.wire("one")).status == 200
        assert (await sim.wire("one@tps=0+gzip")).status == 200
        absent = await sim.wire("three")
        assert (absent.status, absent.json["error"]["code"]) == (404, "model_not_found")
        assert (await client.get("/v1/models/three")).status_code == 404
        assert (await client.get("/v1/models/two")).status_code == 200


async def test_a_body_above_the_bound_is_413(start):
    async with start(Settings(body_max_bytes=1000)) as sim:
        assert (await sim.wire("sim", user="x" * 2000)).status == 413


async def test_no_answer_is_longer_than_the_bound(start):
    async with start(Settings(answer_tokens_max=10)) as sim:
        wire = await sim.wire("sim", messages=[{"role": "user", "content": "[[tokens=999999]]"}], max_tokens=5000)
    assert wire.json["usage"]["completion_tokens"] == 10


async def test_it_listens_on_a_unix_socket(tmp_path):
    address = f"unix:{tmp_path}/sim.sock"
    sockets = open_sockets([address, "127.0.0.1:0"])
    assert not isinstance(sockets, ListenFault)
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(partial(serve, sockets, Settings()))
        assert urls[0] == address
        assert urls[1].startswith("http://127.0.0.1:")
        transport = httpx.AsyncHTTPTransport(uds=f"{tmp_path}/sim.sock")
        async with httpx.AsyncClient(transport=transport, base_url="http://sim") as client:
            assert (await client.get("/health")).json() == {"status": "ok"}
        nursery.cancel_scope.cancel()


def test_a_taken_port_is_a_fault_in_words_and_leaves_nothing_open():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fault = open_sockets(["127.0.0.1:0", f"127.0.0.1:{port}"])
    assert isinstance(fault, ListenFault)
    assert "in use" in fault.message


async def test_many_streams_at_once_all_finish(sim):
    done = []

    async def one(number: int) -> None:
        wire = await sim.wire(f"m{number}@ttft=50ms,tps=100", stream=True, max_tokens=20)
        done.append(wire.events[-1])

    async with trio.open_nursery() as nursery:
        for number in range(64):
            nursery.start_soon(one, number)
    assert done == [b"data: [DONE]"] * 64
    stats = await sim.stats()
    assert (stats["requests"], stats["in_flight"], stats["disconnects"]) == (64, 0, 0)
