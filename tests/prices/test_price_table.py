"""The table that comes with the program, and the package it is made from, which must agree to the nano-dollar."""

import importlib.util
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from appliance.core.price import cost_nusd, estimate_nusd
from appliance.core.usage import Usage
from appliance.prices.listed import read_listed
from appliance.prices.table import PriceTable, header
from appliance.providers import PROVIDERS

ROOT = Path(__file__).resolve().parents[2]
TABLE = PriceTable()
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)

MODELS = [
    ("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("openai", "gpt-4.1"), ("openai", "gpt-4.1-nano-2025-04-14"), ("openai", "o3"),
    ("openai", "o4-mini"), ("openai", "gpt-5"), ("openai", "gpt-5-mini"), ("openai", "gpt-3.5-turbo"), ("openai", "gpt-4o-20240806"),
    ("openai", "text-embedding-3-small"), ("anthropic", "claude-3-5-haiku-20241022"), ("anthropic", "claude-sonnet-4-20250514"),
    ("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-opus-4-1"), ("anthropic", "claude-haiku-4-5-20251001"),
    ("google", "gemini-2.5-pro"), ("google", "gemini-2.5-flash"), ("google", "gemini-2.0-flash"), ("google", "claude-sonnet-4-5"),
    ("aws", "us.anthropic.claude-haiku-4-5-20251001-v1:0"), ("aws", "amazon.nova-pro-v1:0"), ("azure", "gpt-4o"),
    ("groq", "llama-3.3-70b-versatile"), ("mistral", "mistral-large-latest"), ("mistral", "codestral-latest"),
    ("deepseek", "deepseek-chat"), ("deepseek", "deepseek-reasoner"), ("x-ai", "grok-4"), ("cohere", "command-a-03-2025"),
    ("perplexity", "sonar-pro"), ("perplexity", "sonar-deep-research"), ("openrouter", "openai/gpt-4o"),
    ("openrouter", "anthropic/claude-sonnet-4.5"), ("cerebras", "llama3.1-8b"), ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
]  # fmt: skip
"""Of every vendor that the table has, those that people use."""

USAGES = [
    Usage(1_000, 500), Usage(1, 1), Usage(123_457, 7_919, cached_input_tokens=100_003), Usage(199_999, 10), Usage(200_000, 10),
    Usage(200_001, 10), Usage(1_000_001, 65_537, cached_input_tokens=272_001, reasoning_tokens=60_000), Usage(5_003, 0),
    Usage(10_007, 1_009, cached_input_tokens=5_003, cache_write_tokens=3_001, reasoning_tokens=499),
    Usage(10_007, 1_009, cache_write_tokens=3_001, cache_write_1h_tokens=1_009, web_searches=3),
    Usage(300_007, 1_009, cached_input_tokens=90_001, cache_write_tokens=80_001, cache_write_1h_tokens=70_001),
]  # fmt: skip


def oracle(vendor: str, model: str, usage: Usage, now: datetime = NOW, **context: str) -> Decimal:
    """USD, as genai-prices has it."""
    prices = pytest.importorskip("genai_prices", reason="genai-prices is not installed")
    given = prices.Usage(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cache_read_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens, cache_write_1h_tokens=usage.cache_write_1h_tokens,
        input_audio_tokens=usage.input_audio_tokens, output_audio_tokens=usage.output_audio_tokens,
        cache_audio_read_tokens=usage.cached_audio_tokens, output_reasoning_tokens=usage.reasoning_tokens,
        input_image_tokens=usage.input_image_tokens, output_image_tokens=usage.output_image_tokens,
        cache_image_read_tokens=0, web_searches=usage.web_searches,
    )  # fmt: skip
    return prices.calc_price(given, model, provider_id=vendor, genai_request_timestamp=now, price_context=context or None).total_price


def ours(vendor: str, model: str, usage: Usage, now: datetime = NOW) -> int:
    listed = TABLE.find(vendor, model)
    assert listed is not None, (vendor, model)
    price = listed.price(now.timestamp(), usage.tier)
    assert price is not None, (vendor, model)
    return cost_nusd(price, usage)


def nano(usd: Decimal) -> int:
    return int((usd * 10**9).quantize(Decimal(1), rounding="ROUND_HALF_EVEN"))


@pytest.mark.parametrize(("vendor", "model"), MODELS)
def test_a_well_known_model_costs_what_the_source_says_to_the_nano_dollar(vendor, model):
    for usage in USAGES:
        assert ours(vendor, model, usage) == nano(oracle(vendor, model, usage)), usage


@pytest.mark.parametrize(
    ("vendor", "model", "usage"),
    [
        ("openai", "gpt-4o-audio-preview", Usage(1_000, 500, input_audio_tokens=700, output_audio_tokens=300)),
        ("openai", "gpt-realtime", Usage(1_000, 500, 300, input_audio_tokens=700, cached_audio_tokens=200, output_audio_tokens=100)),
        ("openai", "gpt-image-1", Usage(1_000, 4_160, input_image_tokens=900, output_image_tokens=4_160)),
        ("google", "gemini-2.5-flash", Usage(3_001, 100, 1_001, input_audio_tokens=900, cached_audio_tokens=500)),
        ("google", "gemini-2.0-flash", Usage(3_001, 100, input_audio_tokens=900)),
    ],
)
def test_sound_and_images_cost_what_the_source_says(vendor, model, usage):
    assert ours(vendor, model, usage) == nano(oracle(vendor, model, usage))


LATER = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(("vendor", "model", "context"), [
    *(("openai", model, {"service_tier": tier}) for model in ("gpt-5", "gpt-5.4", "o3", "gpt-4o") for tier in ("priority", "flex", "fast")),
    ("azure", "gpt-5", {"service_tier": "priority"}), ("anthropic", "claude-opus-4-8", {"speed": "fast"}),
    ("anthropic", "claude-haiku-4-5", {"speed": "fast"}),
])  # fmt: skip
def test_an_answer_served_faster_or_later_costs_what_the_source_says(vendor: str, model: str, context: dict[str, str]):
    for now in (NOW, LATER):
        for counted in USAGES:
            usage = attrs.evolve(counted, tier=next(iter(context.values())))
            assert ours(vendor, model, usage, now) == nano(oracle(vendor, model, usage, now, **context)), (now, usage)


def test_of_several_variants_that_hold_the_first_has_the_word_for_its_kinds_and_the_standard_for_all_others():
    variants = [
        {"tier": "flex", "usd": {"input": "1"}, "from": "2026-07-01"}, {"tier": "flex", "usd": {"input": "2", "output": "5"}},
        {"tier": "priority", "usd": {"input": "9"}},
    ]  # fmt: skip
    standard = {"usd": {"input": "3", "output": "7", "cache_read": "0.3"}, "tiers": [[100, {"input": "4", "output": "8"}]]}
    line = ["m", [], [], [standard], variants]
    listed = read_listed("v", line)
    found = []
    for now in (NOW, LATER):
        price = listed.price(now.timestamp(), "flex")
        assert price is not None
        found.append([cost_nusd(price, Usage(*counts)) for counts in ((10, 0), (0, 10), (10, 0, 10), (200, 0))])
    assert found == [[20_000, 50_000, 3_000, 400_000], [10_000, 50_000, 3_000, 200_000]]
    other = read_listed("v", line, own=False).price(NOW.timestamp(), "flex")
    assert other == listed.price(NOW.timestamp()) == listed.price(NOW.timestamp(), "unheard-of")


def test_priority_costs_more_and_flex_less_than_the_standard():
    costs = [ours("openai", "gpt-5", Usage(1_000, 1_000, tier=tier), LATER) for tier in ("flex", "", "priority")]
    assert costs[0] < costs[1] < costs[2]


def test_every_model_of_the_table_costs_what_the_source_says_at_any_hour_and_date():
    prices = pytest.importorskip("genai_prices.data", reason="genai-prices is not installed")
    usage, seen = Usage(250_007, 1_009, cached_input_tokens=90_001, cache_write_tokens=80_001, reasoning_tokens=100), 0
    hours = [datetime(2024, 1, 1, 0, tzinfo=UTC), datetime(2025, 11, 1, 17, tzinfo=UTC), datetime(2026, 3, 1, 3, tzinfo=UTC), NOW]
    for vendor in [one for one in prices.providers if one.id in TABLE.vendors()]:
        for model in vendor.models:
            listed = TABLE.find(vendor.id, model.id)
            for now in hours:
                price = None if listed is None else listed.price(now.timestamp())
                if price is not None:
                    seen += 1
                    assert cost_nusd(price, usage) == nano(oracle(vendor.id, model.id, usage, now)), (vendor.id, model.id, now)
    assert seen > 4_000


def test_the_table_is_what_its_generator_makes():
    pytest.importorskip("genai_prices", reason="genai-prices is not installed")
    from importlib.metadata import version

    found = header()
    if found.version != version("genai-prices"):
        pytest.skip(f"genai-prices {version('genai-prices')} is installed; the table is made from {found.version}")
    spec = importlib.util.spec_from_file_location("update_prices", ROOT / "packaging" / "update_prices.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    sys.modules["update_prices"] = generator
    try:
        spec.loader.exec_module(generator)
        assert generator.table(found.date) == generator.TABLE.read_bytes()
    finally:
        del sys.modules["update_prices"]


def test_the_table_says_where_it_comes_from_under_what_licence_and_of_which_day():
    found = header()
    assert (found.source, found.license) == ("genai-prices", "MIT")
    assert datetime.fromisoformat(found.date) >= datetime(2026, 1, 1)
    assert b"MIT License" in (ROOT / "appliance" / "prices" / "LICENSE.genai-prices").read_bytes()


def test_each_price_source_of_a_provider_is_in_the_table():
    assert {row.price_source for row in PROVIDERS.values() if row.price_source} <= set(TABLE.vendors())


@pytest.mark.parametrize(("vendor", "model"), [("", "gpt-4o"), ("openai", "no-such-model"), ("no-such-vendor", "gpt-4o"), ("openai", "")])
def test_what_the_table_does_not_know_has_no_price(vendor, model):
    assert TABLE.find(vendor, model) is None


def test_an_estimate_is_never_below_what_the_request_then_costs():
    for vendor, model in MODELS:
        listed = TABLE.find(vendor, model)
        price = None if listed is None else listed.price(NOW.timestamp())
        assert price is not None
        for usage in (one for one in USAGES if not one.web_searches and not one.cache_write_1h_tokens):
            assert cost_nusd(price, usage) <= estimate_nusd(price, usage.input_tokens, usage.output_tokens)


def test_a_vendors_typical_price_lies_among_its_models():
    typical = TABLE.typical("openai", NOW.timestamp())
    assert typical is not None
    assert 0 < typical.base.input < typical.base.output
    assert TABLE.typical("no-such-vendor", NOW.timestamp()) is None
