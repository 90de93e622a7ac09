"""Loading: strict types, all problems at once, fragments, provenance."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.config.loader import Loaded, Problems, load, load_text, locate

PROVIDERS = {"openai": "https://api.openai.com/v1", "azure-openai": "", "custom": ""}
ENV = {"OPENAI_API_KEY": "sk-canary-of-the-environment"}


def problems(text: str, *, env: Mapping[str, str] = ENV, folder: str | Path = ".") -> dict[str, str]:
    """Path → everything said about it."""
    found = load_text(text, env=env, providers=PROVIDERS, folder=folder)
    if isinstance(found, Loaded):
        return {}
    return {each.path: f"{each.message}; {each.expected}; {each.hint}" for each in found}


def loaded(text: str, *, env: Mapping[str, str] = ENV, folder: str | Path = ".") -> Loaded:
    found = load_text(text, env=env, providers=PROVIDERS, folder=folder)
    assert isinstance(found, Loaded), found
    return found


def test_an_empty_file_is_the_defaults() -> None:
    config = loaded("").config
    assert config.server.listen[0].address == "127.0.0.1:8080"
    assert config.server.limits.body_max_bytes == 32 * 1024 * 1024
    assert config.backends == {}


def test_five_different_mistakes_are_all_named() -> None:
    told = problems("""
        [server]
        drain = 30                            # 1 unknown key
        auth = "kyes"                         # 2 no such choice
        [backends.openai]
        provider = "openai"
        api_key = { env = "OPENAI_KEY" }      # 3 not set
        max_concurrency = "100"               # 4 wrong type
        [[routes]]
        name = "chat"
        targets = [{ backend = "opneai" }]    # 5 no such backend
    """)
    assert set(told) == {"server.drain", "server.auth", "backends.openai.api_key", "backends.openai.max_concurrency", "routes[0].targets[0].backend"}
    assert 'did you mean "drain_s"?' in told["server.drain"]
    assert 'did you mean "keys"?' in told["server.auth"]
    assert '"OPENAI_KEY" is not set' in told["backends.openai.api_key"]
    assert "an integer between 1 and 1000000" in told["backends.openai.max_concurrency"]
    assert 'did you mean "openai"?' in told["routes[0].targets[0].backend"]
