"""An agent that speaks Anthropic's Messages at a backend that speaks chat completions, and back at Anthropic in the same conversation: what
each of them is sent is looked at, and what the agent gets.
"""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import attrs
import httpx
import pytest
from raw_upstream import RawUpstream
from rig import KEY, Gateway, running

LONG = "mcp__4e9e25f1-b480-40f3-ba8d-a792f8f6ff07__update_project_deployment_protection"
CONFIG = """
[backends.openai]
provider = "openai"
base_url = "{url}/v1"
api_key = "test-key-0123456789"
[backends.claude]
provider = "anthropic"
base_url = "{url}"
api_key = "test-key-0123456789"
[[routes]]
name = "openai"
models = ["gpt-*"]
retry = {{ attempts = 1 }}
targets = [ {{ backend = "openai" }} ]
[[routes]]
name = "claude"
retry = {{ attempts = 1 }}
targets = [ {{ backend = "claude" }} ]
"""
BROKEN = "messages.1.content.0: Invalid `signature` in `thinking` block"
ANSWER = json.dumps({
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "content": [{"type": "text", "text": "Yes"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 1},
}).encode()  # fmt: skip
TOOL = {"name": LONG, "description": "d", "input_schema": {"type": "object"}}
SYSTEM = [
    {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.3; cc_entrypoint=cli; cch=a1b2c;"},
    {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
]


@attrs.define
class Vendor:
    """Both backends at once."""

    socket: RawUpstream
    answer: bytes = b""
    status: int = 200
    refuses: bytes = b""

    def reply(self, sock: Any) -> None:
        if self.refuses and self.refuses in self.socket.received[-1]:
            body = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": BROKEN}}).encode()
            sock.sendall(b"HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body))
            sock.sendall(body)
            return
        kind = b"text/event-stream" if self.answer.startswith((b"data:", b"event:")) else b"application/json"
        head = b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        sock.sendall(head % (self.status, kind, len(self.answer)) + self.answer)

    @property
    def asked(self) -> Any:
        return json.loads(self.socket.received[-1].partition(b"\r\n\r\n")[2])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Vendor]]:
    with RawUpstream(lambda sock: vendor.reply(sock)) as upstream:
        vendor = Vendor(upstream)
        gateway = Gateway(tmp_path_factory.mktemp("agents"), CONFIG.format(url=upstream.url))
        with running(gateway):
            yield gateway, vendor


def chunks(*deltas: dict[str, Any], finish: str) -> bytes:
    said = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas] + [{"index": 0, "delta": {}, "finish_reason": finish}]
    events = [{"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]} for choice in said]
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107, "prompt_tokens_details": {"cached_tokens": 60}}
    events.append({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage})
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def test_a_conversation_goes_to_another_vendor_and_back_to_anthropic(place: tuple[Gateway, Vendor]) -> None:
    gateway, vendor = place
    claude = anthropic.Anthropic(api_key=KEY, base_url=gateway.url, max_retries=0)
    messages: list[Any] = [{"role": "user", "content": "Protect it"}]
    call = {"index": 0, "id": "functions.update:0", "type": "function"}

    vendor.answer = chunks({"role": "assistant", "content": None}, {"reasoning_content": "Hm"}, finish="stop")
    with claude.messages.stream(model="gpt-5", max_tokens=900, system=SYSTEM, tools=[TOOL], messages=messages) as stream:  # type: ignore[list-item]
        stream.get_final_message()
    offered = vendor.asked["tools"][0]["function"]
    assert len(offered["name"]) <= 64
    assert offered["parameters"] == {"type": "object", "properties": {}}
    assert vendor.asked["messages"][0] == {"role": "system", "content": "You are an agent."}

    vendor.answer = chunks(
        {"reasoning_content": "Hm"}, {"content": "I will."},
        {"tool_calls": [{**call, "function": {"name": offered["name"], "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": 1}'}}]}, finish="stop",
    )  # fmt: skip
    with claude.messages.stream(model="gpt-5", max_tokens=900, system=SYSTEM, tools=[TOOL], messages=messages) as stream:  # type: ignore[list-item]
        answer = stream.get_final_message()
    thought, words, used = answer.content
    assert (thought.type, words.type, used.type, answer.stop_reason) == ("thinking", "text", "tool_use", "tool_use")
    assert isinstance(used, anthropic.types.ToolUseBlock)
    assert (used.name, used.input) == (LONG, {"a": 1})
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (40, 60, 7)
    messages += [
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in answer.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": used.id, "content": "done"}]},
    ]

    vendor.answer = chunks({"content": "Done."}, finish="stop")
    claude.messages.create(model="gpt-5", max_tokens=900, tools=[TOOL], messages=messages, stream=True).close()  # type: ignore[list-item]
    sent = vendor.asked["messages"]
    assert sent[1]["tool_calls"] == [
        {"id": "functions.update:0", "type": "function", "function": {"name": offered["name"], "arguments": '{"a":1}'}},
    ]  # fmt: skip
    assert sent[2] == {"role": "tool", "tool_call_id": "functions.update:0", "content": "done"}

    vendor.answer = ANSWER
    said = claude.messages.with_raw_response.create(
        model="claude-sonnet-4-6", max_tokens=900, system=SYSTEM, tools=[TOOL], messages=messages,  # type: ignore[arg-type,list-item]
    )  # fmt: skip
    sent = vendor.asked
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["text", "tool_use"]
    assert sent["messages"][1]["content"][1]["id"] == sent["messages"][2]["content"][0]["tool_use_id"]
    assert set(sent["messages"][1]["content"][1]["id"]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert (sent["system"], sent["tools"][0]["name"]) == (SYSTEM, LONG)
    assert "unsigned reasoning" in said.headers["x-gateway-dropped"]


def test_a_conversation_that_is_too_long_is_told_in_the_words_that_agents_know(place: tuple[Gateway, Vendor]) -> None:
    gateway, vendor = place
    words = "This model's maximum context length is 128000 tokens. However, your messages resulted in 130001 tokens."
    error = {"message": words, "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}
    vendor.answer, vendor.status = json.dumps({"error": error}).encode(), 400
    body = {"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    said = httpx.post(gateway.url + "/v1/messages", json=body, headers={"x-api-key": KEY}, timeout=30)
    vendor.status = 200
    assert (said.status_code, said.json()["error"]) == (400, {"type": "invalid_request_error", "message": f"prompt is too long: {words}"})


def test_thoughts_that_another_account_signed_are_left_out_of_a_second_try(place: tuple[Gateway, Vendor]) -> None:
    gateway, vendor = place
    thought = {"type": "thinking", "thinking": "Hm", "signature": "c2lnbmVkIGVsc2V3aGVyZQ=="}
    content = [thought, {"type": "text", "text": "Hello"}]
    body = {
        "model": "claude-sonnet-4-6", "max_tokens": 9, "system": SYSTEM, "odd": 1.0, "messages": [
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}, {"role": "user", "content": "So?"},
        ],
    }  # fmt: skip
    vendor.answer, vendor.refuses = ANSWER, b'"signature"'
    said = httpx.post(gateway.url + "/v1/messages", json=body, headers={"x-api-key": KEY}, timeout=30)
    vendor.refuses = b""
    assert (said.status_code, said.content) == (200, ANSWER)
    assert vendor.asked == {**body, "messages": [body["messages"][0], {**body["messages"][1], "content": content[1:]}, body["messages"][2]]}  # type: ignore[index,dict-item]
    assert "sealed reasoning of anthropic" in said.headers["x-gateway-dropped"]
