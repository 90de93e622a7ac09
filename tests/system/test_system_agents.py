"""What coding agents need end to end, over both engines: their requests reach a backend of their own language byte for byte, and any other
translated; their habits (two credentials at once, leaving at the last event, large bodies) are no errors.

The requests are shaped as the agents themselves send them, odd spacing included, so that a body that was parsed and written again shows.
"""

import base64
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from raw_client import RESET, RawClient, request_bytes
from raw_upstream import STREAM_HEAD, RawUpstream
from rig import KEY, Gateway, Simulator, running

from appliance.core.seal import Seal, wrap

CONFIG = """
[aliases]
fast = "sim"
[backends.claude]
provider = "anthropic"
base_url = "{claude}"
api_key = "sk-ant-operator-0123456789"
[backends.gpt]
provider = "openai"
base_url = "{gpt}/v1"
api_key = "sk-operator-0123456789"
[backends.google]
provider = "gemini"
base_url = "{google}"
api_key = "AIza-operator-0123456789"
[backends.sim]
provider = "custom"
base_url = "{sim}/v1"
[[routes]]
name = "claude"
models = ["claude-*"]
targets = [ {{ backend = "claude" }} ]
[[routes]]
name = "gpt"
models = ["gpt-*"]
targets = [ {{ backend = "gpt" }} ]
[[routes]]
name = "gemini"
models = ["gemini-*"]
targets = [ {{ backend = "google" }} ]
[backends.limited]
provider = "openai"
base_url = "{limited}/v1"
api_key = "sk-operator-0123456789"
[[routes]]
name = "limited"
models = ["limited*"]
strategy = "priority"
targets = [ {{ backend = "limited" }} ]
fallback = [ {{ backend = "gpt" }} ]
[backends.odd]
provider = "gemini"
base_url = "{odd}"
api_key = "AIza-operator-0123456789"
[[routes]]
name = "odd"
models = ["odd*"]
targets = [ {{ backend = "odd" }} ]
[[routes]]
name = "other"
models = ["sim*"]
targets = [ {{ backend = "sim" }} ]
"""


def sse(*events: dict[str, Any], named: bool = True) -> bytes:
    return b"".join(
        (b"event: %b\n" % one["type"].encode() if named else b"") + b"data: " + json.dumps(one).encode() + b"\n\n" for one in events
    )


def answering(stream: bytes, trailing: bytes = b"") -> Any:
    """Says `stream`; then, with `trailing`, that once the other side has left or a second has passed."""

    def script(sock: socket.socket) -> None:
        sock.sendall(STREAM_HEAD + stream)
        if trailing:
            sock.settimeout(1)
            with contextlib.suppress(TimeoutError):
                sock.recv(1)
            sock.sendall(trailing)

    return script


CLAUDE_STREAM = sse(
    {"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [], "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 4, "output_tokens": 1},
    }},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "ping"},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)  # fmt: skip

RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-x", "output": [
        {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAA-sealed"},
        {"id": "ctc_1", "type": "custom_tool_call", "status": "completed", "call_id": "call_1", "name": "apply_patch", "input": "***"},
    ], "usage": {"input_tokens": 9, "output_tokens": 5, "total_tokens": 14},
}  # fmt: skip
GPT_STREAM = sse(
    {"type": "response.created", "sequence_number": 0, "response": {**RESPONSE, "status": "in_progress", "output": []}},
    {"type": "response.output_item.done", "sequence_number": 1, "output_index": 0, "item": RESPONSE["output"][0]},
    {"type": "response.output_item.done", "sequence_number": 2, "output_index": 1, "item": RESPONSE["output"][1]},
    {"type": "response.completed", "sequence_number": 3, "response": RESPONSE},
)
GOOGLE_STREAM = b": a proxy's comment\n\n" + sse(
    {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "index": 0}], "modelVersion": "gemini-x"},
    {"candidates": [{"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}],
     "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 1, "totalTokenCount": 5}}, named=False,
)  # fmt: skip

ANNOUNCED = {**RESPONSE, "id": "resp_limited", "status": "in_progress", "output": []}
LIMITED_STREAM = sse(
    {"type": "response.created", "sequence_number": 0, "response": ANNOUNCED},
    {"type": "response.in_progress", "sequence_number": 1, "response": ANNOUNCED},
)
LIMIT = sse({"type": "error", "sequence_number": 2, "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "Too large"}})


def limiting(sock: socket.socket) -> None:
    """As OpenAI does: it announces a response, and then that there will be none."""
    sock.sendall(STREAM_HEAD + LIMITED_STREAM)
    time.sleep(0.1)
    sock.sendall(LIMIT)


ODD_STREAM = sse(
    {"candidates": [{"content": {"parts": []}, "finishReason": "STOP"}]},
    {"candidates": [{"content": {"parts": [{"text": "H"}]}, "finishReason": "STOP"}]},
    {"candidates": [{"content": {"parts": [{"text": "i"}]}, "finishReason": "STOP"}],
     "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 1}}, named=False,
)  # fmt: skip
"""Says that it stops in every chunk, as relays do."""


def resetting(sock: socket.socket) -> None:
    """Breaks the connection off behind the last event."""
    sock.sendall(STREAM_HEAD + ODD_STREAM)
    time.sleep(0.3)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@pytest.fixture(scope="module")
def claude() -> Iterator[RawUpstream]:
    with RawUpstream(answering(CLAUDE_STREAM)) as one:
        yield one


@pytest.fixture(scope="module")
def gpt() -> Iterator[RawUpstream]:
    with RawUpstream(answering(GPT_STREAM, trailing=b": a trailing comment\n\n")) as one:
        yield one


@pytest.fixture(scope="module")
def google() -> Iterator[RawUpstream]:
    with RawUpstream(answering(GOOGLE_STREAM)) as one:
        yield one


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, simulator: Simulator, claude: RawUpstream, gpt: RawUpstream, google: RawUpstream
) -> Iterator[Gateway]:
    with RawUpstream(resetting) as odd, RawUpstream(limiting) as limited:
        urls = {"claude": claude.url, "gpt": gpt.url, "google": google.url, "odd": odd.url, "limited": limited.url, "sim": simulator.url}
        config = CONFIG.format(**urls)
        one = Gateway(tmp_path_factory.mktemp("agents"), config)
        with running(one):
            yield one


def received(upstream: RawUpstream) -> tuple[str, dict[str, str], bytes]:
    """The last request: its line, its headers and its body."""
    head, _, body = upstream.received[-1].partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    return line, dict(one.split(": ", 1) for one in lines), body


# Claude Code

CLAUDE_CODE_HEADERS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,effort-2025-11-24",
    "x-claude-code-session-id": "7f0c3f5e-1f5e-4c2b-9a53-0a2b6f6f1c11", "x-app": "cli", "x-stainless-lang": "js", "x-stainless-os": "Linux",
    "x-stainless-arch": "x64", "x-stainless-package-version": "0.70.0", "x-stainless-retry-count": "0", "x-stainless-runtime": "node",
    "x-stainless-runtime-version": "v24.3.0", "x-stainless-timeout": "600", "user-agent": "claude-cli/2.1.0 (external, cli)",
}  # fmt: skip
CLAUDE_CODE_BODY = (
    b'{"model":"claude-opus-4-6",  "max_tokens":32000, "stream":true,\n'
    b'"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1.0; cch=00000;"},'
    b'{"type":"text","text":"You are Claude Code \\u2014 a CLI.","cache_control":{"type":"ephemeral","ttl":"1h"}}],'
    b'"thinking":{"type":"adaptive"},"output_config":{"effort":"high"},"context_management":{"edits":[{"type":"clear_thinking_20251015",'
    b'"keep":"all"}]},"metadata":{"user_id":"{\\"device_id\\":\\"d\\",\\"account_uuid\\":\\"\\",\\"session_id\\":\\"s\\"}"},'
    b'"tools":[{"name":"Bash","description":"Runs","input_schema":{"$schema":"http://json-schema.org/draft-07/schema#","type":"object",'
    b'"properties":{"command":{"type":"string"}},"required":["command"],"additionalProperties":false},"eager_input_streaming":true}],'
    b'"messages":[{"role":"user","content":[{"type":"text","text":"' + b"x" * 150_000 + b'"}]},'
    b'{"role":"system","content":"in between"},'
    b'{"role":"user","content":[{"type":"text","text":"go","cache_control":{"type":"ephemeral"}}]}]}'
)


def claude_code(url: str, name: str, body: bytes = CLAUDE_CODE_BODY, path: str = "/v1/messages?beta=true") -> httpx.Response:
    """A request with both credentials, of which the bearer's counts."""
    credentials = {"authorization": f"Bearer {KEY}", "x-api-key": "sk-ant-another"}
    headers = {**CLAUDE_CODE_HEADERS, **credentials, "content-type": "application/json", "x-request-id": name}
    return httpx.post(url + path, content=body, headers=headers, timeout=20)


def test_claude_codes_request_arrives_byte_for_byte(url: str, gateway: Gateway, claude: RawUpstream) -> None:
    said = claude_code(url, f"claude-{url[-5:]}")
    assert said.status_code == 200, said.text
    assert said.content == CLAUDE_STREAM  # its pings included
    line, headers, body = received(claude)
    assert line.split("?")[0].split()[:2] == ["POST", "/v1/messages"]
    assert body == CLAUDE_CODE_BODY
    assert {name: headers.get(name) for name in CLAUDE_CODE_HEADERS} == CLAUDE_CODE_HEADERS
    assert headers["x-api-key"] == "sk-ant-operator-0123456789"
    assert "authorization" not in headers
    assert KEY.encode() not in claude.received[-1]
    assert b"sk-ant-another" not in claude.received[-1]
    record = gateway.record(f"claude-{url[-5:]}")
    assert record["error_type"] == ""
    assert record["dropped_fields"] == []
    assert record["usage"]["input_tokens"] == 19
    assert record["usage"]["cached_input_tokens"] == 3
    assert record["usage"]["cache_write_tokens"] == 4


def test_a_turn_that_another_vendor_began_goes_on_at_claude_without_thinking(url: str, gateway: Gateway, claude: RawUpstream) -> None:
    """Claude would refuse it otherwise; nothing else of the request changes."""
    rest = (
        b'"max_tokens": 9000, "system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}], "unknown":1e3, "messages":['
        b'{"role":"user","content":"x"}, {"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]},'
        b'{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"1"}]}], "stream":true}'
    )
    said = claude_code(url, f"began-{url[-5:]}", b'{"model":"claude-x", "thinking":{"type":"enabled","budget_tokens":2000},' + rest)
    assert said.status_code == 200
    assert received(claude)[2] == b'{"model":"claude-x", "thinking":{"type":"disabled"},' + rest
    assert said.headers["x-gateway-dropped"] == "thinking"
    assert gateway.record(f"began-{url[-5:]}")["dropped_fields"] == ["thinking"]


def test_claude_codes_request_reaches_another_language(url: str, gateway: Gateway) -> None:
    body = json.loads(CLAUDE_CODE_BODY)
    body["messages"][-1]["content"][0]["text"] = "[[say=Good morning]]"
    said = claude_code(url, f"other-{url[-5:]}", json.dumps({**body, "model": "sim"}).encode())
    assert said.status_code == 200, said.text
    events = [json.loads(line.removeprefix("data: ")) for line in said.text.splitlines() if line.startswith("data: ")]
    words = "".join(one["delta"].get("text", "") for one in events if one["type"] == "content_block_delta")
    assert words == "Good morning"
    assert [one["content_block"]["type"] for one in events if one["type"] == "content_block_start"] == ["thinking", "text"]
    block = ["content_block_start", "content_block_stop"]
    seen = [one["type"] for one in events if one["type"] not in ("content_block_delta", "ping")]
    assert seen == ["message_start", *block, *block, "message_delta", "message_stop"]
    dropped = gateway.record(f"other-{url[-5:]}")["dropped_fields"]
    assert any("context_management" in one for one in dropped)
    assert said.headers["x-gateway-dropped"]


def test_claude_code_lists_models_in_its_own_shape(url: str) -> None:
    headers = {**CLAUDE_CODE_HEADERS, "authorization": f"Bearer {KEY}", "x-api-key": "another"}
    page = httpx.get(url + "/v1/models?limit=1000", headers=headers, timeout=20).json()
    assert page["has_more"] is False
    assert [(one["type"], one["id"]) for one in page["data"]] == [("model", "fast")]
    assert page["first_id"] == page["last_id"] == "fast"


# Codex CLI

CODEX_HEADERS = {
    "originator": "codex_cli_rs", "session-id": "019a-session", "thread-id": "019a-thread", "x-client-request-id": "019a-request",
    "x-codex-turn-metadata": '{"turn_id":"t"}', "x-codex-beta-features": "unified_exec", "user-agent": "codex_cli_rs/0.169.0 (Linux)",
}  # fmt: skip
LARK = 'start: begin hunk+ end\nbegin: "*** Begin Patch" LF\nhunk: /.+/ LF\nend: "*** End Patch" LF?\n%import common.LF\n'
EMPTY = {"type": "object", "properties": {}}


def codex(model: str, text: str = "go", pad_chars: int = 120_000) -> bytes:
    body = {
        "model": model, "instructions": "You are Codex. " + "x" * pad_chars, "stream": True, "store": False, "parallel_tool_calls": False,
        "tool_choice": "auto", "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "medium", "summary": "auto"},
        "prompt_cache_key": "019a-thread", "text": {"verbosity": "low"}, "client_metadata": {"x-codex-installation-id": "i"},
        "tools": [
            {"type": "function", "name": "shell", "description": "Runs", "strict": False,
             "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}},
            {"type": "custom", "name": "apply_patch", "description": "Edits files",
             "format": {"type": "grammar", "syntax": "lark", "definition": LARK}},
            {"type": "namespace", "name": "mcp__docs", "description": "Docs", "tools": [
                {"type": "function", "name": "search", "description": "Finds", "parameters": EMPTY}]},
            {"type": "web_search", "external_web_access": False},
            {"type": "tool_search", "execution": "client", "description": "Finds tools", "parameters": EMPTY},
        ],
        "input": [
            {"type": "message", "role": "developer", "id": "msg_1", "content": [{"type": "input_text", "text": "<permissions>"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "first"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "gAAAA-sealed"},
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "apply_patch", "input": "*** Begin Patch\n"},
            {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Done!"},
            {"type": "message", "role": "assistant", "phase": "final_answer", "content": [{"type": "output_text", "text": "Edited."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]},
        ],
    }  # fmt: skip
    return json.dumps(body, separators=(", ", ":")).encode()


def leave_at(url: str, data: bytes, mark: bytes) -> bytes:
    """Ask, read up to the event that holds `mark`, and hang up at once."""
    with RawClient(url) as client:
        client.send(data)
        return client.read_until(mark) + client.read_until(b"\n\n")


def test_codexs_request_arrives_byte_for_byte_and_its_leaving_is_no_error(url: str, gateway: Gateway, gpt: RawUpstream) -> None:
    body = codex("gpt-5.1-codex")
    for turn in range(5):
        name = f"codex-{url[-5:]}-{turn}"
        seen = leave_at(url, request_bytes(body, "/v1/responses", **{**CODEX_HEADERS, "x-request-id": name}), b"event: response.completed")
        assert b"gAAAA-sealed" in seen
        _, headers, arrived = received(gpt)
        assert arrived == body
        assert {one: headers.get(one) for one in CODEX_HEADERS} == CODEX_HEADERS
        record = gateway.record(name)
        assert (record["status"], record["error_type"], record["attempts"][-1]["outcome"]) == (200, "", "success")
        assert record["usage"]["output_tokens"] == 5


def test_a_response_that_was_announced_only_to_fail_comes_from_another_backend(url: str, gateway: Gateway) -> None:
    name = f"limited-{url[-5:]}"
    said = httpx.post(url + "/v1/responses", content=codex("limited"), timeout=20, headers={
        **CODEX_HEADERS, "authorization": f"Bearer {KEY}", "content-type": "application/json", "x-request-id": name})  # fmt: skip
    assert said.content.startswith(b"event: response.created\n")
    assert b'"id": "resp_1"' in said.content
    assert b"resp_limited" not in said.content
    assert said.headers["x-served-by"] == "gpt"
    assert [one["error_type"] for one in gateway.record(name)["attempts"]] == ["rate_limited", ""]


def test_codex_reaches_a_backend_of_plain_functions(url: str, gateway: Gateway) -> None:
    for turn in range(5):
        name = f"plain-{url[-5:]}-{turn}"
        data = request_bytes(codex("sim", "call apply_patch"), "/v1/responses", **{**CODEX_HEADERS, "x-request-id": name})
        seen = leave_at(url, data, b"event: response.completed")
        assert b'"type":"custom_tool_call"' in seen
        record = gateway.record(name)
        assert (record["status"], record["error_type"]) == (200, "")
        dropped = " ".join(record["dropped_fields"])
        for lost in ("client_metadata", "web_search", "phase"):
            assert lost in dropped, dropped


# opencode: the turns of one call and its result, on each path; content of an assistant's chat turn with calls is an empty text

READ: Any = {"name": "read", "description": "Reads", "parameters": {"type": "object", "properties": {"path": {"type": "string"}}}}
OPENCODE: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "sim", "stream": True, "stream_options": {"include_usage": True}, "tools": [{"type": "function", "function": READ}],
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "read", "arguments": '{"path":"a"}'}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ],
    },
    "/v1/responses": {
        "model": "sim", "stream": True, "tools": [{"type": "function", **READ}],
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
            {"type": "function_call", "call_id": "call_1", "name": "read", "arguments": '{"path":"a"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        ],
    },
    "/v1/messages": {
        "model": "sim", "stream": True, "max_tokens": 100,
        "tools": [{"name": "read", "description": "Reads", "input_schema": READ["parameters"]}],
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "read", "input": {"path": "a"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}]},
        ],
    },
    "/v1beta/models/sim:streamGenerateContent?alt=sse": {
        "tools": [{"functionDeclarations": [READ]}],
        "contents": [
            {"role": "user", "parts": [{"text": "x"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "read", "args": {"path": "a"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "read", "response": {"result": "rain"}}}]},
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("path", OPENCODE)
def test_opencode_is_served_on_each_of_its_paths(url: str, gateway: Gateway, path: str) -> None:
    headers = {"authorization": f"Bearer {KEY}", "x-session-id": "ses_1", "x-session-affinity": "ses_1"}
    if "messages" in path:
        headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01", "anthropic-beta": "fine-grained-tool-streaming-2025-05-14"}
    elif "Generate" in path:
        headers = {"x-goog-api-key": KEY}
    said = httpx.post(url + path, json=OPENCODE[path], headers=headers, timeout=20)
    assert said.status_code == 200, said.text
    assert "rain" in said.text
    assert gateway.record(said.headers["x-request-id"])["usage"]["output_tokens"] > 0


# google-genai


def test_google_genai_is_never_sent_a_comment_and_its_schemas_arrive(url: str, google: RawUpstream) -> None:
    genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
    client = genai.Client(api_key=KEY, http_options={"base_url": url})
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
    declared = {"function_declarations": [{"name": "weather", "description": "W", "parameters_json_schema": schema}]}
    for model in ("gemini-2.5-flash", "sim"):
        text = "Hi" if model != "sim" else "[[say=Hi]]"
        chunks = list(client.models.generate_content_stream(model=model, contents=text, config={"tools": [declared]}))
        assert "".join(one.text or "" for one in chunks) == "Hi"
        assert chunks[-1].usage_metadata.candidates_token_count == 1
    _, headers, body = received(google)
    assert headers["x-goog-api-key"] == "AIza-operator-0123456789"
    sent = json.loads(body)["tools"][0]
    assert json.dumps(schema, sort_keys=True) in json.dumps(sent, sort_keys=True)


@pytest.mark.parametrize("path", ["/v1beta/models/odd:streamGenerateContent?alt=sse", "/v1/chat/completions"])
def test_all_of_a_stream_passes_that_says_stop_too_early_and_ends_badly(url: str, gateway: Gateway, path: str) -> None:
    body: dict[str, Any] = {"contents": [{"parts": [{"text": "x"}]}]}
    if "chat" in path:
        body = {"model": "odd", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    said = httpx.post(url + path, json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=20)
    if "chat" in path:
        words = [json.loads(line[6:])["choices"] for line in said.text.splitlines() if line.startswith("data: {")]
        assert "".join(one[0]["delta"].get("content") or "" for one in words if one) == "Hi"
        assert said.text.endswith("data: [DONE]\n\n")
    else:
        assert said.content == ODD_STREAM
    record = gateway.record(said.headers["x-request-id"])
    assert (record["error_type"], record["usage"]["output_tokens"]) == ("", 1)


def test_google_genai_lists_models(url: str) -> None:
    genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
    client = genai.Client(api_key=KEY, http_options={"base_url": url})
    assert [one.name for one in client.models.list()] == ["models/fast"]


def test_an_image_of_an_agents_tool_arrives_at_a_chat_backend(url: str) -> None:
    image = "data:image/png;base64," + base64.b64encode(b"\x89PNG" + b"0" * 20).decode()
    output = [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": image, "detail": "original"}]
    body = {
        "model": "sim", "tools": [{"type": "function", "name": "view_image", "parameters": EMPTY}], "input": [
            {"role": "user", "content": "look"}, {"type": "function_call", "call_id": "c", "name": "view_image", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": output},
        ],
    }  # fmt: skip
    said = httpx.post(url + "/v1/responses", json=body, headers={"authorization": f"Bearer {KEY}"}, timeout=20)
    assert said.status_code == 200, said.text


def test_a_geminis_stream_as_an_array_holds_the_very_objects(url: str, gateway: Gateway, google: RawUpstream) -> None:
    body = b'{"contents": [ {"parts":[{"text":"x"}]} ], "unknown": 1e3}'
    headers = {"x-goog-api-key": KEY, "content-type": "application/json"}
    said = httpx.post(url + "/v1beta/models/gemini-x:streamGenerateContent", content=body, headers=headers, timeout=20)
    assert said.headers["content-type"] == "application/json"
    events = [one.removeprefix(b"data: ") for one in GOOGLE_STREAM.split(b"\n\n") if one.startswith(b"data: ")]
    assert said.content == b"[" + b"\n,\r\n".join(events) + b"\n]"
    line, _, arrived = received(google)
    assert line.split()[1].endswith(":streamGenerateContent?alt=sse")
    assert arrived == body
    assert gateway.record(said.headers["x-request-id"])["error_type"] == ""


def test_a_gemini_client_whose_calls_another_vendor_made_is_served_by_gemini_3(url: str, gateway: Gateway, google: RawUpstream) -> None:
    """The calls have no signature, which Gemini 3 would refuse; and what the other vendor sealed is not Google's."""
    sealed = base64.b64encode(wrap(Seal("anthropic", "sig"), "gemini").encode()).decode()
    contents = [
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [
            {"text": "hm", "thought": True, "thoughtSignature": sealed}, {"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "1"}}}]},
    ]  # fmt: skip
    path = "/v1beta/models/gemini-3-flash:streamGenerateContent?alt=sse"
    for parts, dropped in ((contents[1]["parts"], True), (contents[1]["parts"][1:], False)):  # type: ignore[index]
        body = {"contents": [contents[0], {"role": "model", "parts": parts}, contents[2]]}
        said = httpx.post(url + path, json=body, headers={"x-goog-api-key": KEY}, timeout=20)
        assert said.status_code == 200
        sent = json.loads(received(google)[2])["contents"][1]["parts"]
        assert sent[-1]["thoughtSignature"] == "skip_thought_signature_validator"
        assert sealed not in json.dumps(sent)
        assert ("x-gateway-dropped" in said.headers) == dropped
