"""One model of the table: which names are its own, and what it costs at a given time. Pure data; see packaging/update_prices.py."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs

from appliance.core.price import Price, rates

DAY_S = 86_400


def clause_matches(clause: Sequence[Any], name: str) -> bool:
    """Whether a clause of the table matches a name in lower case. Regular expressions are searched for, as in the table's source."""
    kind, what = clause
    match kind:
        case "is":
            return bool(name == what)
        case "starts":
            return name.startswith(what)
        case "ends":
            return name.endswith(what)
        case "has":
            return what in name
        case "regex":
            return re.search(what, name) is not None
        case "all":
            return all(clause_matches(one, name) for one in what)
        case "any":
            return any(clause_matches(one, name) for one in what)
    raise ValueError(f"the price table has an unknown clause: {kind!r}")


@attrs.frozen
class Dated:
    """A price and when it holds: from an instant on (seconds since the epoch), or daily between two seconds of the UTC day, or ever."""

    price: Price
    since: float | None = None
    daily: tuple[int, int] | None = None

    def holds(self, now: float) -> bool:
        if self.since is not None:
            return now >= self.since
        if self.daily is None:
            return True
        begin, end = self.daily
        second = now % DAY_S
        return begin <= second < end if begin <= end else second >= begin or second < end


@attrs.frozen
class Listed:
    """One model.

    Attributes:
        vendor: the table's name of who sends the bill; id: the table's name of the model.
        prices: in the table's order: the last one that holds is in force, and the first where none does. Empty where the vendor bills what
            the gateway cannot count.
    """

    vendor: str
    id: str
    prices: tuple[Dated, ...]

    def price(self, now: float) -> Price | None:
        """What it costs at `now`, in seconds since the epoch; None where that cannot be told."""
        prices = self.prices
        if len(prices) == 1:
            return prices[0].price
        return next((one.price for one in reversed(prices) if one.holds(now)), prices[0].price) if prices else None


def read_listed(vendor: str, line: Sequence[Any]) -> Listed:
    """From a line of the table: [id, names, clauses, prices]."""
    return Listed(vendor, line[0], tuple(map(_dated, line[3])))


def _dated(given: Mapping[str, Any]) -> Dated:
    tiers = tuple((start, rates(_decimals(usd))) for start, usd in given.get("tiers", ()))
    since = given.get("from")
    return Dated(
        Price(rates(_decimals(given["usd"])), tiers),
        None if since is None else datetime.fromisoformat(since).replace(tzinfo=UTC).timestamp(),
        tuple(given["daily"]) if "daily" in given else None,
    )


def _decimals(usd: Mapping[str, str]) -> dict[str, Decimal]:
    return {kind: Decimal(value) for kind, value in usd.items()}
