"""Makes appliance/prices/table.jsonl from the `genai-prices` package (MIT, github.com/pydantic/genai-prices), which is a development
dependency only: `make prices`. The file is JSON lines: a header, then each vendor and its models.

The rule: nothing is rounded and nothing guessed. What the gateway cannot count (pages, pixels, characters, seconds, stored searches) is
left out, and a model that is priced by nothing else has no price; one without any price there is free.
"""

import argparse
from collections.abc import Iterator
from datetime import UTC, date, datetime
from datetime import time as clock_time
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from genai_prices import data, types

from appliance.providers import PROVIDERS

TABLE = Path(__file__).resolve().parent.parent / "appliance" / "prices" / "table.jsonl"

PER_MILLION = {
    "input_mtok": "input", "output_mtok": "output", "cache_read_mtok": "cache_read", "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h", "output_reasoning_mtok": "reasoning", "input_audio_mtok": "input_audio",
    "cache_audio_read_mtok": "cache_read_audio", "output_audio_mtok": "output_audio", "input_image_mtok": "input_image",
    "cache_image_read_mtok": "cache_read_image", "output_image_mtok": "output_image",
}  # fmt: skip
PER_THOUSAND = {"web_searches_kcount": "web_search", "requests_kcount": "request"}
"""Names of prices there, and of kinds here (core.price.Rates)."""


def table(made: str) -> bytes:
    """The file's whole text. made: the date that stands in it."""
    header = {
        "source": "genai-prices", "version": version("genai-prices"), "license": "MIT", "copyright": "Pydantic Services Inc.",
        "url": "https://github.com/pydantic/genai-prices", "date": made,
    }  # fmt: skip
    by_id = {vendor.id: vendor for vendor in data.providers}
    wanted = dict.fromkeys(row.price_source for row in PROVIDERS.values() if row.price_source)
    wanted |= dict.fromkeys(other for name in wanted for other in by_id[name].fallback_model_providers or ())
    lines = [orjson.dumps(header)]
    for name in sorted(wanted):
        lines.append(orjson.dumps({"vendor": name, "others": by_id[name].fallback_model_providers or []}))
        lines += [orjson.dumps(line) for line in _models(by_id[name])]
    return b"\n".join(lines) + b"\n"


def _models(vendor: types.Provider) -> Iterator[list[Any]]:
    """[id, names, clauses, prices, variants] of each; the first that matches a name is the one."""
    for model in vendor.models:
        given = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
        prices = [_price(one) for one in given]
        known = any(price["usd"] for price in prices) or not any(value is not None for one in given for value in vars(one.prices).values())
        names, clauses = _clauses(model.match)
        variants = [{"tier": tier, **_price(one)} for one in model.price_variants or () if (tier := _tier(one))]
        yield [model.id, names, clauses, prices if known else [], *([variants] if variants else [])]


def _tier(variant: types.PriceVariant) -> str:
    """How it is served at another price, in the words of its answers; empty where an answer does not say, or the price is the standard."""
    names = [value for key, value in variant.when.items() if key in ("service_tier", "speed")]
    return names[0] if len(names) == len(variant.when) == 1 and any(variant.prices.__dict__.values()) else ""


def _clauses(match: Any) -> tuple[list[str], list[list[Any]]]:
    """Whole names, and what else matches: any one of them does."""
    names, others = [], []
    for one in match.or_ if isinstance(match, types.ClauseOr) else [match]:
        if isinstance(one, types.ClauseEquals):
            names.append(one.equals.lower())
        else:
            others.append(_clause(one))
    return names, others


def _clause(one: Any) -> list[Any]:
    match one:
        case types.ClauseEquals(text):
            return ["is", text.lower()]
        case types.ClauseStartsWith(text):
            return ["starts", text.lower()]
        case types.ClauseEndsWith(text):
            return ["ends", text.lower()]
        case types.ClauseContains(text):
            return ["has", text.lower()]
        case types.ClauseRegex(text):
            return ["regex", text]
        case types.ClauseAnd(parts):
            return ["all", [_clause(part) for part in parts]]
        case types.ClauseOr(parts):
            return ["any", [_clause(part) for part in parts]]
    raise TypeError(f"an unknown clause: {one!r}")


def _price(given: types.ConditionalPrice | types.PriceVariant) -> dict[str, Any]:
    """`usd` by kind, per million tokens or apiece; `tiers`: [start, usd]; `from`: a UTC date, or `daily`: seconds of the UTC day."""
    found: dict[str, Any] = {"usd": {}}
    stored = {kind: price for name, price in vars(given.prices).items() if price is not None and (kind := _kind(name))}
    starts = {tier.start for price in stored.values() if isinstance(price, types.TieredPrices) for tier in price.tiers}
    found["usd"] = {kind: _usd(kind, price, 0) for kind, price in stored.items()}
    if starts:
        found["tiers"] = [[start, {kind: _usd(kind, price, start + 1) for kind, price in stored.items()}] for start in sorted(starts)]
    match given.constraint:
        case types.StartDateConstraint(day):
            found["from"] = day.isoformat()
        case types.TimeOfDateConstraint(begin, end):
            found["daily"] = [_second_of_day(begin), _second_of_day(end)]
    return found


def _kind(name: str) -> str:
    return PER_MILLION.get(name) or PER_THOUSAND.get(name, "")


def _usd(kind: str, price: Decimal | types.TieredPrices, input_tokens: int) -> str:
    if isinstance(price, types.TieredPrices):
        reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
        price = reached[-1] if reached else price.base
    exact = price / 1000 if kind in PER_THOUSAND.values() else price
    if exact != exact.quantize(Decimal(1).scaleb(-18)):
        raise ValueError(f"{price} has more than 18 decimal places")
    return format(exact.normalize(), "f")


def _second_of_day(at: clock_time) -> int:
    moment = datetime.combine(date(1970, 1, 2), at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the price table anew from the installed genai-prices package.")
    parser.add_argument("--date", default=datetime.now(tz=UTC).date().isoformat(), help="the date that stands in the table")
    made = parser.parse_args().date
    TABLE.write_bytes(table(made))


if __name__ == "__main__":
    main()
