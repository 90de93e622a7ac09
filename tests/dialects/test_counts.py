"""Counts of tokens in every language: a conversation of any caller's is asked about in the backend's words, and the number comes back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.conversation import Conversation, Sampling, Tool
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Message, Text
from appliance.dialects import bedrock_tokens, operations
from appliance.dialects.codec import Target, Written
from appliance.dialects.protocol import COUNT, Answer

TABLES = {
    "anthropic": operations.ANTHROPIC_MESSAGES, "gemini": operations.GEMINI, "bedrock": operations.BEDROCK,
    "responses": operations.OPENAI_RESPONSES,
}  # fmt: skip
MODELS = {
    "anthropic": "claude-haiku-4-5", "gemini": "gemini-3", "bedrock": "us.anthropic.claude-haiku-4-5-20251001-v1:0", "responses": "gpt-5",
}  # fmt: skip
ANSWERS = {
    "anthropic": {"input_tokens": 12}, "gemini": {"totalTokens": 12}, "bedrock": {"inputTokens": 12},
    "responses": {"object": "response.input_tokens", "input_tokens": 12},
}  # fmt: skip
TALK = Conversation(
    "m", (Message("system", (Text("Be brief"),)), Message("user", (Text("Hi"),))), max_tokens=50, stream=True,
    tools=(Tool("f", "does", {"type": "object", "properties": {}}),), sampling=Sampling(temperature=0.5),
)  # fmt: skip


def told(name):
    side = TABLES[name][COUNT].told
    assert side is not None
    return side


def body_of(name):
    written = told(name).write(TALK, Target(MODELS[name]))
    assert isinstance(written, Written), written
    return json.loads(written.body)


def test_only_what_weighs_on_the_input_is_asked_about():
    assert body_of("anthropic").keys() == {"model", "system", "messages", "tools"}
    assert body_of("responses").keys() == {"model", "instructions", "input", "tools"}
    assert body_of("bedrock").keys() == {"input"}
    assert body_of("bedrock")["input"].keys() == {"converse"}
    assert body_of("bedrock")["input"]["converse"].keys() == {"messages", "system", "toolConfig"}
    assert body_of("gemini")["generateContentRequest"].keys() >= {"model", "contents", "systemInstruction", "tools"}


@pytest.mark.parametrize("backend", TABLES)
def test_the_backends_number_is_read(backend):
    body = json.dumps(ANSWERS[backend]).encode()
    assert told(backend).read(body) == 12
    assert told(backend).summary(body) == Answer(None)


@pytest.mark.parametrize("caller", ["anthropic", "gemini", "responses"])
def test_the_number_is_told_in_the_callers_words(caller):
    asked = TABLES[caller][COUNT].asked
    assert json.loads(asked.write(12, TALK, "m")) == ANSWERS[caller]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"input_tokens":"12","totalTokens":"12","inputTokens":"12"}',
    b'{"input_tokens":-1,"totalTokens":-1,"inputTokens":-1}', b'{"input_tokens":true,"totalTokens":true,"inputTokens":true}'])  # fmt: skip
@pytest.mark.parametrize("backend", TABLES)
def test_an_answer_without_a_number_is_a_fault(backend, body):
    found = told(backend).read(body)
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.PROTOCOL
    assert isinstance(told(backend).summary(body), Fault)


@given(st.binary(max_size=40) | st.dictionaries(st.sampled_from(["input_tokens", "totalTokens", "inputTokens", "error"]),
    st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_answer_makes_the_readers_raise(body):
    for name in TABLES:
        assert isinstance(told(name).read(body), int | Fault)


@pytest.mark.parametrize(("model", "counted"), [
    ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic.claude-haiku-4-5-20251001-v1:0"),
    ("global.anthropic.claude-sonnet-4-6", "anthropic.claude-sonnet-4-6"),
    ("anthropic.claude-3-7-sonnet-20250219-v1:0", "anthropic.claude-3-7-sonnet-20250219-v1:0"),
    ("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-opus-4-8", "anthropic.claude-opus-4-8"),
    ("amazon.nova-pro-v1:0", ""),
    ("arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3", ""),
    ("meta.llama3-70b-instruct-v1:0", ""),
])  # fmt: skip
def test_bedrock_counts_for_claude_by_its_own_id(model, counted):
    assert bedrock_tokens.counted_model(model) == counted
