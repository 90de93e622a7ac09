"""The end of an answer that was too long to be held tells its usage, and nothing that a model wrote is taken for it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.usage import Usage
from appliance.dialects.answer_tail import TAIL_MAX_BYTES, answer_of_tail
from appliance.dialects.gemini_usage import read_usage as gemini
from appliance.dialects.openai_usage import read_usage as openai

USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
LURE = json.dumps({"usage": {"input_tokens": 999, "output_tokens": 999}})


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("behind", [{}, {"user": None, "metadata": {"usage": "x"}}, {"text": LURE}])
def test_the_answers_own_usage_is_found(indent, behind):
    output = [{"text": LURE, "result": "A" * 100_000}]
    body = json.dumps({"id": "r", "output": output, "usage": USAGE, "model": "m", **behind}, indent=indent)
    found = answer_of_tail(body[-TAIL_MAX_BYTES:].encode(), b"usage", openai)
    assert found is not None
    assert (found.usage, found.model) == (Usage(3, 4), "m")


def test_geminis_stands_before_its_model():
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 4}
    body = json.dumps({"candidates": ["A" * 100_000], "usageMetadata": usage, "modelVersion": "g"})
    found = answer_of_tail(body.encode(), b"usageMetadata", gemini)
    assert found is not None
    assert (found.usage, found.model) == (Usage(3, 4), "g")


def test_what_a_model_wrote_is_no_usage():
    body = json.dumps({"usage": None, "output": [{"text": LURE}]})
    assert answer_of_tail(body.encode(), b"usage", openai) is None


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise(data):
    answer_of_tail(data + b'"usage"' + data, b"usage", openai)
