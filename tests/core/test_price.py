"""What an answer costs: exact, rounded once, and never less for more."""

from decimal import Decimal
from fractions import Fraction

import attrs
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.price import FREE, KINDS, NUSD, RATE_UNITS, Price, Rates, cost_nusd, estimate_nusd, rates
from appliance.core.usage import Usage

TOKENS = st.integers(0, 10**9)
USD = st.decimals(0, 1000, places=9)


def price(**usd: str) -> Price:
    return Price(rates({kind: Decimal(value) for kind, value in usd.items()}))


@st.composite
def prices(draw: st.DrawFn) -> Price:
    """Whatever a vendor may ask, but cheaper above a tier than below: no vendor does that."""
    base = {kind: draw(USD) for kind in ("input", "output", "cache_read", "cache_write", "reasoning", "request")}
    start, factor = draw(st.integers(0, 10**6)), draw(st.integers(1, 4))
    above = {kind: value * factor for kind, value in base.items()}
    return Price(rates(base), ((start, rates(above)),)) if draw(st.booleans()) else Price(rates(base))


def test_kinds_are_parts_and_each_token_is_charged_once():
    all_kinds = price(input="3", output="15", cache_read="0.3", cache_write="3.75", cache_write_1h="6", reasoning="20", input_audio="40")
    usage = Usage(1_000, 500, 100, 200, 50, 30, cache_write_1h_tokens=150)
    # 670 plain, 100 read, 50 + 150 written, 30 heard; 450 plain and 50 thought: in nano-USD, a USD per million is 1000 a token
    assert cost_nusd(all_kinds, usage) == 670 * 3_000 + 100 * 300 + 50 * 3_750 + 150 * 6_000 + 30 * 40_000 + 450 * 15_000 + 50 * 20_000


def test_a_kind_without_a_price_costs_as_what_it_is_a_part_of():
    plain = price(input="2", output="8")
    assert cost_nusd(plain, Usage(10, 10, 3, 4, 5, 2, 1, cache_write_1h_tokens=2)) == cost_nusd(plain, Usage(10, 10)) == 100_000
    assert rates({"cache_write": Decimal(5)}).cache_write_1h == 5 * RATE_UNITS


def test_counts_that_contradict_each_other_never_cost_more_than_all_tokens_at_the_dearest_rate():
    odd = price(input="1", output="1", cache_read="0.5", cache_write="2", input_audio="9")
    assert 0 <= cost_nusd(odd, Usage(10, 5, 100, 100, 100, 100, 100)) <= 10 * 9_000 + 5 * 1_000


def test_a_tier_holds_for_all_tokens_of_a_request_above_its_start_and_for_none_at_it():
    tiered = Price(Rates(input=RATE_UNITS), ((100, Rates(input=2 * RATE_UNITS)), (200, Rates(input=4 * RATE_UNITS))))
    assert [cost_nusd(tiered, Usage(count)) for count in (100, 101, 200, 201)] == [100_000, 202_000, 400_000, 804_000]


def test_requests_and_searches_are_charged_apiece():
    asked = price(request="0.005", web_search="0.01")
    assert cost_nusd(asked, Usage(5, 5)) == 5_000_000
    assert cost_nusd(asked, Usage(5, 5, web_searches=3)) == 35_000_000


def test_a_half_is_rounded_to_even():
    half = price(input="0.0005")  # half a nano-USD a token
    assert [cost_nusd(half, Usage(count)) for count in (1, 2, 3, 5, 7)] == [0, 1, 2, 2, 4]


def test_what_is_above_a_tier_is_rounded_though_what_is_below_needs_not_be():
    tiered = Price(rates({"input": Decimal(1)}), ((10, rates({"input": Decimal("0.0006")})),))
    assert [cost_nusd(tiered, Usage(tokens)) for tokens in (1, 11)] == [1_000, 7]


def test_only_what_costs_nothing_is_free():
    assert FREE.free
    assert not price(request="0.1").free
    assert not Price(Rates(), ((10, Rates(input=1)),)).free


@given(prices(), TOKENS, TOKENS, TOKENS, TOKENS, TOKENS)
def test_the_cost_is_the_exact_sum_rounded_once(asked, total, read, written, made, thought):
    read = min(read, total)
    written = min(written, total - read)
    thought = min(thought, made)
    at = asked.rates(total)
    exact = (
        at.input * (total - read - written) + at.cache_read * read + at.cache_write * written + at.output * (made - thought)
        + at.reasoning * thought + at.request
    )  # fmt: skip
    usage = Usage(total, made, read, written, thought)
    assert cost_nusd(asked, usage) == round(Fraction(exact * NUSD, RATE_UNITS * 10**6))


@given(prices(), st.sampled_from(["input_tokens", "output_tokens"]), TOKENS, TOKENS, TOKENS, st.integers(0, 10**6))
def test_more_tokens_never_cost_less(asked, kind, total, made, read, more):
    before = Usage(total, made, min(read, total))
    after = attrs.evolve(before, **{kind: getattr(before, kind) + more})
    assert 0 <= cost_nusd(asked, before) <= cost_nusd(asked, after)


@given(prices(), TOKENS, TOKENS)
def test_an_estimate_bounds_the_cost_of_what_it_was_made_for(asked, total, made):
    assert cost_nusd(asked, Usage(total, made)) <= estimate_nusd(asked, total, made)


@given(*[st.integers(0, 1_000)] * 9)
def test_whatever_a_vendor_counts_each_token_is_charged_once(total, made, read, written, long, heard, seen, read_heard, thought):
    one = price(input="1", output="1", cache_read="1", cache_write="1", cache_write_1h="1", input_audio="1", input_image="1")
    usage = Usage(
        total, made, read, written, thought, heard, cache_write_1h_tokens=long, input_image_tokens=seen, cached_audio_tokens=read_heard,
    )  # fmt: skip
    assert cost_nusd(one, usage) == (total + made) * 1_000
    for kind in KINDS:
        assert cost_nusd(Price(Rates(**{kind: RATE_UNITS})), usage) >= 0, kind
