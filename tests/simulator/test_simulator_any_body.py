"""Whatever JSON stands anywhere in a good request, each language answers it or refuses it; nothing raises."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.simulator.api_error import ApiError
from appliance.simulator.language import Call
from appliance.simulator.languages.gemini_signature import SKIPS
from appliance.simulator.languages.table import find_endpoint
from appliance.simulator.model_name import parse_model
from appliance.simulator.request import Request
from appliance.simulator.response_store import ResponseStore
from appliance.simulator.settings import Settings, Speed

SCHEMA = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}, "required": ["a"]}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PICTURE = "iVBORw0KGgo="
GOOD: dict[str, dict[str, Any]] = {
    "/v1beta/models/gemini-3-pro:streamGenerateContent": {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Call f."}, {"inlineData": {"mimeType": "image/png", "data": PICTURE}}]},
            {"role": "model", "parts": [{"functionCall": {"id": "1", "name": "f", "args": {"a": []}}, "thoughtSignature": SKIPS[0]}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "1", "name": "f", "response": {"output": "x"}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "maxOutputTokens": 9, "stopSequences": ["x"], "responseMimeType": "application/json", "responseJsonSchema": SCHEMA, "seed": 1,
            "candidateCount": 2, "responseLogprobs": True, "logprobs": 1, "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 9},
        },
    },
    "/v1beta/models/m:batchEmbedContents": {
        "requests": [{"model": "models/m", "content": {"parts": [{"text": "a"}]}, "outputDimensionality": 4}],
    },
    "/v1beta/models/m:countTokens": {"generateContentRequest": {"model": "models/m", "contents": [{"parts": [{"text": "a"}]}]}},
    "/v2/chat": {
        "model": "sim", "stream": True, "max_tokens": 9, "stop_sequences": ["x"], "seed": 1, "k": 5, "p": 0.5, "logprobs": True,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "f"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]},
            {"role": "assistant", "tool_plan": "x", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "document", "document": {"data": {"a": 1}}}]},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "x", "parameters": SCHEMA}}],
        "tool_choice": "REQUIRED", "documents": ["a", {"id": "1", "data": {"b": 1}}], "thinking": {"type": "enabled", "token_budget": 9},
    },
    "/v2/embed": {
        "model": "m", "inputs": [{"content": [{"type": "text", "text": "a"}]}], "input_type": "image", "embedding_types": ["binary"],
        "output_dimension": 256,
    },
    "/v2/rerank": {"model": "m", "query": "a", "documents": ["a", "b"], "top_n": 1},
    "/model/anthropic.claude-sonnet-4-5/converse-stream": {
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
        "messages": [
            {"role": "user", "content": [
                {"text": "Call f."}, {"image": {"format": "png", "source": {"bytes": PICTURE}}},
                {"document": {"name": "a", "format": "pdf", "source": {"bytes": PICTURE}}},
                {"cachePoint": {"type": "default", "ttl": "1h"}},
            ]},
            {"role": "assistant", "content": [{"text": "x"}, {"toolUse": {"toolUseId": "1", "name": "f", "input": {"a": []}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "status": "error", "content": [{"text": "x"}, {"json": {}}]}}]},
        ],
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "f", "description": "x", "inputSchema": {"json": SCHEMA}}}], "toolChoice": {"auto": {}},
        },
        "inferenceConfig": {"maxTokens": 2000, "stopSequences": ["x"], "topP": 0.5},
        "additionalModelRequestFields": {
            "output_config": {"effort": "low", "format": {"schema": SCHEMA}}, "thinking": {"type": "adaptive"},
        },
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{}"}}}},
    },
}  # fmt: skip
NUMBERS = st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "a", "user"])
NAMES = st.sampled_from(["type", "text", "a"])
ANYTHING = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner), max_leaves=5)


def places(value: Any) -> list[tuple[Any, ...]]:
    """The path to every value inside."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(key, *rest) for key, one in pairs for rest in ((), *places(one))]


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], other)
    return copy


def answered(path: str, body: Any) -> Any:
    request = Request("POST", path, b"alt=sse", ())
    found = find_endpoint(request)
    asked = found.endpoint.model(found.match, body)
    model = parse_model(asked if isinstance(asked, str) else "")
    call = Call(request, body, model, {}, Speed(), (), Settings(answer_tokens_max=50), (), ResponseStore(Settings()))
    made = found.endpoint.answer(call)
    return made if isinstance(made, ApiError) else b"".join(piece.data for piece in made.pieces)


@pytest.mark.parametrize("path", GOOD)
def test_the_good_requests_are_answered(path):
    assert isinstance(answered(path, GOOD[path]), bytes)


@pytest.mark.parametrize("path", GOOD)
@given(st.data())
@settings(max_examples=120)
def test_a_request_with_anything_in_it_is_answered_or_refused(path, data):
    at = data.draw(st.sampled_from(places(GOOD[path])))
    body = replaced(GOOD[path], at, data.draw(ANYTHING))
    made = answered(path, orjson.loads(orjson.dumps(body)))
    assert isinstance(made, bytes) or 400 <= made.status < 500


def test_a_whole_number_beyond_64_bits_is_refused():
    path = "/v1beta/models/gemini-3-pro:streamGenerateContent"
    made = answered(path, {**GOOD[path], "generationConfig": {"seed": 1e30}})
    assert isinstance(made, ApiError)
    assert made.status == 400
