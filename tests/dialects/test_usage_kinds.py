"""Kinds of tokens that have a price of their own are read wherever a vendor tells them."""

import pytest

from appliance.core.usage import Usage
from appliance.dialects import anthropic_usage, bedrock_answer, gemini_usage, openai_usage
from appliance.dialects.openai_media import OPENAI_MEDIA

ANTHROPIC = {
    "input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 40, "output_tokens": 7,
    "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 30}, "server_tool_use": {"web_search_requests": 2},
}  # fmt: skip


def test_anthropic_tells_how_long_it_keeps_a_cache_and_how_often_it_searched():
    usage = anthropic_usage.read_usage(ANTHROPIC)
    assert usage == Usage(55, 7, 5, 40, cache_write_1h_tokens=30, web_searches=2)
    assert anthropic_usage.read_usage(anthropic_usage.write_usage(usage)) == usage


def test_a_later_usage_of_the_same_stream_leaves_what_it_does_not_say():
    known: dict[str, object] = {}
    anthropic_usage.merge_usage(known, ANTHROPIC)
    anthropic_usage.merge_usage(known, {"output_tokens": 9})
    assert anthropic_usage.read_usage(known) == Usage(55, 9, 5, 40, cache_write_1h_tokens=30, web_searches=2)


@pytest.mark.parametrize("odd", [None, [], 5, {"ephemeral_1h_input_tokens": -1}, {"ephemeral_1h_input_tokens": "9"}])
def test_an_odd_detail_is_none_and_one_above_its_whole_is_cut(odd: object):
    assert anthropic_usage.read_usage({**ANTHROPIC, "cache_creation": odd}) == Usage(55, 7, 5, 40, web_searches=2)
    more = anthropic_usage.read_usage({**ANTHROPIC, "cache_creation": {"ephemeral_1h_input_tokens": 99}})
    assert more is not None
    assert more.cache_write_1h_tokens == 40


def test_bedrock_tells_how_long_it_keeps_a_cache():
    usage = bedrock_answer.read_usage({
        "inputTokens": 10, "outputTokens": 5, "totalTokens": 65, "cacheWriteInputTokens": 50,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 30}, {"ttl": "5m", "inputTokens": 20}, "odd", {"ttl": "1h"}],
    })  # fmt: skip
    assert usage == Usage(60, 5, 0, 50, cache_write_1h_tokens=30)


def test_gemini_tells_sound_and_images_apart_there_and_back():
    usage = gemini_usage.read_usage({
        "promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120, "cachedContentTokenCount": 30,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 40}, {"modality": "IMAGE", "tokenCount": 25}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 12}, {"modality": "TEXT", "tokenCount": 18}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 15}],
    })  # fmt: skip
    assert usage is not None
    assert usage == Usage(100, 20, 30, 0, 0, 40, 0, cached_audio_tokens=12, input_image_tokens=25, output_image_tokens=15)
    assert gemini_usage.read_usage(gemini_usage.write_usage(usage)) == usage


def test_openai_tells_images_and_cached_sound_apart():
    usage = openai_usage.read_usage({
        "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": 40, "image_tokens": 5, "cached_tokens_details": {"audio_tokens": 9}},
        "completion_tokens_details": {"image_tokens": 15},
    })  # fmt: skip
    assert usage == Usage(100, 20, 30, 0, 0, 40, 0, cached_audio_tokens=9, input_image_tokens=5, output_image_tokens=15)


def test_how_an_answer_was_served_is_read_where_it_has_a_price_of_its_own():
    counted = {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    for said, tier in (("priority", "priority"), ("flex", "flex"), ("default", ""), ("scale", ""), (5, ""), (["priority"], ""), (None, "")):
        usage = openai_usage.usage_of({**counted, "service_tier": said})
        assert usage is not None
        assert usage.tier == tier
    assert openai_usage.usage_of({"service_tier": "priority"}) is None
    fast = anthropic_usage.read_usage({**ANTHROPIC, "speed": "fast"})
    assert fast is not None
    assert fast.tier == "fast"


@pytest.mark.parametrize(("details", "drawn"), [(b"", 50), (b',"output_tokens_details":{"image_tokens":45,"text_tokens":5}', 45)])
def test_what_an_image_model_made_is_an_image_unless_it_says_how_much_of_it_is(details: bytes, drawn: int):
    verbatim = OPENAI_MEDIA.verbatim
    assert verbatim is not None
    said = verbatim.answer(b'{"data":[],"usage":{"input_tokens":9,"output_tokens":50,"total_tokens":59%b}}' % details, "image_generation")
    assert getattr(said, "usage", None) == Usage(9, 50, output_image_tokens=drawn)
