"""One model of the table: which names are its own, and what it costs at a given time. Pure data; see packaging/update_prices.py."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs

from appliance.core.price import Price, Rates, rates

DAY_S = 86_400

UNDER_WAY_MAX_S = DAY_S
"""A request costs what held when it began; the longest that an attempt may be given is a day."""

Usd = Mapping[str, str]
"""USD by kind, in decimal digits: per million tokens, or apiece."""


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
    """A price and when it holds: from an instant on (seconds since the epoch), or daily between two seconds of the UTC day, or ever.

    Attributes:
        usd, tiers: as the table has them; a tier names all kinds.
        tier: how an answer must have been served for it (`priority`), empty for the standard price.
    """

    usd: Usd
    tiers: tuple[tuple[int, Usd], ...] = ()
    since: float | None = None
    daily: tuple[int, int] | None = None
    tier: str = ""
    price: Price = attrs.field(init=False, default=attrs.Factory(lambda self: _price(self.usd, self.tiers), takes_self=True))

    def holds(self, now: float) -> bool:
        if self.since is not None:
            return now >= self.since
        if self.daily is None:
            return True
        begin, end = self.daily
        second = now % DAY_S
        return begin <= second < end if begin <= end else second >= begin or second < end

    def above(self, input_tokens: int) -> Usd:
        """USD by kind for a request of so many."""
        found = self.usd
        for start, usd in self.tiers:
            if input_tokens > start:
                found = usd
        return found


@attrs.define(eq=False)
class Listed:
    """One model.

    Attributes:
        vendor: the table's name of who sends the bill; id: the table's name of the model.
        prices: in the table's order: the last one that holds is in force, and the first where none does. Empty where the vendor bills what
            the gateway cannot count.
        variants: other prices of some kinds, by `tier`; the first that holds has the word for its kinds.
    """

    vendor: str
    id: str
    prices: tuple[Dated, ...]
    variants: tuple[Dated, ...] = ()
    _merged: dict[tuple[int, ...], Price] = attrs.field(factory=dict)  # as many as there are prices and variants that hold together

    def price(self, now: float, tier: str = "") -> Price | None:
        """What it costs at `now`, in seconds since the epoch, and served in that way; None where that cannot be told."""
        prices = self.prices
        if not prices:
            return None
        standard = prices[0] if len(prices) == 1 else next((one for one in reversed(prices) if one.holds(now)), prices[0])
        if not tier or not self.variants:
            return standard.price
        return self._varied(standard, [one for one in self.variants if one.tier == tier and one.holds(now)])

    def lasts(self, now: float) -> bool:
        """Whether what `price` gives at `now` for the standard tier holds ever after, and for all who are still to ask: nothing changes it
        daily, nor is it announced to change, nor has it changed while a request was under way that may be charged yet."""
        if len(self.prices) == 1:
            return True
        return all(one.daily is None and (one.since is None or one.since <= now - UNDER_WAY_MAX_S) for one in self.prices)

    def _varied(self, standard: Dated, variants: Sequence[Dated]) -> Price:
        key = tuple(map(id, (standard, *variants)))
        known = self._merged.get(key)
        if known is None:
            ordered = (standard, *reversed(variants))  # later ones have the last word when they are laid over each other
            starts = sorted({start for one in ordered for start, _ in one.tiers})
            sizes = (0, *(start + 1 for start in starts))
            usd, *tiers = [{kind: value for one in ordered for kind, value in one.above(size).items()} for size in sizes]
            known = self._merged[key] = _price(usd, tuple(zip(starts, tiers, strict=True)))
        return known


def read_listed(vendor: str, line: Sequence[Any], *, own: bool = True) -> Listed:
    """From a line of the table: [id, names, clauses, prices, variants]. own: asked of the vendor itself; others have no variants of its."""
    variants = line[4] if own and len(line) > 4 else ()
    return Listed(vendor, line[0], tuple(map(_dated, line[3])), tuple(map(_dated, variants)))


def _dated(given: Mapping[str, Any]) -> Dated:
    since = given.get("from")
    return Dated(
        given["usd"],
        tuple((start, usd) for start, usd in given.get("tiers", ())),
        None if since is None else datetime.fromisoformat(since).replace(tzinfo=UTC).timestamp(),
        tuple(given["daily"]) if "daily" in given else None,
        given.get("tier", ""),
    )


def _price(usd: Usd, tiers: Sequence[tuple[int, Usd]]) -> Price:
    return Price(_rates(usd), tuple((start, _rates(above)) for start, above in tiers))


def _rates(usd: Usd) -> Rates:
    return rates({kind: Decimal(value) for kind, value in usd.items()})
