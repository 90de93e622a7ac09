"""Targets, credentials and quirks follow from the row alone."""

import pytest

from appliance.dialects.openai_chat import read_request, rewrite
from appliance.dialects.protocol import ParsedRequest, Rewrite
from appliance.providers import PROVIDERS, auth_headers, bare_model, endpoint, request_rewrite, translation_target


def _parsed(body: bytes, operation: str = "chat") -> ParsedRequest:
    parsed = read_request(body, operation)
    assert isinstance(parsed, ParsedRequest), parsed
    return parsed


@pytest.mark.parametrize(
    ("name", "base_url", "operation", "target"),
    [
        ("openai", "", "chat", b"/v1/chat/completions"),
        ("openai", "", "text_completion", b"/v1/completions"),
        ("openai", "", "embeddings", b"/v1/embeddings"),
        ("openai", "https://proxy.example/v1/", "chat", b"/v1/chat/completions"),
        ("openrouter", "", "chat", b"/api/v1/chat/completions"),
        ("groq", "", "chat", b"/openai/v1/chat/completions"),
        ("fireworks", "", "chat", b"/inference/v1/chat/completions"),
        ("deepseek", "", "chat", b"/chat/completions"),
        ("perplexity", "", "chat", b"/chat/completions"),
        ("kserve", "http://llm.models.svc/openai/v1", "chat", b"/openai/v1/chat/completions"),
        ("vllm", "http+unix://%2Frun%2Fvllm.sock/v1", "chat", b"/v1/chat/completions"),
        ("custom", "http://10.0.0.7:9000", "embeddings", b"/embeddings"),
    ],
)
def test_a_target_is_the_base_urls_path_and_the_operations(name: str, base_url: str, operation: str, target: bytes) -> None:
    row = PROVIDERS[name]
    assert endpoint(row, base_url or row.base_url, operation, "m") == target


@pytest.mark.parametrize(
    ("base_url", "api_version", "target"),
    [
        ("https://r.openai.azure.com", "", b"/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"),
        ("https://r.openai.azure.com/", "2024-06-01", b"/openai/deployments/my%20gpt/chat/completions?api-version=2024-06-01"),
        ("https://r.openai.azure.com/openai", "2024-06-01", b"/openai/deployments/my%20gpt/chat/completions?api-version=2024-06-01"),
        ("https://r.openai.azure.com/openai/v1/", "", b"/openai/v1/chat/completions"),
        ("https://r.openai.azure.com/openai/v1", "preview", b"/openai/v1/chat/completions?api-version=preview"),
        ("https://r.openai.azure.com/openai/deployments/d1", "", b"/openai/deployments/d1/chat/completions?api-version=2024-10-21"),
        ("https://r.services.ai.azure.com/models", "2024-05-01-preview", b"/models/chat/completions?api-version=2024-05-01-preview"),
    ],
)
def test_azure_is_reached_in_each_of_its_forms(base_url: str, api_version: str, target: bytes) -> None:
    assert endpoint(PROVIDERS["azure-openai"], base_url, "chat", "gpt-4o", api_version, {"gpt-4o": "my gpt"}) == target


def test_a_request_written_anew_names_azures_deployment() -> None:
    names = {"gpt-4o": "my gpt"}
    assert translation_target(PROVIDERS["azure-openai"], "gpt-4o", names).model == "my gpt"
    assert translation_target(PROVIDERS["azure-openai"], "gpt-5", names).model == "gpt-5"
    assert translation_target(PROVIDERS["openai"], "gpt-4o", names).model == "gpt-4o"


def test_an_azure_model_without_a_deployment_is_its_own_and_cannot_leave_its_path_segment() -> None:
    azure = PROVIDERS["azure-openai"]
    assert b"/deployments/gpt-4o/" in endpoint(azure, "https://r.openai.azure.com", "chat", "gpt-4o")
    target = endpoint(azure, "https://r.openai.azure.com", "chat", "../../x?api-key=1 HTTP/1.1\r\nX: y\u00e9")
    assert target.count(b"?") == 1
    assert b" " not in target
    assert b"\r" not in target
    assert b"/../" not in target


