"""Every vendor of the list is there, rows are sound, and a new one needs nothing but its row."""

import fnmatch
import re
from urllib.parse import urlsplit

import attrs
import pytest

from appliance.core.glob import compile_globs
from appliance.dialects.language_table import NAMES as LANGUAGES
from appliance.dialects.openai_chat import read_request, rewrite
from appliance.dialects.protocol import FORWARDED, ParsedRequest, Rewrite
from appliance.providers import PROVIDERS, Provider, Rename, auth_headers, bare_model, endpoint, request_rewrite

NAMES = [
    "openai", "anthropic", "gemini", "cohere", "bedrock", "vertex", "openrouter", "featherless", "groq", "mistral", "deepseek", "together",
    "fireworks", "cerebras", "xai", "perplexity", "nvidia", "huggingface", "azure-openai", "vllm", "ollama", "llamacpp", "lmstudio",
    "sglang", "kserve", "custom",
]  # fmt: skip
LOCAL = {"vllm", "ollama", "llamacpp", "lmstudio", "sglang", "kserve", "custom"}


def test_every_vendor_is_there() -> None:
    assert list(PROVIDERS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_sound(name: str) -> None:
    row = PROVIDERS[name]
    assert row.name == name
    openai_like = "openai_chat" in row.dialects
    assert openai_like == (name not in {"anthropic", "gemini", "cohere", "bedrock", "vertex"})
    assert ("chat" in row.paths) == openai_like
    assert set(row.paths) <= {"chat", "text_completion", "embeddings", "rerank_v2"} | FORWARDED
    assert ("rerank" in row.paths) == ("rerank_v2" in row.paths)
    assert set(row.paths) >= FORWARDED or name not in LOCAL, "what stands on one's own machine may have anything"
    assert set(row.dialects) <= set(LANGUAGES)
    assert all(path.startswith("/") for path in row.paths.values())
    assert row.health_path == "" or row.health_path.startswith("/")
    assert re.fullmatch(r"[a-z0-9_.]+", row.gen_ai_name.replace("-", "_"))
    assert row.key_optional == (name in LOCAL)
    if row.base_url:
        url = urlsplit(row.base_url)
        assert not row.base_url.endswith("/")
        assert url.scheme == ("http" if name in LOCAL else "https")
        assert (url.hostname == "127.0.0.1") == (name in LOCAL)
    else:
        assert name in {"azure-openai", "llamacpp", "kserve", "custom"}


def test_a_bare_name_is_claimed_by_one_vendor_at_most() -> None:
    samples = [
        ("gpt-4o-mini", "openai"), ("gpt-5.2", "openai"), ("o3-mini", "openai"), ("chatgpt-4o-latest", "openai"),
        ("ft:gpt-4o:x::y", "openai"), ("text-embedding-3-small", "openai"), ("mistral-large-latest", "mistral"),
        ("codestral-2501", "mistral"), ("open-mixtral-8x7b", "mistral"),
        ("deepseek-chat", "deepseek"), ("grok-4", "xai"), ("sonar-pro", "perplexity"), ("sonar", "perplexity"),
        ("whisper-1", "openai"), ("gpt-image-2", "openai"), ("tts-1-hd", "openai"), ("omni-moderation-latest", "openai"),
        ("whisper-large-v3", None), ("rerank-v3.5", "cohere"), ("rerank-2.5", None), ("mistral-moderation-latest", "mistral"),
        ("gpt-oss-120b", None), ("llama-3.3-70b-versatile", None), ("claude-sonnet-4", "anthropic"), ("qwen3", None),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "bedrock"), ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock"),
        ("amazon.nova-pro-v1:0", "bedrock"), ("us.meta.llama3-3-70b-instruct-v1:0", "bedrock"), ("claude-sonnet-4-5@20250929", "anthropic"),
    ]  # fmt: skip
    for model, owner in samples:
        claiming = [name for name, row in PROVIDERS.items() if compile_globs(row.models)(model)]
        assert claiming == ([owner] if owner else []), model


def test_globs_mean_the_same_to_the_standard_library() -> None:
    for row in PROVIDERS.values():
        for pattern in row.models:
            sample = pattern.replace("*", "x").replace("?", "s")
            assert fnmatch.fnmatchcase(sample, pattern)
            assert compile_globs([pattern])(sample)


def test_a_new_vendor_is_one_row() -> None:
    row = Provider(
        "acme", "https://llm.acme.example/api", auth="api-key", paths={"chat": "/talk", "text_completion": "/c", "embeddings": "/e"},
        strips_suffix=True, stream_usage="refused", drop=("logit_bias",), renames=(Rename("max_tokens", "limit", ("big-*",)),),
    )  # fmt: skip
    body = b'{"model":"acme/big-1:fast","messages":[],"stream":true,"max_tokens":9,"logit_bias":{},"stream_options":{"include_usage":true}}'
    parsed = read_request(body, "chat")
    assert isinstance(parsed, ParsedRequest)
    assert row.gen_ai_name == "acme"
    assert endpoint(row, row.base_url, "chat", parsed.model) == b"/api/talk"
    assert auth_headers(row, "k") == [(b"api-key", b"k")]
    assert bare_model(row, parsed.model) == "big-1"
    wanted = request_rewrite(row, parsed, Rewrite(include_usage=True, max_tokens=5))
    assert rewrite(body, parsed, wanted) == b'{"model":"acme/big-1:fast","messages":[],"stream":true,"limit":5}'


def test_a_row_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        PROVIDERS["openai"].base_url = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        PROVIDERS["x"] = PROVIDERS["openai"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("vendor", "operation", "path"),
    [
        ("openai", "moderations", b"/v1/moderations"), ("openai", "image_edit", b"/v1/images/edits"), ("openai", "rerank", None),
        ("openai", "image_variation", None), ("cohere", "rerank", b"/v1/rerank"), ("cohere", "rerank_v2", b"/v2/rerank"),
        ("groq", "translation", b"/openai/v1/audio/translations"), ("mistral", "moderations", b"/v1/moderations"),
        ("together", "rerank_v2", b"/v1/rerank"), ("fireworks", "rerank", b"/inference/v1/rerank"), ("fireworks", "speech", None),
        ("xai", "image_generation", b"/v1/images/generations"), ("openrouter", "transcription", b"/api/v1/audio/transcriptions"),
        ("vllm", "rerank_v2", b"/v1/rerank"), ("deepseek", "moderations", None), ("anthropic", "speech", None),
    ],
)  # fmt: skip
def test_what_passes_as_it_is_goes_where_the_vendor_has_it(vendor: str, operation: str, path: bytes | None) -> None:
    row = PROVIDERS[vendor]
    if path is None:
        assert operation not in row.paths
    else:
        assert endpoint(row, row.base_url, operation, "m") == path


def test_azures_forms_of_base_url_hold_for_what_passes_as_it_is() -> None:
    row = PROVIDERS["azure-openai"]
    assert "moderations" not in row.paths
    dated = endpoint(row, "https://x.openai.azure.com", "transcription", "whisper", deployments={"whisper": "w1"})
    assert dated == b"/openai/deployments/w1/audio/transcriptions?api-version=2024-10-21"
    assert endpoint(row, "https://x.openai.azure.com/openai/v1", "image_edit", "m") == b"/openai/v1/images/edits"
