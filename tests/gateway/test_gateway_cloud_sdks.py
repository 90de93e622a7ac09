"""The official SDKs as judges of where Vertex is asked and with what: the same call by them and by us arrives alike."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from scripted_cloud import Asked, Cloud, Told

from appliance.config.upstreams import Backend
from appliance.dialects.languages import ANTHROPIC_MESSAGES
from appliance.dialects.protocol import ParsedRequest, Rewrite
from appliance.gateway.upstream import Upstream, build_upstreams
from appliance.providers import request_rewrite

TURNS = [{"role": "user", "content": "Hi"}]
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-6", "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 2},
}  # fmt: skip
ANSWER = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}]}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as one:
        yield one


def ours(cloud: Cloud) -> Upstream:
    built = build_upstreams({"v": Backend(provider="vertex", base_url=cloud.url, project="my-project", location="us-east5")}, {}, None, {})
    assert isinstance(built, dict)
    return built["v"]


def sent(cloud: Cloud, operation: str, body: bytes) -> bytes:
    """The caller's bytes as they go to Vertex."""
    verbatim = ANTHROPIC_MESSAGES.verbatim
    assert verbatim is not None
    parsed = verbatim.read(body, operation)
    assert isinstance(parsed, ParsedRequest), parsed
    return verbatim.rewrite(body, parsed, request_rewrite(ours(cloud).provider, parsed, Rewrite(), language="anthropic_messages"))


def unversioned(body: bytes) -> dict[str, Any]:
    """The body without the version that has to be in it: we name the documented one, newer SDKs the version of their own API."""
    fields: dict[str, Any] = json.loads(body)
    assert fields.pop("anthropic_version")
    return fields


@pytest.mark.parametrize("stream", [False, True])
def test_anthropics_sdk_for_vertex_asks_as_we_do(cloud: Cloud, stream: bool) -> None:
    vertex = pytest.importorskip("anthropic.lib.vertex", reason="the anthropic SDK is not installed")
    cloud.routes = {"/v1/": lambda _: Told(200, MESSAGE)}
    client = vertex.AnthropicVertex(region="us-east5", project_id="my-project", access_token="t", base_url=cloud.url + "/v1", max_retries=0)
    client.messages.create(model="claude-opus-4-6", max_tokens=5, messages=TURNS, stream=stream)
    theirs: Asked = cloud.asked[0]
    target = ours(cloud).target("chat", "claude-opus-4-6", "anthropic_messages", stream)
    assert theirs.target.encode() == target
    body = json.dumps({"model": "claude-opus-4-6", "max_tokens": 5, "messages": TURNS, "stream": stream})
    assert unversioned(theirs.body) == unversioned(sent(cloud, "chat", body.encode()))


def test_anthropics_sdk_for_vertex_counts_as_we_do(cloud: Cloud) -> None:
    vertex = pytest.importorskip("anthropic.lib.vertex", reason="the anthropic SDK is not installed")
    cloud.routes = {"/v1/": lambda _: Told(200, {"input_tokens": 1})}
    client = vertex.AnthropicVertex(region="us-east5", project_id="my-project", access_token="t", base_url=cloud.url + "/v1", max_retries=0)
    client.messages.count_tokens(model="claude-opus-4-6", messages=TURNS)
    assert cloud.asked[0].target.encode() == ours(cloud).target("count_tokens", "claude-opus-4-6", "anthropic_messages")
    body = json.dumps({"model": "claude-opus-4-6", "messages": TURNS})
    assert unversioned(cloud.asked[0].body) == unversioned(sent(cloud, "count_tokens", body.encode()))


def test_googles_sdk_asks_vertex_where_we_do(cloud: Cloud) -> None:
    genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
    from google.oauth2.credentials import Credentials

    cloud.routes = {"/v1/": lambda asked: Told(200, {"totalTokens": 1} if "count" in asked.target else ANSWER)}
    client = genai.Client(
        vertexai=True, project="my-project", location="us-east5", credentials=Credentials("token"),
        http_options={"base_url": cloud.url, "api_version": "v1"},
    )  # fmt: skip
    client.models.generate_content(model="gemini-2.5-pro", contents="Hi")
    client.models.count_tokens(model="gemini-2.5-pro", contents="Hi")
    list(client.models.generate_content_stream(model="gemini-2.5-pro", contents="Hi"))
    wanted = [("chat", False), ("count_tokens", False), ("chat", True)]
    assert [one.target.encode() for one in cloud.asked] == [
        ours(cloud).target(operation, "gemini-2.5-pro", "gemini", stream) for operation, stream in wanted
    ]
    assert {one.header("authorization") for one in cloud.asked} == {"Bearer token"}