def test_the_newer_azure_form_gets_the_deployment_as_its_model() -> None:
    azure = PROVIDERS["azure-openai"]
    body = b'{"model":"gpt-4o","messages":[]}'
    wanted = request_rewrite(azure, _parsed(body), Rewrite(), "", {"gpt-4o": "prod-4o"})
    assert rewrite(body, _parsed(body), wanted) == b'{"model":"prod-4o","messages":[]}'


def test_keys_travel_as_the_vendor_expects() -> None:
    assert auth_headers(PROVIDERS["openai"], "sk-1") == [(b"authorization", b"Bearer sk-1")]
    assert auth_headers(PROVIDERS["azure-openai"], "k") == [(b"api-key", b"k")]
    assert auth_headers(PROVIDERS["anthropic"], "k") == [(b"x-api-key", b"k")]
    assert auth_headers(PROVIDERS["ollama"], "") == []
    assert auth_headers(PROVIDERS["vllm"], "token") == [(b"authorization", b"Bearer token")]


@pytest.mark.parametrize("key", ["sk\nb", "sk\r\nx-evil: 1", "sk-1\0", "sk-1\x7f", "ключ", "sk-1\n", " sk-1", "sk-1 ", "sk-1\u2028"])
def test_a_key_that_a_header_cannot_carry_is_refused_without_being_repeated(key: str) -> None:
    problem = auth_headers(PROVIDERS["openai"], key)
    assert isinstance(problem, str)
    assert key.strip() not in problem


@pytest.mark.parametrize(
    ("name", "model", "bare"),
    [
        ("openai", "gpt-4o", "gpt-4o"),
        ("openrouter", "openai/gpt-4o", "gpt-4o"),
        ("openrouter", "deepseek/deepseek-r1:free", "deepseek-r1"),
        ("openrouter", "anthropic/claude-sonnet-4.5:beta", "claude-sonnet-4.5"),
        ("huggingface", "meta-llama/Llama-3.3-70B-Instruct:cerebras", "Llama-3.3-70B-Instruct"),
        ("fireworks", "accounts/fireworks/models/kimi-k2", "kimi-k2"),
        ("nvidia", "nvidia/llama-3.1-nemotron-70b-instruct", "llama-3.1-nemotron-70b-instruct"),
        ("ollama", "llama3:8b", "llama3:8b"),
        ("openai", "ft:gpt-4o:acme::abc", "ft:gpt-4o:acme::abc"),
        ("vllm", "/models/qwen3/", "qwen3"),
        ("custom", "/", "/"),
        ("openrouter", ":free", ":free"),
    ],
)
def test_metrics_see_the_bare_model(name: str, model: str, bare: str) -> None:
    assert bare_model(PROVIDERS[name], model) == bare


PLAIN = b'{"model":"some-model","messages":[],"stream":true,"max_tokens":5}'


@pytest.mark.parametrize("name", [name for name in PROVIDERS if name not in ("mistral", "groq", "perplexity", "vertex")])
def test_without_a_quirk_the_wish_stays_the_same_object(name: str) -> None:
    wanted = Rewrite(include_usage=True)
    assert request_rewrite(PROVIDERS[name], _parsed(PLAIN), wanted) is wanted


def test_mistral_is_never_asked_for_what_it_refuses() -> None:
    mistral = PROVIDERS["mistral"]
    wanted = request_rewrite(mistral, _parsed(PLAIN), Rewrite(include_usage=True))
    assert rewrite(PLAIN, _parsed(PLAIN), wanted) is PLAIN
    body = b'{"model":"mistral-small","messages":[],"stream":true,"max_completion_tokens":5,"stream_options":{"include_usage":true}}'
    wanted = request_rewrite(mistral, _parsed(body), Rewrite())
    assert rewrite(body, _parsed(body), wanted) == b'{"model":"mistral-small","messages":[],"stream":true,"max_tokens":5}'


