"""What a route's cache turns away at first sight, held against the whole question whether a request is repeatable."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dialects.repeatable import repeatable
from appliance.gateway.cache_plan import CachePlan

LANGUAGES = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")
OPERATIONS = ("chat", "text_completion", "embeddings", "count_tokens", "rerank", "moderations", "speech", "transcription")
ODD = st.sampled_from([0, 0.0, -0.0, 0.7, 1, 5, None, True, False, "0", [], {}, {"temperature": 0}])
SETTINGS = st.dictionaries(st.sampled_from(["temperature", "seed"]), ODD)
FIELDS = st.dictionaries(
    st.sampled_from(["temperature", "seed", "store", "tools", "generationConfig", "generation_config"]), ODD | SETTINGS
)


def call_of(language: str, operation: str, fields: dict[str, Any]) -> Any:
    return SimpleNamespace(language=SimpleNamespace(name=language), parsed=SimpleNamespace(operation=operation, fields=fields))


@given(
    language=st.sampled_from(LANGUAGES), operation=st.sampled_from(OPERATIONS), fields=FIELDS, always=st.booleans(), chancy=st.booleans()
)  # fmt: skip
def test_nothing_repeatable_is_turned_away(language: str, operation: str, fields: dict[str, Any], always: bool, chancy: bool) -> None:
    if repeatable(language, operation, fields, always=always, chancy=chancy):
        assert CachePlan(60.0, always, chancy, b"").may_serve(call_of(language, operation, fields))


@pytest.mark.parametrize("fields", [{}, {"temperature": 0.7}, {"temperature": 1, "seed": None}, {"temperature": False}])
def test_what_has_chance_in_it_is_turned_away_unless_everything_is_kept(fields: dict[str, Any]) -> None:
    call = call_of("openai_chat", "chat", fields)
    assert not CachePlan(60.0, False, False, b"").may_serve(call)
    assert CachePlan(60.0, True, False, b"").may_serve(call)
