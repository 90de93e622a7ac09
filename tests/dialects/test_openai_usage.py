"""Counts are read in every vendor's spelling, and nothing odd in an answer breaks the reading."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.fault import Fault, FaultKind
from appliance.core.usage import Usage
from appliance.dialects.openai_chat import read_answer
from appliance.dialects.openai_usage import PARSE_MAX_BYTES, read_usage, usage_of
from appliance.dialects.protocol import Answer

OPENROUTER = Usage(9, 1, cached_input_tokens=2, cache_write_tokens=5)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}, Usage(5, 2)),
        ({"prompt_tokens": 12, "total_tokens": 12}, Usage(12, 0)),
        ({"total_tokens": 12}, Usage(12, 0)),
        (
            {
                "prompt_tokens": 100, "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 80, "audio_tokens": 3},
                "completion_tokens_details": {"reasoning_tokens": 40, "audio_tokens": 4, "accepted_prediction_tokens": 0},
            },
            Usage(100, 50, cached_input_tokens=80, reasoning_tokens=40, input_audio_tokens=3, output_audio_tokens=4),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": None, "completion_tokens_details": None}, Usage(9, 1)),
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 5}, Usage(9, 1, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 3}, Usage(9, 1, 3)),
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 5}}, OPENROUTER),
        ({"prompt_tokens": 9, "completion_tokens": 1, "cost": 0.00014, "is_byok": False}, Usage(9, 1)),
        ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 4)),
        ({"prompt_tokens": 12.0, "completion_tokens": None}, Usage(12, 0)),
        # xAI: reasoning beside the completion, as the total shows.
        (
            {"prompt_tokens": 12, "completion_tokens": 400, "total_tokens": 702, "completion_tokens_details": {"reasoning_tokens": 290}},
            Usage(12, 690, reasoning_tokens=290),
        ),
        # Perplexity's deep research: reasoning exceeds the completion, so it cannot be part of it.
        (
            {"prompt_tokens": 33, "completion_tokens": 7163, "total_tokens": 7196, "reasoning_tokens": 193936},
            Usage(33, 201099, reasoning_tokens=193936),
        ),
        ({}, None),
        (None, None),
        ([], None),
        ("5", None),
        ({"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}, None),
        ({"prompt_tokens": -5, "completion_tokens": "7", "total_tokens": True}, None),
        ({"prompt_tokens": 10**30, "completion_tokens": 1}, Usage(0, 1)),
    ],
)  # fmt: skip
def test_usage_is_read_in_every_spelling(usage: Any, read: Usage | None) -> None:
    assert read_usage(usage) == read


def test_usage_is_found_where_vendors_put_it() -> None:
    counts = {"prompt_tokens": 1, "completion_tokens": 2}
    assert usage_of({"usage": None, "x_groq": {"id": "r", "usage": counts}}) == Usage(1, 2)
    assert usage_of({"choices": [{"index": 0, "usage": counts}]}) == Usage(1, 2)
    assert usage_of({"x_groq": None, "choices": None}) is None
    assert usage_of({"x_groq": {"usage": None}, "choices": [None]}) is None


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "reasoning_tokens"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3),
            st.dictionaries(st.just("cached_tokens"), st.integers()),
        ),
    )
)
def test_parts_never_exceed_their_totals(usage: dict[str, Any]) -> None:
    read = read_usage(usage)
    if read is not None:
        assert 0 <= read.cached_input_tokens <= read.input_tokens
        assert 0 <= read.cache_write_tokens <= read.input_tokens
        assert 0 <= read.reasoning_tokens <= read.output_tokens


def test_a_whole_answer_is_read() -> None:
    choice = {"finish_reason": "length", "message": {"content": "x"}}
    body = {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    assert read_answer(json.dumps(body).encode()) == Answer(Usage(1, 2), "m", "length")
    assert read_answer(b'{"choices":null,"model":5,"usage":[]}') == Answer(None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"7", b'{"a":', b'"x"', b"\xff"])
def test_what_is_no_json_object_is_a_protocol_fault(body: bytes) -> None:
    fault = read_answer(body)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.PROTOCOL


def _large(**more: Any) -> bytes:
    chance = random.Random(1)
    data = [{"object": "embedding", "index": i, "embedding": [chance.random() for _ in range(1536)]} for i in range(20)]
    return json.dumps({"object": "list", "data": data, "model": "text-embedding-3-small", **more}).encode()


def test_of_a_large_answer_the_end_is_read_without_parsing_it() -> None:
    body = _large(usage={"prompt_tokens": 7, "total_tokens": 7})
    assert len(body) > PARSE_MAX_BYTES
    assert read_answer(body) == Answer(Usage(7, 0), "text-embedding-3-small")
    last = body[-4_000:]
    assert read_answer(last) == Answer(Usage(7, 0), "text-embedding-3-small")


def test_usage_that_a_model_wrote_is_not_taken_for_the_answers_own() -> None:
    nested = {"arguments": {"usage": {"prompt_tokens": 9_999, "completion_tokens": 9_999}}}
    body = _large(choices=[{"finish_reason": "stop", "message": nested}])
    said = read_answer(body)
    assert isinstance(said, Answer)
    assert said.usage is None
    text = json.dumps({"usage": {"prompt_tokens": 9_999}})
    said = read_answer(_large(usage={"prompt_tokens": 3}, note=text))
    assert isinstance(said, Answer)
    assert said.usage == Usage(3, 0)
