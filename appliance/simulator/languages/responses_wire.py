"""The chat answer in the bytes of OpenAI's Responses: the response object and its items; the stream is in `responses_stream.py`. Pure.

Field order, nulls and defaults follow recorded answers of api.openai.com.
"""

from itertools import groupby
from typing import Any

import attrs

from appliance.simulator.chat_answer import ChatAnswer, Choice, Delta, made_id
from appliance.simulator.languages.openai_logprobs import token_logprob
from appliance.simulator.languages.responses_items import ISSUER, SEALED
from appliance.simulator.languages.responses_request import Responses
from appliance.simulator.prose import seed_of
from appliance.simulator.seal import seal

ID_HEX = 48
PREFIXES = {"reasoning": "rs", "message": "msg", "function_call": "fc", "custom_tool_call": "ctc"}


@attrs.frozen
class OutputItem:
    """One item of the output: the deltas of one part, or of one call."""

    index: int
    kind: str
    id: str
    deltas: tuple[Delta, ...] = attrs.field(repr=False)
    status: str

    @property
    def text(self) -> str:
        return "".join(d.text for d in self.deltas if d.part != "call")


@attrs.frozen
class Made:
    """What is shown: the request, the answer and the ids that were derived for it."""

    request: Responses
    answer: ChatAnswer
    id: str
    items: tuple[OutputItem, ...] = attrs.field(repr=False)

    @property
    def refused(self) -> bool:
        return self.answer.choices[0].refused

    @property
    def cut(self) -> bool:
        return self.answer.choices[0].finish == "length"


def make(answer: ChatAnswer, request: Responses) -> Made:
    """Ids are derived from everything that was asked, so that two requests share one only when they are the same."""
    asked = {name: value for name, value in request.fields.items() if name not in ("stream", "stream_options")}
    seed = seed_of(asked, [item.get("id") for item in request.before]).hex()
    return Made(request, answer, "resp_" + hex_id(seed, "response"), output_items(answer.choices[0], seed))


def hex_id(*parts: object) -> str:
    return (seed_of(*parts).hex() * 2)[:ID_HEX]


def output_items(choice: Choice, seed: str) -> tuple[OutputItem, ...]:
    """Reasoning, message and calls, as far as there are any; an answer of nothing is an empty message."""
    groups: list[tuple[str, tuple[Delta, ...]]] = []
    for (part, _), grouped in groupby(choice.deltas, key=lambda d: ("call" if d.part == "arguments" else d.part, d.call)):
        deltas = tuple(grouped)
        called = "custom_tool_call" if deltas[0].custom else "function_call"
        groups.append(({"reasoning": "reasoning", "content": "message"}.get(part, called), deltas))
    if choice.finish == "stop" and not any(kind == "message" for kind, _ in groups):
        groups.append(("message", ()))
    last = len(groups) - 1
    return tuple(
        OutputItem(
            i, kind, f"{PREFIXES[kind]}_{hex_id(seed, i)}", deltas, "incomplete" if choice.finish == "length" and i == last else "completed"
        )
        for i, (kind, deltas) in enumerate(groups)
    )


def item_shape(item: OutputItem, made: Made) -> dict[str, Any]:
    """The item when it is done."""
    match item.kind:
        case "reasoning":
            shape: dict[str, Any] = {"id": item.id, "type": "reasoning"}
            if made.request.sealed:
                shape["encrypted_content"] = sealed(item, made)
            return {**shape, "summary": [summary_part(item.text)] if made.request.summarised else []}
        case "message":
            return {"id": item.id, "type": "message", "status": item.status, "content": [text_part(item, made)], "role": "assistant"}
        case "custom_tool_call":
            return {"id": item.id, "type": item.kind, "status": item.status, **call_ids(item, made), "input": item.text}
    return {"id": item.id, "type": item.kind, "status": item.status, "arguments": item.text, **call_ids(item, made)}


def sealed(item: OutputItem, made: Made) -> str:
    return SEALED + seal(ISSUER, item.text, seed_of(made.answer.seed.hex(), item.id))


def call_ids(item: OutputItem, made: Made) -> dict[str, Any]:
    call = item.deltas[0]
    return {"call_id": "call_" + made_id(made.answer, 24, 0, call.call), "name": call.text}


def summary_part(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


def text_part(item: OutputItem, made: Made) -> dict[str, Any]:
    if made.refused:
        return {"type": "refusal", "refusal": item.text}
    top = made.request.logprobs
    logprobs = [] if top is None else [token_logprob(d.text, top) for d in item.deltas]
    return {"type": "output_text", "annotations": [], "logprobs": logprobs, "text": item.text}


def usage(made: Made) -> dict[str, Any]:
    answer = made.answer
    return {
        "input_tokens": answer.prompt_tokens,
        "input_tokens_details": {"cached_tokens": made.request.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": answer.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def response(made: Made, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    """The response object: in progress without output and usage, else with them."""
    fields, ended = made.request.fields, status != "in_progress"
    reasoning, text = fields.get("reasoning") or {}, fields.get("text") or {}
    tier = fields.get("service_tier") or "auto"
    return {
        "id": made.id,
        "object": "response",
        "created_at": made.answer.created,
        "status": status,
        "background": False,
        "completed_at": made.answer.created if status == "completed" else None,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": fields.get("instructions"),
        "max_output_tokens": fields.get("max_output_tokens"),
        "max_tool_calls": fields.get("max_tool_calls"),
        "model": made.answer.model,
        "output": output,
        "parallel_tool_calls": fields.get("parallel_tool_calls") is not False,
        "previous_response_id": fields.get("previous_response_id"),
        "prompt_cache_key": fields.get("prompt_cache_key"),
        "prompt_cache_retention": fields.get("prompt_cache_retention"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "safety_identifier": fields.get("safety_identifier"),
        "service_tier": "default" if ended and tier == "auto" else tier,
        "store": made.request.store,
        "temperature": fields.get("temperature", 1.0),
        "text": {"format": text.get("format") or {"type": "text"}, "verbosity": text.get("verbosity") or "medium"},
        "tool_choice": fields.get("tool_choice") or "auto",
        "tools": [tool_shape(tool) for tool in fields.get("tools") or ()],
        "top_logprobs": fields.get("top_logprobs") or 0,
        "top_p": fields.get("top_p", 1.0),
        "truncation": fields.get("truncation") or "disabled",
        "usage": usage(made) if ended else None,
        "user": fields.get("user"),
        "metadata": fields.get("metadata") or {},
    }


def tool_shape(tool: dict[str, Any]) -> dict[str, Any]:
    """A function as the service shows it again: with the defaults it took."""
    if tool["type"] != "function":
        return tool
    return {"description": None, "parameters": None, "strict": True, **tool}


def ended_response(made: Made) -> dict[str, Any]:
    return response(made, "incomplete" if made.cut else "completed", [item_shape(item, made) for item in made.items])
