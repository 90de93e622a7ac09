"""OpenAI's embeddings, on both sides: a caller's as a canonical request, a canonical request as a compatible backend's.

The rule: vectors are read as lists of numbers, which every server can write, and written as the caller reads them: openai-python asks for
base64 unless told otherwise. Source: platform.openai.com/docs/api-reference/embeddings.
"""

import base64
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from appliance.core.embedding import INPUTS_MAX, EmbeddingRequest, Embeddings, Purpose, vector_of
from appliance.core.fault import Fault, FaultKind
from appliance.dialects.chat_answer_parts import read_json
from appliance.dialects.chat_answer_writer import dumped
from appliance.dialects.codec import Target, Written
from appliance.dialects.fields import Unfit, integer, needed, one_of, optional, text
from appliance.dialects.openai_usage import text_of, usage_of
from appliance.dialects.upstream_error import error_in_answer

_KNOWN = frozenset({"model", "input", "dimensions", "encoding_format", "user", "input_type"})

_INPUT_TYPES: Mapping[str, Purpose] = {
    "document": "document", "query": "query", "passage": "document", "search_document": "document", "search_query": "query",
    "classification": "classification", "clustering": "clustering",
}  # fmt: skip
"""`input_type` is no field of OpenAI's: compatible servers have it, in NVIDIA's words (query, passage), Voyage's (query, document) and
Cohere's. It is the way of OpenAI's callers to say what a vector is for."""


def read_request(fields: Mapping[str, Any]) -> EmbeddingRequest | Fault:
    try:
        return _read(fields)
    except Unfit as unfit:
        return unfit.fault()


def _read(fields: Mapping[str, Any]) -> EmbeddingRequest:
    lost = [name for name, value in fields.items() if name not in _KNOWN and value is not None]
    kind = optional(text, fields, "input_type") or ""
    if kind and kind not in _INPUT_TYPES:
        lost.append("input_type")
    encoding = fields.get("encoding_format")
    if encoding is not None:
        one_of(encoding, ("float", "base64"), "encoding_format")
    return EmbeddingRequest(
        inputs=needed(_inputs, fields, "input"),
        dimensions=optional(integer, fields, "dimensions"),
        purpose=_INPUT_TYPES.get(kind, ""),
        packed=encoding == "base64",
        user=optional(text, fields, "user") or "",
        dropped=tuple(lost),
    )


def _inputs(value: Any, path: str) -> tuple[str | tuple[int, ...], ...]:
    """A text, a list of texts, a list of token numbers, or a list of such lists."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not value:
        raise Unfit(path, "must be a text, or a list of texts or tokens that is not empty")
    if isinstance(value[0], int):
        return (_tokens(value, path),)
    if len(value) > INPUTS_MAX:
        raise Unfit(path, f"must hold at most {INPUTS_MAX} texts")
    return tuple(_tokens(one, f"{path}[{at}]") if isinstance(one, list) else text(one, f"{path}[{at}]") for at, one in enumerate(value))


def _tokens(value: list[Any], path: str) -> tuple[int, ...]:
    return tuple(integer(one, f"{path}[{at}]") for at, one in enumerate(value))


def write_request(wish: EmbeddingRequest, target: Target) -> Written | Fault:
    dropped = list(wish.dropped)
    if wish.purpose:
        dropped.append("purpose")
    if wish.title:
        dropped.append("title")
    body: dict[str, Any] = {"model": target.model, "input": wish.inputs}
    for name, value in (("dimensions", wish.dimensions), ("user", wish.user or None)):
        if value is not None and name in target.drop:
            dropped.append(name)
        elif value is not None:
            body[target.rename.get(name, name)] = value
    return Written(dumped(body), tuple(dropped))


def write_vector(values: Sequence[float], request: EmbeddingRequest) -> orjson.Fragment:
    return orjson.Fragment(b'"%b"' % packed(values) if request.packed else dumped(values))


def write_answer(answer: Embeddings, request: EmbeddingRequest, model: str) -> bytes:
    """The vectors are as `write_vector` wrote them."""
    del request
    data = [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(answer.vectors)]
    read = answer.usage.input_tokens if answer.usage is not None else 0
    return dumped({"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": read, "total_tokens": read}})


def packed(vector: Sequence[float]) -> bytes:
    """Base64 of 32-bit floats, little-endian: what OpenAI's SDKs unpack."""
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes())


def read_answer(body: bytes) -> Embeddings | Fault:
    """PROTOCOL where it is no such answer. Vectors are put in the order of their `index`."""
    try:
        answer, _ = read_json(body)
    except (ValueError, RecursionError):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not JSON")
    if not isinstance(answer, dict):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer that is not a JSON object")
    fault = error_in_answer(answer, "")
    if fault is not None:
        return fault
    data = answer.get("data")
    found = [_vector(one, place) for place, one in enumerate(data)] if isinstance(data, list) else [None]
    whole = sorted((one for one in found if one is not None), key=lambda one: one[0])
    if not found or len(whole) != len(found) or [place for place, _ in whole] != list(range(len(whole))):
        return Fault(FaultKind.PROTOCOL, "the backend sent an answer without a vector for each input")
    return Embeddings(tuple(vector for _, vector in whole), usage_of(answer), text_of(answer.get("model")))


def _vector(one: object, place: int) -> tuple[int, Sequence[float]] | None:
    values = vector_of(one.get("embedding")) if isinstance(one, dict) else None
    if not isinstance(one, dict) or values is None:
        return None
    index = one.get("index")
    return index if type(index) is int else place, values
