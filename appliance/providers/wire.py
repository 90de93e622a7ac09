"""How a vendor is reached: target, credentials, and what its quirks change in a request. Everything follows from the row."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import attrs

from appliance.core.glob import compile_globs
from appliance.dialects.overrides import overridden
from appliance.dialects.protocol import ParsedRequest, Rewrite
from appliance.providers.row import BodyShape, Provider

if TYPE_CHECKING:
    from appliance.dialects.codec import Target

AZURE_API_VERSION = "2024-10-21"
"""The last dated version that is generally available (learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle)."""

AZURE_STREAM_OPTIONS_SINCE = "2024-09-01"
"""Older api-versions answer 400 to `stream_options` (github.com/Azure/azure-rest-api-specs issues 29157 and 30810)."""

NO_DEPLOYMENTS: Mapping[str, str] = {}


def endpoint(
    provider: Provider, base_url: str, operation: str, model: str, api_version: str = "", deployments: Mapping[str, str] = NO_DEPLOYMENTS,
    language: str = "openai_chat", *, stream: bool = False,
) -> bytes:  # fmt: skip
    """The request target in origin form, base_url's path included.

    Args:
        base_url: the operator's or the row's, a valid URL.
        api_version: Azure's `api-version` query parameter, empty for the default of the form that base_url has.
        deployments: Azure's deployment names by model; a model without one is its own deployment's name.
        language: the wire language it is said in; stream: whether its answer is asked for as a stream.
    """
    prefix = urlsplit(base_url.strip()).path.rstrip("/")
    if language != "openai_chat" and (path := _language_path(provider, language, operation, model, stream)):
        return (prefix + path).encode("ascii")
    path = provider.paths[operation]
    if provider.deployments:
        return _azure_target(prefix, path, deployments.get(model, model), api_version)
    return (prefix + path).encode("ascii")


def _language_path(provider: Provider, language: str, operation: str, model: str, stream: bool) -> str:
    """Empty where the language has no such operation of its own."""
    paths = provider.language_paths
    if operation == "chat":
        path = paths.get(f"{language} stream" if stream else language) or paths[language]
    else:
        path = paths.get(f"{language} {operation}", "")
    return path.replace("{model}", quote(model.removeprefix("models/") if language == "gemini" else model, safe="@"))


def _azure_target(prefix: str, path: str, deployment: str, api_version: str) -> bytes:
    """Azure has three forms of base_url: the resource (deployment in the path, dated version needed), a deployment spelled out, and the
    newer `/openai/v1` (deployment as the body's model, no version needed)."""
    if prefix in ("", "/openai"):
        prefix = f"/openai/deployments/{quote(deployment, safe='')}"
        api_version = api_version or AZURE_API_VERSION
    elif "/deployments/" in prefix:
        api_version = api_version or AZURE_API_VERSION
    query = f"?api-version={quote(api_version, safe='')}" if api_version else ""
    return (prefix + path + query).encode("ascii")


def auth_headers(provider: Provider, api_key: str) -> list[tuple[bytes, bytes]] | str:
    """The credentials as header lines; none without a key. A text says, without repeating it, why the key cannot be sent."""
    if not api_key or provider.auth == "none":
        return []
    if any(letter < " " or letter == "\x7f" for letter in api_key):
        return "holds a line break or another control character: check how it was copied"
    try:
        key = api_key.encode("latin-1")
    except UnicodeEncodeError:
        return "holds a character that a header cannot carry: check how it was copied"
    if key != key.strip(b" \xa0"):
        return "begins or ends with a space: check how it was copied"
    return [(b"authorization", b"Bearer " + key)] if provider.auth == "bearer" else [(provider.auth.encode("ascii"), key)]


def bare_model(provider: Provider, model: str) -> str:
    """The model's name for metrics and prices: `openai/gpt-4o` and `gpt-4o:free` are both `gpt-4o`.

    A colon is cut only where the vendor uses it for ways of serving; in `llama3:8b` (Ollama) it tells another model. Ids of Bedrock and
    Vertex lose what these hosts add to a model's own name (`us.anthropic.claude-haiku-4-5-20251001-v1:0`, `claude-haiku-4-5@20251001`).
    """
    name = model.rstrip("/").rpartition("/")[2]
    if provider.strips_suffix:
        name = name.partition(":")[0]
    for pattern, instead in provider.trims:
        name = re.sub(pattern, instead, name)
    return name or model


def models_language(provider: Provider, model: str) -> str | None:
    """The one language that a model is spoken to in, where a vendor's models differ in that; None where they do not."""
    if not provider.languages:
        return None
    bare = bare_model(provider, model)
    return next((language for glob, language in provider.languages if compile_globs((glob,))(bare)), provider.dialects[0])


def shaped(provider: Provider, language: str, operation: str, body: bytes) -> bytes:
    """A request that was written anew, as this vendor wants it; the same where it wants nothing else."""
    shape = _shape(provider, language, operation)
    return body if shape is None else overridden(body, shape.fields, shape.without, shape.lifted)


def _shape(provider: Provider, language: str, operation: str) -> BodyShape | None:
    return provider.shapes.get(language if operation == "chat" else f"{language} {operation}")


def request_rewrite(
    provider: Provider, parsed: ParsedRequest, wanted: Rewrite, api_version: str = "", deployments: Mapping[str, str] = NO_DEPLOYMENTS,
    language: str = "openai_chat",
) -> Rewrite:  # fmt: skip
    """`wanted`, adjusted to what the vendor accepts; the very same object where nothing needs adjusting.

    Args:
        language: the one that caller and vendor both speak.
        deployments: Azure's, by model: the newer form reads the deployment from the body's model, the dated one ignores it.
    """
    if parsed.operation == "embeddings":
        drop: tuple[str, ...] = ()
        rename: Mapping[str, str] = {}
    else:
        model = wanted.model or parsed.model
        drop = (*provider.drop, "stream_options") if provider.stream_usage == "refused" else provider.drop
        drop = tuple(name for name in drop if name in parsed.fields or "." in name)  # what lies below the top is the language's to find
        rename = _renames(provider, model) if provider.renames and parsed.operation == "chat" else {}
        if wanted.include_usage and (provider.stream_usage != "ask" or _azure_refuses_usage(provider, parsed, api_version)):
            wanted = attrs.evolve(wanted, include_usage=False)
    if deployments and provider.deployments:
        model = wanted.model or parsed.model
        wanted = attrs.evolve(wanted, model=deployments.get(model, model))
    shape = _shape(provider, language, parsed.operation)
    if shape is not None:
        missing = {name: value for name, value in shape.fields.items() if name not in parsed.fields}
        drop, wanted = (*drop, *shape.without), attrs.evolve(wanted, overrides={**missing, **wanted.overrides})
    if drop or any(name in parsed.fields or wanted.max_tokens is not None for name in rename):
        return attrs.evolve(wanted, drop=(*wanted.drop, *drop), rename={**rename, **wanted.rename})
    return wanted


THOUGHTS = ("reasoning_content", "reasoning_details", "extra_content")
"""Members of chat messages that hold thoughts, or what proves them; see quirks."""


def refused_thoughts(provider: Provider, model: str) -> tuple[str, ...]:
    """Those of THOUGHTS that a vendor's model is known to refuse, whoever asks."""
    refused = provider.quirks.drop(bare_model(provider, model))
    return tuple(name for name in THOUGHTS if name in refused)


def translation_target(
    provider: Provider, model: str, deployments: Mapping[str, str] = NO_DEPLOYMENTS, language: str = "openai_chat"
) -> "Target":
    """What a writer of requests must know of this vendor and model beside the conversation.

    Args:
        deployments: as for `request_rewrite`.
        language: the one it is spoken to in, empty for its caller's own. Names of fields and quirks are OpenAI's: others have their own,
            but for names with a dot, which are the language's to understand (`functionCall.id`).
    """
    from appliance.dialects.chat import PRESET_DROP, PRESET_RENAME  # with its whole codec, which verbatim requests do not need
    from appliance.dialects.codec import Target

    quirks, bare = provider.quirks, bare_model(provider, model)
    asked = deployments.get(model, model) if provider.deployments else model
    if language == "openai_responses":
        return Target(asked, drop=quirks.drop(bare), efforts=quirks.words(bare), output_max=quirks.limit(bare))
    if language != "openai_chat":
        return Target(asked, drop=tuple(name for name in provider.drop if "." in name), output_max=quirks.limit(bare))
    drop = (*provider.drop, *quirks.drop(bare))
    if provider.stream_usage == "refused":
        drop = (*drop, "stream_options")
    rename = {**_renames(provider, model), **quirks.rename(bare)}
    if not provider.newest_fields:
        drop, rename = (*PRESET_DROP, *drop), {**PRESET_RENAME, **rename}
    return Target(
        asked, include_usage=provider.stream_usage == "ask", drop=drop, rename=rename, short_ids=provider.short_ids,
        efforts=quirks.words(bare), output_max=quirks.limit(bare),
    )  # fmt: skip


def _azure_refuses_usage(provider: Provider, parsed: ParsedRequest, api_version: str) -> bool:
    """Whether asking Azure for usage would spoil the request: an old api-version, or `data_sources` in it (openai-python issue 2296)."""
    if not provider.deployments:
        return False
    return "data_sources" in parsed.fields or (api_version[:2] == "20" and api_version[:10] < AZURE_STREAM_OPTIONS_SINCE)


def _renames(provider: Provider, model: str) -> Mapping[str, str]:
    bare = bare_model(provider, model)
    return {one.field: one.to for one in provider.renames if one.applies(bare)}
