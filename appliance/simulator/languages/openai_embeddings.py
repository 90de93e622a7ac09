"""Embeddings: unit vectors derived from the text alone, the same for the same text and the same length. Pure."""

import base64
from array import array
from collections.abc import Mapping
from typing import Any

from appliance.simulator.answer import Answer, Headers, whole
from appliance.simulator.api_error import ApiError, bad_value, missing, wrong_type
from appliance.simulator.settings import Speed
from appliance.simulator.tokens import count_tokens
from appliance.simulator.vectors import Input, unit_vector

DIMENSIONS = {"large": 3072}  # by a word in the model's name, as text-embedding-3-large
DIMENSIONS_ELSE = 1536
DIMENSIONS_MAX = 8192
INPUTS_MAX = 2048  # the service's own bound


def answer_embeddings(fields: Mapping[str, Any], bare_model: str, speed: Speed, headers: Headers) -> Answer | ApiError:
    if not isinstance(fields.get("model"), str) or not fields["model"]:
        return ApiError(400, "you must provide a model parameter")
    inputs = parse_inputs(fields.get("input"))
    if isinstance(inputs, ApiError):
        return inputs
    full = next((d for word, d in DIMENSIONS.items() if word in bare_model), DIMENSIONS_ELSE)
    dimensions = full if fields.get("dimensions") is None else fields["dimensions"]
    if isinstance(dimensions, bool) or not isinstance(dimensions, int):
        return wrong_type("dimensions", "an integer")
    if not 1 <= dimensions <= DIMENSIONS_MAX:
        return bad_value("dimensions", f"Invalid value for 'dimensions' = {dimensions}. Must be between 1 and {DIMENSIONS_MAX}.")
    encoding = fields.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        return bad_value("encoding_format", f"Invalid value: '{encoding}'. Supported values are: 'float' and 'base64'.")
    tokens = sum(count_tokens(i) if isinstance(i, str) else len(i) for i in inputs)
    data = [
        {"object": "embedding", "index": i, "embedding": encoded(unit_vector(text, dimensions), encoding)} for i, text in enumerate(inputs)
    ]
    document = {"object": "list", "data": data, "model": fields["model"], "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return whole(document, headers=headers, due_s=speed.first_token_s, prompt_tokens=tokens)


def parse_inputs(given: Any) -> list[Input] | ApiError:
    """A string, a token list, or a list of either."""
    if given is None:
        return missing("input")
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        return wrong_type("input", "a string or a non-empty array")
    if is_token_list(given):
        return [given]
    if len(given) > INPUTS_MAX:
        return bad_value("input", f"Invalid 'input': array too long. Expected an array with maximum length {INPUTS_MAX}.")
    if all(isinstance(item, str) or is_token_list(item) for item in given):
        return given
    return wrong_type("input", "a string, an array of strings, an array of tokens, or an array of token arrays")


def is_token_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(t, int) and not isinstance(t, bool) for t in value)


def encoded(vector: "array[float]", encoding: str) -> list[float] | str:
    """`base64` is of little-endian float32, which is what the machines that run this use."""
    return base64.b64encode(vector.tobytes()).decode() if encoding == "base64" else vector.tolist()