@pytest.mark.parametrize("name", ["groq", "perplexity"])
def test_usage_that_comes_unasked_is_not_asked_for(name: str) -> None:
    wanted = request_rewrite(PROVIDERS[name], _parsed(PLAIN), Rewrite(include_usage=True))
    assert rewrite(PLAIN, _parsed(PLAIN), wanted) is PLAIN
    asked = b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}'
    assert rewrite(asked, _parsed(asked), request_rewrite(PROVIDERS[name], _parsed(asked), Rewrite())) is asked


@pytest.mark.parametrize(("model", "renamed"), [("o3-mini", True), ("gpt-5-nano", True), ("gpt-4o", False), ("gpt-4.1", False)])
@pytest.mark.parametrize("name", ["openai", "azure-openai"])
def test_the_token_limit_is_renamed_only_where_the_vendor_refuses_it(name: str, model: str, renamed: bool) -> None:
    body = b'{"model":"%b","messages":[],"max_tokens":5}' % model.encode()
    out = rewrite(body, _parsed(body), request_rewrite(PROVIDERS[name], _parsed(body), Rewrite()))
    assert out == (body.replace(b"max_tokens", b"max_completion_tokens") if renamed else body)
    alias = b'{"model":"mine","messages":[],"max_tokens":5}'
    out = rewrite(alias, _parsed(alias), request_rewrite(PROVIDERS[name], _parsed(alias), Rewrite(model=model)))
    assert (b"max_completion_tokens" in out) == renamed
    bare = b'{"model":"%b","messages":[]}' % model.encode()
    capped = rewrite(bare, _parsed(bare), request_rewrite(PROVIDERS[name], _parsed(bare), Rewrite(max_tokens=3)))
    assert (b'"max_completion_tokens":3' in capped) == renamed


def test_completions_keep_their_own_name_for_the_limit() -> None:
    body = b'{"model":"o3-mini","prompt":"x","max_tokens":5}'
    parsed = _parsed(body, "text_completion")
    assert rewrite(body, parsed, request_rewrite(PROVIDERS["openai"], parsed, Rewrite())) is body


def test_an_old_azure_api_version_is_not_asked_for_usage() -> None:
    azure = PROVIDERS["azure-openai"]
    body = b'{"model":"gpt-4o","messages":[],"stream":true}'
    for version, asked in [("2024-06-01", False), ("2024-10-21", True), ("2025-01-01-preview", True), ("", True), ("preview", True)]:
        out = rewrite(body, _parsed(body), request_rewrite(azure, _parsed(body), Rewrite(include_usage=True), version))
        assert (b"include_usage" in out) == asked, version
    searching = b'{"model":"gpt-4o","messages":[],"stream":true,"data_sources":[]}'
    assert rewrite(searching, _parsed(searching), request_rewrite(azure, _parsed(searching), Rewrite(include_usage=True))) is searching
    own = b'{"model":"gpt-4o","messages":[],"stream":true,"stream_options":{"include_usage":true}}'
    assert rewrite(own, _parsed(own), request_rewrite(azure, _parsed(own), Rewrite(), "2024-06-01")) is own  # the caller's own affair


def test_embeddings_are_left_alone() -> None:
    body = b'{"model":"mistral-embed","input":"x","stream_options":{}}'
    wanted = Rewrite()
    assert request_rewrite(PROVIDERS["mistral"], _parsed(body, "embeddings"), wanted) is wanted


def test_quirks_of_chat_completions_are_none_of_another_languages() -> None:
    """`metadata` and `store` mean something else where Anthropic, Gemini or a Responses server are spoken to."""
    for name in ("anthropic", "gemini", "custom", "xai"):
        provider = PROVIDERS[name]
        for language in ("anthropic_messages", "gemini", "bedrock", "cohere", "openai_responses"):
            target = translation_target(provider, "m", language=language)
            assert not {"metadata", "store", "service_tier", "prompt_cache_key"} & set(target.drop)
            assert target.rename == {}
    assert "temperature" in translation_target(PROVIDERS["openai"], "gpt-5", language="openai_responses").drop
