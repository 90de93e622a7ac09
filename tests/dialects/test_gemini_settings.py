"""What an operator changes in a Gemini caller's own request: the bound on the answer, and fields beside what the caller set."""

import json
from typing import Any

import pytest

from appliance.dialects.language_table import gemini_call
from appliance.dialects.overrides import overridden
from appliance.dialects.protocol import ParsedRequest, Rewrite

CONTENTS = {"contents": [{"parts": [{"text": "a"}]}]}


def _rewritten(fields: dict[str, Any], wanted: Rewrite) -> dict[str, Any]:
    found = gemini_call("/v1beta/models/gemini-x:generateContent", "")
    assert found is not None
    verbatim = found[1].verbatim
    assert verbatim is not None
    body = json.dumps(fields).encode()
    parsed = verbatim.read(body, found[0])
    assert isinstance(parsed, ParsedRequest)
    told: dict[str, Any] = json.loads(verbatim.rewrite(body, parsed, wanted))
    return told


@pytest.mark.parametrize(
    ("config", "becomes"),
    [
        ({"maxOutputTokens": 500, "seed": 1}, {"maxOutputTokens": 20, "seed": 1}),
        ({"maxOutputTokens": 7}, {"maxOutputTokens": 7}),
        ({"max_output_tokens": 500}, {"max_output_tokens": 20}),
        ({"maxOutputTokens": 5, "max_output_tokens": 500}, {"maxOutputTokens": 5, "max_output_tokens": 20}),
        ({"maxOutputTokens": "500"}, {"maxOutputTokens": 20}),
        ({"maxOutputTokens": None}, {"maxOutputTokens": 20}),
        ({"seed": 1}, {"seed": 1, "maxOutputTokens": 20}),
    ],
)
@pytest.mark.parametrize("name", ["generationConfig", "generation_config"])
def test_a_cap_bounds_what_the_caller_asks_of_gemini_itself(name: str, config: dict[str, Any], becomes: dict[str, Any]) -> None:
    assert _rewritten({**CONTENTS, name: config}, Rewrite(max_tokens=20)) == {**CONTENTS, name: becomes}


def test_a_cap_bounds_a_request_that_sets_nothing() -> None:
    assert _rewritten(CONTENTS, Rewrite(max_tokens=20)) == {**CONTENTS, "generationConfig": {"maxOutputTokens": 20}}


def test_both_spellings_at_once_do_not_get_around_the_cap() -> None:
    both = {**CONTENTS, "generationConfig": {"maxOutputTokens": 9}, "generation_config": {"maxOutputTokens": 900}}
    assert _rewritten(both, Rewrite(max_tokens=20)) == {**both, "generation_config": {"maxOutputTokens": 20}}


def test_an_operators_setting_leaves_the_callers_others() -> None:
    fields = {**CONTENTS, "generation_config": {"stopSequences": ["x"], "temperature": 1}}
    wanted = Rewrite(overrides={"generationConfig": {"temperature": 0}, "labels": {"a": "b"}}, max_tokens=20)
    config = {"stopSequences": ["x"], "temperature": 0, "maxOutputTokens": 20}
    assert _rewritten(fields, wanted) == {**CONTENTS, "generation_config": config, "labels": {"a": "b"}}


def test_an_operators_own_bound_goes_before_the_cap() -> None:
    wanted = Rewrite(overrides={"generationConfig": {"maxOutputTokens": 90}}, max_tokens=20)
    assert _rewritten(CONTENTS, wanted) == {**CONTENTS, "generationConfig": {"maxOutputTokens": 90}}


def test_a_request_written_anew_keeps_the_settings_that_the_operator_does_not_name() -> None:
    body = b'{"inferenceConfig":{"maxTokens":20,"temperature":1},"thinking":{"type":"enabled","budget_tokens":9}}'
    fields = {"inferenceConfig": {"temperature": 0}, "thinking": {"type": "disabled"}}
    told = {"inferenceConfig": {"maxTokens": 20, "temperature": 0}, "thinking": {"type": "disabled"}}
    assert json.loads(overridden(body, fields)) == told
