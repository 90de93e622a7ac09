"""Reads a caller's chat completion request into a conversation.

The rule: fields that have a meaning of their own here are checked for their type; fields that are not known go into `extra`, for a backend
that speaks chat completions, too. Source: OpenAI API reference, chat/create, and the vendors named beside what is theirs.
"""

from collections.abc import Mapping
from typing import Any

from appliance.core.conversation import Conversation, Sampling
from appliance.core.fault import Fault
from appliance.dialects.chat_message import NAME, REASONING_FIELDS, read_messages
from appliance.dialects.chat_reasoning import SPELLINGS, read_wish
from appliance.dialects.chat_tools import read_choice, read_format, read_tools
from appliance.dialects.fields import SHOWN_MAX_CHARS, Unfit, flag, integer, mapping, needed, number, optional, sequence, text, texts

SAMPLING = {
    "temperature": number,
    "top_p": number,
    "top_k": integer,
    "min_p": number,
    "seed": integer,
    "presence_penalty": number,
    "frequency_penalty": number,
    "repetition_penalty": number,
    "logprobs": flag,
    "top_logprobs": integer,
}
"""top_k, min_p and repetition_penalty are of vLLM, SGLang, llama.cpp, OpenRouter, Together and others; OpenAI has none of them."""

SERVICE_TIERS = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})
"""The ones that OpenAI names, in requests and answers; strict clients know no others."""

MEMBERS = frozenset({
    "role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio", "annotations", "extra_content",
    "reasoning_details", *REASONING_FIELDS,
})  # fmt: skip
"""Of messages: what is read, and what only answers have, which clients send back with them."""

KNOWN = SPELLINGS | SAMPLING.keys() | {
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "tools", "tool_choice", "functions",
    "function_call", "parallel_tool_calls", "response_format", "stop", "n", "logit_bias", "modalities", "user", "safety_identifier",
    "metadata", "prompt_cache_key", "verbosity", "service_tier", "store", "random_seed",
}  # fmt: skip


def read_request(fields: Mapping[str, Any]) -> Conversation | Fault:
    try:
        return _read(fields)
    except Unfit as unfit:
        return unfit.fault()


def _read(fields: Mapping[str, Any]) -> Conversation:
    options = optional(mapping, fields, "stream_options") or {}
    limit = optional(integer, fields, "max_completion_tokens")
    older = optional(integer, fields, "max_tokens")  # deprecated in favour of the other
    single = "functions" in fields and not fields.get("tools")
    parallel = optional(flag, fields, "parallel_tool_calls")
    user, safety = optional(text, fields, "user"), optional(text, fields, "safety_identifier")
    extra = {name: value for name, value in fields.items() if name not in KNOWN and value is not None}
    extra |= _of_messages(fields["messages"]) if isinstance(fields.get("messages"), list) else {}
    if user and safety and user != safety:
        extra["safety_identifier"] = safety
    return Conversation(
        model=needed(text, fields, "model"),
        messages=read_messages(needed(sequence, fields, "messages")),
        stream=optional(flag, fields, "stream") or False,
        wants_usage=optional(flag, options, "include_usage", "stream_options") or False,
        max_tokens=older if limit is None else limit,
        tools=read_tools(fields),
        tool_choice=read_choice(fields),
        parallel_tools=False if single else parallel,
        single_call=single,
        output=read_format(fields),
        reasoning=read_wish(fields),
        sampling=_read_sampling(fields),
        modalities=optional(texts, fields, "modalities") or (),
        user=user or safety or "",
        metadata=_read_metadata(fields),
        cache_key=optional(text, fields, "prompt_cache_key") or "",
        verbosity=optional(text, fields, "verbosity") or "",
        service_tier=optional(text, fields, "service_tier") or "",
        store=optional(flag, fields, "store"),
        family=NAME,
        extra=extra,
    )


def _of_messages(messages: list[Any]) -> dict[str, Any]:
    """What single messages hold that nothing here reads, by its path: a writer can only report it."""
    found: dict[str, Any] = {}
    for place, message in enumerate(messages):
        if isinstance(message, dict) and not message.keys() <= MEMBERS:
            rest = {name: one for name, one in message.items() if name not in MEMBERS and one not in (None, [], {})}
            found |= {f"messages[{place}].{name}": one for name, one in rest.items()}
    return found


def _read_sampling(fields: Mapping[str, Any]) -> Sampling:
    said: dict[str, Any] = {name: optional(read, fields, name) for name, read in SAMPLING.items()}
    if said["seed"] is None:
        said["seed"] = optional(integer, fields, "random_seed")  # Mistral's name
    candidates = optional(integer, fields, "n")
    if candidates is not None and candidates < 1:
        raise Unfit("n", "must be at least 1")
    bias = optional(mapping, fields, "logit_bias")
    weights = None if bias is None else {token: number(weight, f"logit_bias.{token[:SHOWN_MAX_CHARS]}") for token, weight in bias.items()}
    return Sampling(**said, stop=_read_stop(fields.get("stop")), logit_bias=weights, candidates=candidates)


def _read_stop(stop: Any) -> tuple[str, ...]:
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else texts(stop, "stop")


def _read_metadata(fields: Mapping[str, Any]) -> dict[str, str]:
    found = optional(mapping, fields, "metadata") or {}
    return {name: text(value, f"metadata.{name[:SHOWN_MAX_CHARS]}") for name, value in found.items()}
