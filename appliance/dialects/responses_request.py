"""Reads a caller's Responses request.

The rule: every field is what the API's reference says or the request is refused by its path; a field that is not known here is carried in
`Conversation.extra`. There an entry whose name is a path (`input[*].phase`) only says that something could not be carried.
"""

from collections.abc import Mapping
from typing import Any, get_args

from appliance.core.conversation import Conversation, Effort, OutputFormat, ReasoningWish, Sampling
from appliance.core.fault import Fault
from appliance.core.message import Message, Text
from appliance.dialects import fields as f
from appliance.dialects.fields import Unfit
from appliance.dialects.responses_content import FAMILY
from appliance.dialects.responses_input import InputReader
from appliance.dialects.responses_tools import Toolbox, read_choice

EFFORTS: tuple[Effort, ...] = get_args(Effort)
SEALED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"

_SUMMARIES = ("auto", "concise", "detailed")
_KNOWN = frozenset({
    "model", "input", "instructions", "stream", "max_output_tokens", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning",
    "include", "temperature", "top_p", "top_logprobs", "presence_penalty", "frequency_penalty", "user", "safety_identifier", "metadata",
    "prompt_cache_key", "service_tier", "store", "previous_response_id", "truncation", "background", "stream_options",
})  # fmt: skip
_STATEFUL = {
    "conversation": "names a conversation that is stored at a provider: send its items as input",
    "prompt": "names a prompt that is stored at a provider: send it as instructions and input",
}
"""Fields that only the provider which stored something can read: leaving them out would change what is asked."""


def read_request(fields: Mapping[str, Any]) -> Conversation | Fault:
    try:
        return _read(fields)
    except Unfit as unfit:
        return unfit.fault()


def _read(fields: Mapping[str, Any]) -> Conversation:
    for name, complaint in _STATEFUL.items():
        if fields.get(name) is not None:
            raise Unfit(name, complaint)
    if f.optional(f.flag, fields, "background"):
        raise Unfit("background", "must be false: answers in the background are kept by the provider that makes them")
    toolbox = Toolbox()
    toolbox.add(fields.get("tools") or [], "tools")
    reader = InputReader(toolbox)
    messages = reader.read(_input_of(fields), "input")
    instructions = f.optional(f.text, fields, "instructions")
    if instructions:
        messages = (Message("system", (Text(instructions),)), *messages)
    extra = _extra(fields)
    include = _read_include(fields, extra)
    lost = [f"input[*].{name}" for name in reader.lost] + [f"tools[*].{name}" for name in toolbox.lost]
    extra.update((path, True) for path in sorted(lost))
    output, verbosity = _read_text(fields, extra)
    return Conversation(
        model=f.needed(f.text, fields, "model"),
        messages=messages,
        stream=f.optional(f.flag, fields, "stream") or False,
        max_tokens=f.optional(f.integer, fields, "max_output_tokens"),
        tools=toolbox.tools(),
        tool_choice=f.optional(read_choice, fields, "tool_choice"),
        parallel_tools=f.optional(f.flag, fields, "parallel_tool_calls"),
        output=output,
        reasoning=_read_reasoning(fields, SEALED in include, extra),
        sampling=_read_sampling(fields, LOGPROBS in include),
        user=f.optional(f.text, fields, "safety_identifier") or f.optional(f.text, fields, "user") or "",
        metadata=_read_metadata(fields),
        cache_key=f.optional(f.text, fields, "prompt_cache_key") or "",
        verbosity=verbosity,
        service_tier=f.optional(f.text, fields, "service_tier") or "",
        store=f.optional(f.flag, fields, "store"),
        previous=f.optional(f.text, fields, "previous_response_id") or "",
        family=FAMILY,
        extra=extra,
    )


def _input_of(fields: Mapping[str, Any]) -> Any:
    if fields.get("input") is None and fields.get("previous_response_id") is None:
        raise Unfit("input", "is missing")
    return fields.get("input") or []


