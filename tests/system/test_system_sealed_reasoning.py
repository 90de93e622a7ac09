"""Encrypted reasoning is read by the account that made it only: a turn finds its maker among the route's backends, and goes on without the
reasoning, recorded, where the maker is not there. What another language's vendor sealed never leaves at all, and nothing else changes.
"""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from raw_upstream import RawUpstream
from rig import KEY, Gateway, running

from appliance.core.seal import Seal, wrap

CONFIG = """
[backends.north]
provider = "openai"
base_url = "{north}/v1"
api_key = "sk-north-0123456789"
[backends.south]
provider = "openai"
base_url = "{south}/v1"
api_key = "sk-south-0123456789"
[backends.pinned]
provider = "openai"
dialect = "openai_responses"
base_url = "{south}/v1"
api_key = "sk-south-0123456789"
[backends.strict]
provider = "groq"
base_url = "{chats}/v1"
api_key = "sk-groq-0123456789"
[backends.lenient]
provider = "custom"
base_url = "{chats}/v1"
[[routes]]
name = "strict"
models = ["strict"]
targets = [ {{ backend = "strict" }} ]
[[routes]]
name = "lenient"
models = ["lenient"]
targets = [ {{ backend = "lenient" }} ]
[[routes]]
name = "pinned"
models = ["pinned"]
targets = [ {{ backend = "pinned", model = "m" }} ]
[[routes]]
name = "both"
models = ["both"]
strategy = "round_robin"
targets = [ {{ backend = "north", model = "m" }}, {{ backend = "south", model = "m" }} ]
[[routes]]
name = "southern"
models = ["southern"]
targets = [ {{ backend = "south", model = "m" }} ]
"""


class Account(RawUpstream):
    """Reads the reasoning that it made itself. Azure's way of refusing another's has no code."""

    def __init__(self, name: str, code: str | None) -> None:
        super().__init__(self.answer)
        self.mark, self.code = f"gAAAA{name}", code

    def asked(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.received[-1].partition(b"\r\n\r\n")[2])
        return found

    def answer(self, sock: socket.socket) -> None:
        items = self.asked()["input"]
        seals = [one["encrypted_content"] for one in items if isinstance(one, dict) and one.get("encrypted_content")]
        if any(not one.startswith(self.mark) for one in seals):
            error = {"message": "The encrypted content for item rs_1 could not be verified.", "type": "invalid_request_error"}
            self.say(sock, 400, {"error": {**error, "param": None, "code": self.code}})
            return
        thought = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": f"{self.mark}-sealed"}
        call = {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "f", "arguments": "{}"}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        response = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "usage": usage}
        self.say(sock, 200, {**response, "output": [thought, call]})

    @staticmethod
    def say(sock: socket.socket, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\nconnection: close\r\n\r\n"
        sock.sendall(head.encode() + data)


@pytest.fixture(scope="module")
def accounts() -> Iterator[dict[str, Account]]:
    with Account("N", "invalid_encrypted_content") as north, Account("S", None) as south:
        yield {"north": north, "south": south}


def answer_chat(sock: socket.socket) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    Account.say(sock, 200, {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage})


@pytest.fixture(scope="module")
def chats() -> Iterator[RawUpstream]:
    with RawUpstream(answer_chat) as one:
        yield one


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, accounts: dict[str, Account], chats: RawUpstream) -> Iterator[Gateway]:
    config = CONFIG.format(north=accounts["north"].url, south=accounts["south"].url, chats=chats.url)
    one = Gateway(tmp_path_factory.mktemp("sealed"), config)
    with running(one):
        yield one


def ask(url: str, model: str, items: list[Any]) -> httpx.Response:
    body = {"model": model, "input": items, "store": False, "include": ["reasoning.encrypted_content"], "client_metadata": {"a": 1e3}}
    return httpx.post(url + "/v1/responses", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=20)


def next_turn(first: httpx.Response) -> list[Any]:
    return [{"role": "user", "content": "x"}, *first.json()["output"], {"type": "function_call_output", "call_id": "call_1", "output": "y"}]


