"""Ids of tool calls are made of any text, the same each time and different for different ones."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.seal import Seal, wrap
from appliance.core.tool_ids import carried_id, made_id, original_id, safe_id, short_id

any_text = st.text(alphabet=st.characters(exclude_categories=()), max_size=80)


@given(any_text, st.integers(0, 9))
def test_any_text_has_an_id_that_every_language_takes(text: str, number: int) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", safe_id(text))
    assert re.fullmatch(r"[A-Za-z0-9]{9}", short_id(text))
    assert re.fullmatch(r"[A-Za-z0-9_-]+", carried_id(text))
    assert made_id(text, number) == made_id(text, number) != made_id(text, number + 1)


@given(st.text(max_size=80))
def test_an_id_that_was_carried_is_itself_again(text: str) -> None:
    assert original_id(carried_id(text)) == text


@pytest.mark.parametrize("given", ["call_1", "toolu_01", "a-b_C"])
def test_an_id_that_every_language_takes_stays(given: str) -> None:
    assert safe_id(given) == carried_id(given) == given


def test_half_a_surrogate_pair_breaks_nothing() -> None:
    assert safe_id("\ud83d") != safe_id("\ud83e")
    assert wrap(Seal("gemini", "\ud83d"), "openai").startswith("gw1.gemini.")
