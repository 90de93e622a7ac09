"""What the rows of Bedrock and Vertex say: targets, languages by model, bodies, and the names that metrics and prices know."""

import json

import pytest

from appliance.core.conversation import Conversation
from appliance.core.message import Message, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.codec import Written
from appliance.dialects.gemini import GEMINI
from appliance.dialects.language import Language
from appliance.dialects.languages import ANTHROPIC_MESSAGES, gemini_call
from appliance.dialects.protocol import ParsedRequest, Rewrite
from appliance.providers import (
    PROVIDERS,
    Manner,
    auth_headers,
    bare_model,
    endpoint,
    manner,
    models_language,
    request_rewrite,
    shaped,
    translation_target,
)

VERTEX, BEDROCK = PROVIDERS["vertex"], PROVIDERS["bedrock"]
BASE = "https://aiplatform.googleapis.com/v1/projects/p/locations/global"


@pytest.mark.parametrize(
    ("model", "language", "stream", "target"),
    [
        ("gemini-2.5-pro", "gemini", False, b"/publishers/google/models/gemini-2.5-pro:generateContent"),
        ("models/gemini-2.5-pro", "gemini", True, b"/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
        ("claude-sonnet-4-5@20250929", "anthropic_messages", False, b"/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"),
        ("claude-opus-4-6", "anthropic_messages", True, b"/publishers/anthropic/models/claude-opus-4-6:streamRawPredict"),
        ("../../x", "anthropic_messages", False, b"/publishers/anthropic/models/..%2F..%2Fx:rawPredict"),
    ],
)
def test_vertex_has_a_publisher_for_each_language(model: str, language: str, stream: bool, target: bytes) -> None:
    assert endpoint(VERTEX, BASE, "chat", model, language=language, stream=stream) == b"/v1/projects/p/locations/global" + target
    counted = {"gemini": b"google/models/m:countTokens", "anthropic_messages": b"anthropic/models/count-tokens:rawPredict"}
    assert endpoint(VERTEX, BASE, "count_tokens", "m", language=language).endswith(b"/publishers/" + counted[language])


def test_vertex_counts_what_stands_at_the_top() -> None:
    request = {"model": "models/m", "contents": [{"parts": []}], "tools": [], "toolConfig": {}, "generationConfig": {"seed": 1}}
    body = shaped(VERTEX, "gemini", "count_tokens", json.dumps({"generateContentRequest": request}).encode())
    assert json.loads(body) == {name: request[name] for name in ("contents", "tools", "generationConfig")}
    assert shaped(VERTEX, "gemini", "chat", body) is body


def test_the_model_decides_what_vertex_is_spoken_to_in() -> None:
    assert models_language(VERTEX, "gemini-2.5-pro") == "gemini"
    assert models_language(VERTEX, "claude-haiku-4-5@20251001") == "anthropic_messages"
    assert models_language(PROVIDERS["openai"], "claude-x") is None
    assert manner(VERTEX, "anthropic_messages", "gemini", "count_tokens") == Manner("anthropic_messages", "count_tokens")
    assert manner(VERTEX, "gemini", "openai_chat", "embeddings") is None


@pytest.mark.parametrize(
    ("name", "model", "bare"),
    [
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
        ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0:200k", "claude-3-haiku-20240307"),
        ("bedrock", "anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("bedrock", "global.amazon.nova-2-lite-v1:0", "nova-2-lite"),
        ("bedrock", "meta.llama3-3-70b-instruct-v1:0", "llama3-3-70b-instruct"),
        ("bedrock", "openai.gpt-oss-120b-1:0", "gpt-oss-120b"),
        ("bedrock", "zai.glm-4.6", "glm-4.6"),
        ("bedrock", "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-4-5-v1:0", "claude-haiku-4-5"),
        ("bedrock", "claude-haiku-4-5", "claude-haiku-4-5"),
        ("vertex", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5-20250929"),
        ("vertex", "claude-opus-4-6@default", "claude-opus-4-6"),
        ("vertex", "gemini-2.5-pro", "gemini-2.5-pro"),
    ],
)  # fmt: skip
def test_a_hosts_additions_are_no_part_of_the_bare_name(name: str, model: str, bare: str) -> None:
    assert bare_model(PROVIDERS[name], model) == bare


def test_keys_travel_as_these_hosts_expect() -> None:
    assert auth_headers(BEDROCK, "k") == [(b"authorization", b"Bearer k")]
    assert auth_headers(VERTEX, "k") == [(b"x-goog-api-key", b"k")]


def spliced(language: Language, body: bytes, wanted: Rewrite) -> bytes:
    verbatim = language.verbatim
    assert verbatim is not None
    parsed = verbatim.read(body, "chat")
    assert isinstance(parsed, ParsedRequest)
    return verbatim.rewrite(body, parsed, request_rewrite(VERTEX, parsed, wanted, language=language.name))


@pytest.mark.parametrize("wanted", [Rewrite(), Rewrite(model="claude-opus-4-6")])
def test_claude_on_vertex_gets_the_callers_bytes_but_for_model_and_version(wanted: Rewrite) -> None:
    body = b'{ "model":"claude-x" , "max_tokens":5,"messages":[{"role":"user","content":"Hi"}],"n": 1.50, "odd":{"x":[]} }'
    assert spliced(ANTHROPIC_MESSAGES, body, wanted) == (
        b'{ "max_tokens":5,"messages":[{"role":"user","content":"Hi"}],"n": 1.50, "odd":{"x":[]} ,"anthropic_version":"vertex-2023-10-16"}'
    )


def test_a_version_in_the_callers_own_body_stays() -> None:
    body = b'{"anthropic_version":"2026-10-21","model":"claude-x","max_tokens":5,"messages":[]}'
    assert spliced(ANTHROPIC_MESSAGES, body, Rewrite()) == b'{"anthropic_version":"2026-10-21","max_tokens":5,"messages":[]}'


def test_what_is_written_anew_for_claude_on_vertex_is_shaped_too() -> None:
    body = shaped(VERTEX, "anthropic_messages", "chat", b'{"model":"claude-x","max_tokens":5}')
    assert json.loads(body) == {"max_tokens": 5, "anthropic_version": "vertex-2023-10-16"}
    assert shaped(VERTEX, "gemini", "chat", b"{ }") == b"{ }"


def test_what_is_written_anew_for_gemini_on_vertex_has_no_ids_of_calls_either() -> None:
    call = ToolCall("call-1", "f", '{"a":1}', seal=Seal("gemini", "c2ln"))
    result = ToolResult("call-1", (Text("fine"),), name="f")
    turns = (Message("user", (Text("Hi"),)), Message("assistant", (call,)), Message("user", (result,)))
    written = GEMINI.write_request(Conversation("gemini-3-pro", turns), translation_target(VERTEX, "gemini-3-pro", language="gemini"))
    assert isinstance(written, Written)
    assert b"functionCall" in written.body
    assert b'"id"' not in written.body
    counted = GEMINI.write_count(Conversation("gemini-3-pro", turns), translation_target(VERTEX, "gemini-3-pro", language="gemini"))
    assert isinstance(counted, Written)
    assert json.loads(shaped(VERTEX, "gemini", "count_tokens", counted.body)).keys() == {"contents"}
    elsewhere = translation_target(PROVIDERS["gemini"], "gemini-3-pro", language="gemini")
    other = GEMINI.write_request(Conversation("gemini-3-pro", turns), elsewhere)
    assert isinstance(other, Written)
    assert b'"id"' in other.body, "which the Gemini API wants"


def test_gemini_on_vertex_gets_no_ids_of_calls_and_a_role_for_each_content() -> None:
    found = gemini_call("/v1beta/models/gemini-2.5-pro:generateContent", "")
    assert found is not None
    language = found[1]
    fine = b'{ "contents":[{"role":"user","parts":[{"text":"Hi"}]}] }'
    assert spliced(language, fine, Rewrite()) == fine
    body = {"contents": [
        {"parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"functionCall": {"id": "a", "name": "f", "args": {"id": 1}}, "thoughtSignature": "s"}]},
        {"role": "user", "parts": [{"function_response": {"id": "a", "name": "f", "response": {"id": 2}}}]},
    ], "labels": {"a": "b"}}  # fmt: skip
    said = json.loads(spliced(language, json.dumps(body).encode(), Rewrite()))
    assert said == {"contents": [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"id": 1}}, "thoughtSignature": "s"}]},
        {"role": "user", "parts": [{"function_response": {"name": "f", "response": {"id": 2}}}]},
    ], "labels": {"a": "b"}}  # fmt: skip
    for odd in (b'{"contents":"Hi"}', b'{"contents":[5,{"role":"user","parts":7},{"role":"user","parts":[3]}]}', b"{}"):
        assert spliced(language, odd, Rewrite()) == odd
