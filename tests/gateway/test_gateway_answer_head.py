"""The headers of answers that are made once and used again."""

from appliance.gateway.answer_head import VARIANTS_MAX, variant_headers


def test_each_variant_has_its_two_headers_whoever_was_before_it() -> None:
    for number in range(2 * VARIANTS_MAX):
        name = f"trial-{number}"
        for variant in ("control", "treatment"):
            assert variant_headers(name, variant) == ((b"x-experiment", name.encode()), (b"x-variant", variant.encode()))
    assert variant_headers.cache_info().currsize == VARIANTS_MAX


def test_a_name_that_no_header_may_hold_is_made_fit() -> None:
    assert variant_headers("böse\r\nx: y", "control")[0] == (b"x-experiment", b"b?se??x: y")
