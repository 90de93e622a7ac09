"""What a caller asks of a model, in no vendor's words: the conversation so far, the tools, and how to answer.

None means "not said" everywhere: the provider's own default holds, and nothing is written for it.
"""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from appliance.core.message import Message

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@attrs.frozen
class Tool:
    """Something the model may ask for.

    Attributes:
        parameters: JSON schema of a function's arguments; None for none given.
        strict: the arguments must fit the schema exactly (constrained decoding).
        custom: free-text input; grammar: what that must match (Responses: {"type": "grammar", "syntax": ..., "definition": ...}).
        server: a tool that the provider runs itself; `raw` is its definition in the language `family`. Its name is its type. Of another
            tool `raw` is what else the caller says of it, which only `family` knows.
        namespace: group it belongs to (Responses namespaces); namespace_description: what the model is told of the group.
        cache: as in message.Text.
    """

    name: str
    description: str = attrs.field(default="", repr=False)
    parameters: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    strict: bool | None = None
    custom: bool = False
    grammar: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    namespace: str = ""
    server: bool = False
    family: str = ""
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    cache: str = ""
    namespace_description: str = attrs.field(default="", repr=False)


@attrs.frozen
class ToolChoice:
    """mode: `named` with `name`. allowed: only these, none for all (OpenAI allowed_tools, Gemini allowedFunctionNames)."""

    mode: Literal["auto", "none", "required", "named"]
    name: str = ""
    allowed: tuple[str, ...] = ()


@attrs.frozen
class OutputFormat:
    """kind: free text, any JSON object, or JSON that fits `schema`."""

    kind: Literal["text", "json_object", "json_schema"]
    schema: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    name: str = ""
    description: str = ""
    strict: bool | None = None


@attrs.frozen
class ReasoningWish:
    """How much to think, and what to show of it.

    Attributes:
        enabled: said outright (Anthropic `thinking`); None leaves it to the other fields.
        effort: in words; budget_tokens: in tokens (-1: as the model likes, Gemini). A language that has only one of them gets it worked out
            from the other (core.effort).
        summary: "auto", "concise", "detailed" (Responses); shown: thoughts shall be in the answer (Gemini includeThoughts).
        sealed: encrypted reasoning shall be in the answer (Responses include).
    """

    enabled: bool | None = None
    effort: Effort | None = None
    budget_tokens: int | None = None
    summary: str = ""
    shown: bool | None = None
    sealed: bool = False


@attrs.frozen
class Sampling:
    """How to draw tokens. stop: texts that end the answer."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    candidates: int | None = None


@attrs.frozen
class Conversation:
    """One request.

    Attributes:
        model: as asked for; the writer is told the one to ask the backend for.
        messages: in order; system and developer messages stand where the caller put them.
        max_tokens: bound on the answer, reasoning included.
        parallel_tools: whether several calls at once are welcome.
        single_call: the caller reads one call at most, in the place that OpenAI had for it before there were tools (`function_call`).
        user: the caller's own name for its user. metadata: string pairs.
        cache_key: OpenAI prompt_cache_key. verbosity: OpenAI text.verbosity. service_tier, store, previous: as OpenAI names them.
        stored: the member of `extra` that names a part of the conversation which only a provider of the language `family` keeps (Gemini's
            cachedContent): no other can be asked without it.
        extra: top-level fields that this reader does not know, in its language `family`: a writer of the same family may say them, others
            report them as dropped.
    """

    model: str
    messages: tuple[Message, ...] = attrs.field(repr=False)
    stream: bool = False
    wants_usage: bool = True
    max_tokens: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    single_call: bool = False
    output: OutputFormat | None = None
    reasoning: ReasoningWish | None = None
    sampling: Sampling = Sampling()
    modalities: tuple[str, ...] = ()
    user: str = ""
    metadata: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    cache_key: str = ""
    verbosity: str = ""
    service_tier: str = ""
    store: bool | None = None
    previous: str = ""
    family: str = ""
    stored: str = ""
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
