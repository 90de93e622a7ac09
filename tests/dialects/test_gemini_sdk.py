"""What is written for Gemini's callers passes google-genai's own models, and what that sends back is read with nothing lost.

The SDK is not among the development dependencies; where it is not installed, these tests are skipped and the wire tests stand alone.
"""

import json
import warnings

import pytest
from gemini_values import NEW, REPLY, answers, any_seals, chunks_of, conversations
from hypothesis import given, settings

from appliance.core.assembly import unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.conversation import Conversation
from appliance.core.embedding import Embeddings
from appliance.core.message import Reasoning, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.gemini import GEMINI
from appliance.dialects.gemini_embedding import write_batch_answer

genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
types = pytest.importorskip("google.genai.types", reason="google-genai is not installed")


def as_sdk(answer):
    """Strictly: its models forbid fields that they do not know."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return types.GenerateContentResponse.model_validate(answer)


def as_sent(content):
    """A content as the SDK sends it back: bytes in the URL-safe alphabet."""
    from google.genai._common import convert_to_dict, encode_unserializable_types

    return encode_unserializable_types(convert_to_dict(content))


@given(answers())
@settings(max_examples=60, deadline=None)
def test_answers_pass_the_sdks_models(answer: Completion):
    as_sdk(json.loads(GEMINI.write_answer(answer, REPLY)))
    writer = GEMINI.stream_writer(REPLY)
    for chunk in chunks_of(writer.write(unfold(answer)) + writer.end()):
        as_sdk(chunk)


@given(conversations(seals=any_seals))
@settings(max_examples=60, deadline=None)
def test_a_turn_that_the_sdk_sends_back_is_read_as_it_was(conversation: Conversation):
    for message in conversation.messages:
        if message.role != "assistant":
            continue
        finish = "tool_use" if any(isinstance(part, ToolCall) for part in message.parts) else "stop"
        body = GEMINI.write_answer(Completion("r", "m", (Candidate(message.parts, finish),)), REPLY)
        sent = as_sent(as_sdk(json.loads(body)).candidates[0].content)
        found = GEMINI.read_request({"contents": [{"parts": [{"text": "x"}]}, sent]})
        assert isinstance(found, Conversation), found
        for part, before in zip(found.messages[1].parts, message.parts, strict=True):
            if getattr(before, "seal", None) is None or before.seal.maker != "gemini":
                assert part == before


@given(conversations())
@settings(max_examples=60, deadline=None)
def test_requests_pass_the_sdks_models(conversation: Conversation):
    body = json.loads(GEMINI.write_request(conversation, NEW).body)
    for content in body["contents"]:
        types.Content.model_validate(content)
    for tool in body.get("tools", []):
        types.Tool.model_validate(tool)
    config = {name: one for name, one in body.get("generationConfig", {}).items() if name != "speechConfig"}
    types.GenerationConfig.model_validate(config)
    if "toolConfig" in body:
        types.ToolConfig.model_validate(body["toolConfig"])


def test_a_stream_that_a_chat_keeps_comes_back_whole():
    parts = (Reasoning("hm", seal=Seal("anthropic", "sig")), Text("a", seal=Seal("openai", "enc")), ToolCall("c", "f", '{"a":1}'))
    writer = GEMINI.stream_writer(REPLY)
    chunks = chunks_of(writer.write(unfold(Completion("r", "m", (Candidate(parts, "tool_use"),)))) + writer.end())
    history = [as_sent(as_sdk(one).candidates[0].content) for one in chunks]
    found = GEMINI.read_request({"contents": [{"parts": [{"text": "x"}]}, *history]})
    assert found.messages[1].parts == parts


def test_other_answers_pass_the_sdks_models():
    body = json.loads(write_batch_answer(Embeddings(((0.5,),), Usage(3))))
    assert [one["values"] for one in body["embeddings"]] == [[0.5]]
    types.ContentEmbedding.model_validate(body["embeddings"][0])
    types.CountTokensResponse.model_validate(json.loads(GEMINI.write_count_answer(3, 1)))