def _extra(fields: Mapping[str, Any]) -> dict[str, Any]:
    extra = {name: value for name, value in fields.items() if name not in _KNOWN and value is not None}
    if f.optional(f.text, fields, "truncation") not in (None, "disabled"):  # disabled is what every other language does, too
        extra["truncation"] = fields["truncation"]
    options = f.optional(f.mapping, fields, "stream_options") or {}
    if options.get("include_obfuscation") or options.keys() - {"include_obfuscation"}:  # streams written here have none
        extra["stream_options"] = options
    return extra


def _read_include(fields: Mapping[str, Any], extra: dict[str, Any]) -> frozenset[str]:
    include = f.optional(f.texts, fields, "include") or ()
    rest = [name for name in include if name not in (SEALED, LOGPROBS)]
    if rest:
        extra["include"] = rest
    return frozenset(include)


def _read_text(fields: Mapping[str, Any], extra: dict[str, Any]) -> tuple[OutputFormat | None, str]:
    text = f.optional(f.mapping, fields, "text") or {}
    extra.update((f"text.{name}", True) for name, value in text.items() if name not in ("format", "verbosity") and value is not None)
    verbosity = f.optional(f.text, text, "verbosity", "text") or ""
    shape = f.optional(f.mapping, text, "format", "text")
    if shape is None:
        return None, verbosity
    kind = f.one_of(shape.get("type"), ("text", "json_object", "json_schema"), "text.format.type")
    if kind == "text":
        return OutputFormat("text"), verbosity
    if kind == "json_object":
        return OutputFormat("json_object"), verbosity
    path = "text.format"
    schema, name = f.needed(f.mapping, shape, "schema", path), f.optional(f.text, shape, "name", path) or ""
    about, strict = f.optional(f.text, shape, "description", path) or "", f.optional(f.flag, shape, "strict", path)
    return OutputFormat("json_schema", schema, name, about, strict), verbosity


def _read_reasoning(fields: Mapping[str, Any], sealed: bool, extra: dict[str, Any]) -> ReasoningWish | None:
    wish = f.optional(f.mapping, fields, "reasoning")
    if wish is None:
        return ReasoningWish(sealed=True) if sealed else None
    known = ("effort", "summary", "generate_summary")
    extra.update((f"reasoning.{name}", True) for name, value in wish.items() if name not in known and value is not None)
    effort = f.optional(f.text, wish, "effort", "reasoning")
    if effort is not None:
        f.one_of(effort, EFFORTS, "reasoning.effort")
    summary = wish.get("summary") if wish.get("summary") is not None else wish.get("generate_summary")  # its name until 2025
    if summary is not None:
        f.one_of(summary, (*_SUMMARIES, "none"), "reasoning.summary")
    found = next((one for one in EFFORTS if one == effort), None)
    return ReasoningWish(effort=found, summary=summary if summary in _SUMMARIES else "", sealed=sealed)


def _read_sampling(fields: Mapping[str, Any], logprobs: bool) -> Sampling:
    """The penalties are not OpenAI's here; they are in the Open Responses specification, and its servers have them (openresponses.org)."""
    top = f.optional(f.integer, fields, "top_logprobs")
    return Sampling(
        temperature=f.optional(f.number, fields, "temperature"),
        top_p=f.optional(f.number, fields, "top_p"),
        presence_penalty=f.optional(f.number, fields, "presence_penalty"),
        frequency_penalty=f.optional(f.number, fields, "frequency_penalty"),
        logprobs=True if logprobs or top else None,
        top_logprobs=top,
    )


def _read_metadata(fields: Mapping[str, Any]) -> dict[str, str]:
    pairs = f.optional(f.mapping, fields, "metadata") or {}
    return {name: f.text(value, f"metadata.{name[: f.SHOWN_MAX_CHARS]}") for name, value in pairs.items()}