def test_a_turn_finds_the_account_that_sealed_its_reasoning(url: str, gateway: Gateway) -> None:
    for _ in range(4):
        first = ask(url, "both", [{"role": "user", "content": "x"}])
        second = ask(url, "both", next_turn(first))
        assert second.status_code == 200, second.text
        assert second.headers["x-served-by"] == first.headers["x-served-by"]
        assert "x-gateway-dropped" not in second.headers


def test_reasoning_that_nobody_here_can_read_is_left_out_and_recorded(url: str, gateway: Gateway, accounts: dict[str, Account]) -> None:
    items = next_turn(ask(url, "both", [{"role": "user", "content": "x"}]))
    items[1]["encrypted_content"] = "gAAAAelsewhere"
    for model in ("both", "southern"):
        answer = ask(url, model, items)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-gateway-dropped"] == "input[1]: sealed reasoning of openai"
        assert gateway.record(answer.headers["x-request-id"])["dropped_fields"] == ["input[1]: sealed reasoning of openai"]
        sent = accounts[answer.headers["x-served-by"]].asked()
        call = {name: value for name, value in items[2].items() if name != "id"}
        assert sent["input"] == [items[0], call, items[3]]
        assert sent["client_metadata"] == {"a": 1000.0}


def test_what_another_vendor_sealed_is_left_out_and_all_else_stays(url: str, gateway: Gateway, accounts: dict[str, Account]) -> None:
    foreign = {"type": "reasoning", "summary": [], "encrypted_content": wrap(Seal("anthropic", "sig"), "openai")}
    said = {"type": "message", "role": "assistant", "phase": "commentary", "content": [{"type": "output_text", "text": "z"}], "unknown": 1}
    answer = ask(url, "southern", [{"role": "user", "content": "x"}, foreign, said])
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-gateway-dropped"] == "input[1]: sealed reasoning of anthropic"
    assert accounts["south"].asked()["input"] == [{"role": "user", "content": "x"}, said]
    assert accounts["south"].asked()["client_metadata"] == {"a": 1000.0}


def test_a_caller_of_another_language_is_answered_without_the_reasoning_too(url: str, gateway: Gateway) -> None:
    thought = {"type": "redacted_thinking", "data": wrap(Seal("openai", "gAAAAelsewhere"), "anthropic")}
    use = {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "y"}
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": [thought, use]}, {"role": "user", "content": [result]}]
    body = {"model": "pinned", "max_tokens": 99, "messages": turns}
    answer = httpx.post(url + "/v1/messages", json=body, headers={"x-api-key": KEY, "anthropic-version": "2023-06-01"}, timeout=20)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-gateway-attempts"] == "2"
    assert "reasoning" in answer.headers["x-gateway-dropped"]


def test_a_chats_thoughts_reach_only_vendors_that_take_them(url: str, gateway: Gateway, chats: RawUpstream) -> None:
    """DeepSeek's and Google's members of a history fail a request at Groq, which is where a route may lead next."""
    history = (
        b'[{"role":"user", "content":"x"}, {"role":"assistant","content":"y","reasoning_content":"hm","unknown":1e3},'
        b'{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"},'
        b'"extra_content":{"google":{"thought_signature":"c2ln"}}}]}, {"role":"tool","tool_call_id":"c","content":"1"}]'
    )
    for model in ("strict", "lenient"):
        body = b'{"model":"%b",  "messages":%b, "seed":1e0}' % (model.encode(), history)
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        answer = httpx.post(url + "/v1/chat/completions", content=body, headers=headers, timeout=20)
        assert answer.status_code == 200, answer.text
        arrived = chats.received[-1].partition(b"\r\n\r\n")[2]
        dropped = ["messages[1].reasoning_content", "messages[2].tool_calls[0].extra_content"] if model == "strict" else []
        assert gateway.record(answer.headers["x-request-id"])["dropped_fields"] == dropped
        assert answer.headers.get("x-gateway-dropped", "") == ", ".join(dropped)
        if model == "lenient":
            assert arrived == body
        else:
            assert arrived.startswith(b'{"model":"strict",  "messages":')
            assert arrived.endswith(b', "seed":1e0}')
            assert b"reasoning_content" not in arrived
            assert b"extra_content" not in arrived
            assert json.loads(arrived)["messages"][1] == {"role": "assistant", "content": "y", "unknown": 1000.0}
