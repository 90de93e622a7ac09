"""What a vendor is, as one frozen row. A row is pure data: adding a vendor never touches code."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

import attrs

from appliance.core.glob import compile_globs
from appliance.providers.quirks import NO_QUIRKS, Quirks

Auth = Literal["bearer", "api-key", "x-api-key", "x-goog-api-key", "none"]
"""How a key travels: `Authorization: Bearer`, a header of the vendor's own (Azure, Anthropic, Google), or not at all."""

Cloud = Literal["", "aws", "google"]
"""Whose account proves a request that has no key: Amazon's by a signature, Google Cloud's by a token that is fetched."""

StreamUsage = Literal["ask", "given", "refused"]
"""Usage in streams: comes when `stream_options.include_usage` asks for it; comes unasked; or the option itself is an error."""

OPENAI_PATHS: Mapping[str, str] = MappingProxyType(
    {"chat": "/chat/completions", "text_completion": "/completions", "embeddings": "/embeddings"}
)

_FORWARDED_PATHS = {
    "rerank": "/rerank", "rerank_v2": "/rerank", "moderations": "/moderations", "image_generation": "/images/generations",
    "image_edit": "/images/edits", "image_variation": "/images/variations", "speech": "/audio/speech",
    "transcription": "/audio/transcriptions", "translation": "/audio/translations",
}
"""What passes as it is. `rerank_v2` is where rankings in Cohere's form go; most servers have one place for both."""

EVERY_PATH: Mapping[str, str] = MappingProxyType({**OPENAI_PATHS, **_FORWARDED_PATHS})
"""Of servers on one's own machines: what they have depends on the model, and they say so themselves."""


def openai_paths(*lacking: str, has: tuple[str, ...] = ()) -> Mapping[str, str]:
    """Of a vendor that lacks some of them: legacy completions then become chats, others are refused. has: what passes as it is there."""
    more = (*has, "rerank_v2") if "rerank" in has else has
    paths = {name: path for name, path in OPENAI_PATHS.items() if name not in lacking}
    return MappingProxyType({**paths, **{name: _FORWARDED_PATHS[name] for name in more}})


LANGUAGE_PATHS: Mapping[str, str] = MappingProxyType({
    "openai_responses": "/responses", "anthropic_messages": "/v1/messages", "gemini": "/v1beta/models/{model}:generateContent",
    "gemini stream": "/v1beta/models/{model}:streamGenerateContent?alt=sse", "bedrock": "/model/{model}/converse",
    "bedrock stream": "/model/{model}/converse-stream", "cohere": "/v2/chat",
    "openai_responses count_tokens": "/responses/input_tokens", "anthropic_messages count_tokens": "/v1/messages/count_tokens",
    "gemini count_tokens": "/v1beta/models/{model}:countTokens", "bedrock count_tokens": "/model/{model}/count-tokens",
    "gemini embeddings": "/v1beta/models/{model}:batchEmbedContents", "gemini embed_content": "/v1beta/models/{model}:embedContent",
    "cohere embeddings": "/v2/embed",
})  # fmt: skip
"""Where a chat goes by the language it is said in, for all but OpenAI's own (`paths`); " stream" where a streamed one goes elsewhere, and
other operations by their names.
Relative to what the vendor's own SDK calls base_url: OpenAI's ends in /v1, the others' do not.
"""


@attrs.frozen
class Rename:
    """A request field that the vendor knows by another name.

    Attributes:
        models: globs over the bare model; only their requests are changed.
        applies: whether a bare model is one of them.
    """

    field: str
    to: str
    models: tuple[str, ...] = ("*",)
    applies: Callable[[str], bool] = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(lambda self: compile_globs(self.models), takes_self=True)
    )


@attrs.frozen
class BodyShape:
    """What a vendor wants of a request's body beside what its language says.

    Attributes:
        lifted: a member whose own members stand at the top in its place. Only of what is written anew.
        fields: set at the top where the caller has not set them; without: left out there.
    """

    fields: Mapping[str, object] = MappingProxyType({})
    without: tuple[str, ...] = ()
    lifted: str = ""


@attrs.frozen
class Provider:
    """One vendor, or one kind of server.

    Attributes:
        base_url: as the vendor's own SDK calls it; empty where the operator has to give one. {region} and {location} are the account's.
        dialects: wire languages it speaks, the preferred one first.
        paths: by operation, relative to base_url.
        language_paths: where a request goes that is said in another language than OpenAI's; see LANGUAGE_PATHS.
        cloud: whose account a request without a key is proven by.
        languages: globs over the bare model and the language that only those models speak; all others speak the first of `dialects`.
        shapes: by language (and operation, as in LANGUAGE_PATHS), how bodies differ.
        trims: regular expressions for what a bare name has and the model's own does not, and what stands in its place.
        health_path: a free GET relative to base_url (the model list), empty for a bare connect.
        models: globs over the bare names that only this vendor serves under them. Hosts of open models claim none.
        gen_ai_name: `gen_ai.provider.name` of the OpenTelemetry registry where it has one, else our name of the vendor.
        counts: has the call of its language that counts tokens; nobody else is asked for a count.
        headers: lines that every request carries unless the caller's own say the same name (anthropic-version).
        key_optional: works without a key, as servers on one's own machine do.
        strips_suffix: what follows a colon in a model's name is a way of serving it, not another model.
        short_ids: tool-call ids must be nine letters and digits.
        newest_fields: knows the fields of chat completions that are OpenAI's own and that few others have taken over.
        deployments: models are reached by deployment names of the operator's own (Azure).
        stream_usage, drop, renames: where the vendor departs from OpenAI's own API. `drop` and `renames` concern chat and completions.
        price_source: the name that the price table has for who sends the bill; empty where nobody does, or the table does not know them.
        quirks: what else it refuses, of concern only to requests that are written anew for it.
    """

    name: str
    base_url: str = ""
    dialects: tuple[str, ...] = ("openai_chat",)
    auth: Auth = "bearer"
    paths: Mapping[str, str] = OPENAI_PATHS
    health_path: str = "/models"
    models: tuple[str, ...] = ()
    gen_ai_name: str = attrs.field(default=attrs.Factory(lambda self: self.name, takes_self=True))
    headers: tuple[tuple[bytes, bytes], ...] = ()
    counts: bool = False
    key_optional: bool = False
    strips_suffix: bool = False
    deployments: bool = False
    language_paths: Mapping[str, str] = LANGUAGE_PATHS
    cloud: Cloud = ""
    languages: tuple[tuple[str, str], ...] = ()
    shapes: Mapping[str, BodyShape] = MappingProxyType({})
    trims: tuple[tuple[str, str], ...] = ()
    short_ids: bool = False
    newest_fields: bool = False
    stream_usage: StreamUsage = "ask"
    drop: tuple[str, ...] = ()
    renames: tuple[Rename, ...] = ()
    price_source: str = ""
    quirks: Quirks = NO_QUIRKS
