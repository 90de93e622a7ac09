"""Cohere's v2 embeddings: one unit vector for each input, in every kind that is asked for. Pure.

Source: docs.cohere.com/reference/embed.
"""

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.simulator.answer import Answer, Headers, whole
from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_answer import letters
from appliance.simulator.languages.cohere_errors import invalid
from appliance.simulator.languages.cohere_request import FLAG, INTEGER, LIST, TEXT, fields_error
from appliance.simulator.prose import seed_of
from appliance.simulator.settings import Speed
from appliance.simulator.tokens import count_tokens
from appliance.simulator.vectors import unit_vector

FIELDS: Mapping[str, str] = {
    **dict.fromkeys(("model", "input_type", "truncate"), TEXT),
    **dict.fromkeys(("texts", "images", "inputs", "embedding_types"), LIST),
    **dict.fromkeys(("output_dimension", "max_tokens", "priority"), INTEGER),
    "raw_prompting": FLAG,
}
PURPOSES = ("search_document", "search_query", "classification", "clustering", "image")
KINDS = ("float", "int8", "uint8", "binary", "ubinary", "base64")
DIMENSIONS_OF_V4 = (256, 512, 1024, 1536)
DIMENSIONS_LIGHT, DIMENSIONS = 384, 1024  # of the older models
TEXTS_MAX = 96
INT8_STEPS, UINT8_ZERO = 127, 128


def embed(fields: Mapping[str, Any], model: str, speed: Speed, headers: Headers) -> Answer | ApiError:
    error = fields_error(fields, FIELDS, "embed") or wish_error(fields, model)
    inputs = read_inputs(fields) if error is None else error
    if isinstance(inputs, ApiError):
        return inputs
    size = fields.get("output_dimension") or own_dimension(model)
    kinds = fields.get("embedding_types") or ["float"]
    vectors = [unit_vector(text, size) for text in inputs]
    tokens = sum(count_tokens(text) for text in inputs)
    pictures = len(fields.get("images") or ())
    document: dict[str, Any] = {
        "id": letters(seed_of(model, inputs), 32).lower(),
        "embeddings": {kind: [as_kind(vector, kind) for vector in vectors] for kind in kinds},
        "texts": [] if pictures else inputs,
        "meta": {"api_version": {"version": "2"}, "billed_units": {"images": pictures} if pictures else {"input_tokens": tokens}},
        "response_type": "embeddings_by_type",
    }
    return whole(document, headers=headers, due_s=speed.first_token_s, prompt_tokens=tokens)


def wish_error(fields: Mapping[str, Any], model: str) -> ApiError | None:
    purpose = fields.get("input_type")
    if purpose not in PURPOSES and not (purpose is None and "v2" in model):
        return invalid("valid input_type must be provided with the provided model")
    if fields.get("images") and purpose != "image":
        return invalid("input_type must be image when images are embedded.")
    if any(kind not in KINDS for kind in fields.get("embedding_types") or ()):
        return invalid(f"embedding_types must be among {', '.join(KINDS)}.")
    if fields.get("truncate") not in (None, "NONE", "START", "END"):
        return invalid("truncate must be one of NONE, START or END.")
    if fields.get("output_dimension") not in (None, *DIMENSIONS_OF_V4):
        return invalid(f"output_dimension must be one of {', '.join(map(str, DIMENSIONS_OF_V4))}.")
    return None


def read_inputs(fields: Mapping[str, Any]) -> list[str] | ApiError:
    given = [fields[name] for name in ("texts", "images", "inputs") if fields.get(name)]
    if len(given) != 1:
        return invalid("exactly one of texts, images or inputs must be provided.")
    if len(given[0]) > TEXTS_MAX:
        return invalid(f"total number of texts must be at most {TEXTS_MAX} - received {len(given[0])}.")
    read = [mixed_text(item) if fields.get("inputs") else item for item in given[0]]
    texts = [item for item in read if isinstance(item, str) and item]
    return texts if len(texts) == len(read) else invalid("texts must be non-empty strings.")


def mixed_text(item: Any) -> str | None:
    """Of `inputs`: the texts and picture URLs of one content."""
    parts = item.get("content") if isinstance(item, dict) else None
    said = [part_text(part) for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return "\n".join(text for text in said if isinstance(text, str)) or None


def part_text(part: Mapping[str, Any]) -> Any:
    picture = part.get("image_url")
    return part.get("text") or (picture.get("url") if isinstance(picture, dict) else None)


def own_dimension(model: str) -> int:
    if "v2" in model or "v3" in model:
        return DIMENSIONS_LIGHT if "light" in model else DIMENSIONS
    return DIMENSIONS_OF_V4[-1]


def as_kind(vector: Sequence[float], kind: str) -> list[float] | list[int] | str:
    """`binary` and `ubinary` hold the signs of eight numbers in one; `base64` is of little-endian float32."""
    match kind:
        case "int8":
            return [round(value * INT8_STEPS) for value in vector]
        case "uint8":
            return [round(value * INT8_STEPS) + UINT8_ZERO for value in vector]
        case "ubinary":
            return sign_bytes(vector)
        case "binary":
            return [byte - UINT8_ZERO for byte in sign_bytes(vector)]
        case "base64":
            return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        case _:
            return list(vector)


def sign_bytes(vector: Sequence[float]) -> list[int]:
    return [sum((vector[at + bit] > 0) << (7 - bit) for bit in range(8)) for at in range(0, len(vector) - 7, 8)]
