"""Which price a request has: the operator's own, else the table's, else what `[prices] unknown_model` says.

The rule: an attempt is charged once, when its usage is known; what it cost stands in its record and in the request's sum, so that failed
attempts that were billed count too. A model without a price is told of once, and counted each time.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Literal

import attrs

from appliance.config.schema import Price as OwnPrice
from appliance.config.schema import Prices
from appliance.core.fault import Fault, FaultKind
from appliance.core.price import FREE, NUSD, Price, cost_nusd, rates
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.usage import Usage
from appliance.dialects.protocol import COUNT
from appliance.gateway.plan import Resolved, RoutePlan, TargetPlan
from appliance.prices.listed import Listed
from appliance.prices.table import EVERY_VENDOR, PriceTable
from appliance.providers import Provider, bare_model

KNOWN_MAX = 2_048
"""Look-ups kept; names may be the callers' own. Above it they are forgotten and made anew, at some 60 µs each."""

UNPRICED_MAX = 100
"""Models without a price that are named in the log and the metric; further ones are `other`."""

NAME_MAX_CHARS = 100
"""Of a model's name in the log and the metric."""

Basis = Literal["own", "table", "estimate", "zero"]
"""Where a price comes from; `zero` is none."""

GUESSED = frozenset({"zero", "estimate"})
"""The bases of a model that nobody prices."""

NOTHING_COUNTED = Usage()

Quoted = tuple[TargetPlan, str, str]
"""A target, the model's name to its backend, and as the caller wrote it; the last is empty unless the operator has a price for it."""

Named = tuple[str, str, str, str]
"""A vendor, and the three names of a model, see `Pricing.price`; the last is empty unless the operator has a price for it."""

FREE_OF_CHARGE = frozenset({COUNT, "moderations"})
"""Operations that cost nothing where they tell no usage."""


@attrs.define(eq=False)
class Unpriced:
    """Models that were asked for without a price, in this process.

    Attributes:
        counts: by model and what was made of it (refuse, zero, estimate).
        tell: says it once a model; arguments: backend, model, policy.
    """

    tell: Callable[[str, str, str], None] = lambda _backend, _model, _policy: None
    counts: dict[tuple[str, str], int] = attrs.field(factory=dict)

    def note(self, backend: str, model: str, policy: str) -> None:
        key = (model[:NAME_MAX_CHARS], policy)
        if key not in self.counts and len(self.counts) >= UNPRICED_MAX:
            key = ("other", policy)
        if key not in self.counts:
            self.tell(backend, key[0], policy)
        self.counts[key] = self.counts.get(key, 0) + 1


@attrs.define  # never changed after it is made, but not frozen: one is made for every attempt
class Priced:
    """What one model costs now, and by whose word. steady: no later time changes that."""

    price: Price
    basis: Basis
    steady: bool = False


@attrs.define(eq=False)
class Pricing:
    """Prices of one plan.

    Attributes:
        own: the operator's, by model name; unknown: what becomes of a model that neither they nor the table price.
    """

    table: PriceTable
    unpriced: Unpriced
    own: Mapping[str, Price] = attrs.field(factory=dict)
    unknown: Literal["refuse", "zero", "estimate"] = "zero"
    _known: dict[Named, Price | Listed | None] = attrs.field(factory=dict)
    _quoted: dict[Quoted, Priced] = attrs.field(factory=dict)  # what no later time changes

    def quote(self, target: TargetPlan, asked: str, requested: str, now: float) -> Priced:
        """What a target's answers cost as far as is known before it is asked: `price`, remembered where it stays the same."""
        quoted = (target, asked, requested if requested in self.own else "")
        found = self._quoted.get(quoted)
        if found is None:
            found = self.price(target, asked, target.served or target.served_name(asked), requested, now)
            if found.steady:
                if len(self._quoted) >= KNOWN_MAX:
                    self._quoted.clear()
                self._quoted[quoted] = found
        return found

    def price(self, target: TargetPlan, asked: str, served: str, requested: str, now: float, reported: str = "", tier: str = "") -> Priced:
        """What a target's answers cost.

        Args:
            asked: the model's name to the backend; served: its bare name or label; requested: as the caller wrote it.
            reported: what the answer itself calls its model, which may be known where an operator's own name for it is not (Azure).
            now: seconds since the epoch. tier: how the answer was served, see `core.usage.Usage`.
        """
        provider = target.upstream.provider
        found = self._find(provider, (provider.name, asked, served, requested if requested in self.own else ""))
        if found is None and reported and reported != asked:
            found = self._find(provider, (provider.name, reported, "", ""))
        if isinstance(found, Listed):
            price = found.price(now, tier)
            if price is not None:
                return Priced(price, "table", not tier and found.lasts(now))
        elif found is not None:
            return Priced(found, "own", True)
        if self.unknown == "estimate":
            guess = self.table.typical(provider.price_source, now) or self.table.typical(EVERY_VENDOR, now)
            if guess is not None:
                return Priced(guess, "estimate", True)
        return Priced(FREE, "zero", True)

    def allowed(self, resolved: Resolved, record: RequestRecord) -> Resolved | Fault:
        """The choices whose price is known, where the operator refuses all others; a fault that names the setting when there is none."""
        if self.unknown != "refuse" or record.operation in FREE_OF_CHARGE:
            return resolved
        route = resolved.route
        lacking = [one for one in (*route.targets, *route.fallback) if not self._has_price(one, resolved.model, record)]
        if not lacking:
            return resolved
        for one in lacking:
            self.unpriced.note(one.upstream.name, one.served_name(resolved.model), "refuse")
        if len(lacking) == len(route.targets) + len(route.fallback):
            name = lacking[0].served_name(resolved.model)[:NAME_MAX_CHARS]
            message = (
                f'the model {name!r} has no price, and this gateway refuses such models (prices.unknown_model = "refuse"): '
                f'its operator can set [prices.models."{name}"]'
            )
            return Fault(FaultKind.MODEL_FORBIDDEN, message, param="model", code="model_not_priced")
        left_out = f"prices.unknown_model = refuse: without {', '.join(one.upstream.name for one in lacking)}"
        return attrs.evolve(resolved, route=_without(route, lacking), narrowed=(*resolved.narrowed, left_out))

    def charge(self, target: TargetPlan, attempt: AttemptRecord, request: RequestRecord) -> None:
        """Write down what an attempt cost, once. Without usage only a price per request is charged, and only for an answer."""
        if attempt.price_basis:
            return
        usage = attempt.usage
        if usage is None:
            if attempt.outcome != "success" or request.operation == COUNT:
                return
            usage = NOTHING_COUNTED
        found = self.quote(target, attempt.model, request.requested_model, request.wall_time)
        basis = found.basis
        if usage.tier or basis in GUESSED:  # the answer may have said more
            found = self.price(
                target, attempt.model, attempt.served_model, request.requested_model, request.wall_time, attempt.response_model, usage.tier
            )
            basis = found.basis
            if basis in GUESSED and (attempt.usage is not None or request.operation not in FREE_OF_CHARGE):
                self.unpriced.note(attempt.backend, attempt.served_model, self.unknown if self.unknown != "refuse" else "zero")
        attempt.price_basis, attempt.price = basis, found.price
        if usage is not NOTHING_COUNTED or basis != "estimate":
            attempt.cost_nusd = nusd = cost_nusd(found.price, usage)
            request.cost_nusd = nusd = request.cost_nusd + nusd
            request.cost_usd = nusd / NUSD

    def warm(self, sources: set[str], now: float) -> None:
        """Read what the first requests would else have to wait for; for a thread of its own."""
        for source in sources:
            self.table.find(source, "-")
        if self.unknown == "estimate":
            for source in (*sources, EVERY_VENDOR):
                self.table.typical(source, now)

    def _has_price(self, target: TargetPlan, model: str, record: RequestRecord) -> bool:
        return self.quote(target, target.model or model, record.requested_model, record.wall_time).basis != "zero"

    def _find(self, provider: Provider, named: Named) -> Price | Listed | None:
        try:
            return self._known[named]
        except KeyError:
            pass
        found = self._look_up(provider, *named[1:])
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[named] = found
        return found

    def _look_up(self, provider: Provider, asked: str, served: str, requested: str) -> Price | Listed | None:
        """The operator's own first; then the name that the backend is asked by, without a way of serving it, and the bare one. The caller's
        name comes last: it stands for every target of its route, and must not make a dear fallback cost what a cheap target does."""
        for name in (served, asked):
            if name and name in self.own:
                return self.own[name]
        plain = asked.partition(":")[0] if provider.strips_suffix else asked  # OpenRouter's `:nitro`; its `:free` has a price of its own
        for name in dict.fromkeys((asked, plain, bare_model(provider, asked), served)):
            if name and (listed := self.table.find(provider.price_source, name)) is not None and listed.prices:
                return listed
        return self.own.get(requested)


def make_pricing(settings: Prices, table: PriceTable, unpriced: Unpriced) -> Pricing:
    return Pricing(table, unpriced, {name: own_price(one) for name, one in settings.models.items()}, settings.unknown_model)


def own_price(given: OwnPrice) -> Price:
    """An operator's price. Decimal digits are taken as they were written, not as the nearest binary fraction."""
    usd = {
        "input": given.input_usd_per_mtok, "output": given.output_usd_per_mtok, "cache_read": given.cache_read_usd_per_mtok,
        "cache_write": given.cache_write_usd_per_mtok, "request": given.request_usd,
    }  # fmt: skip
    return Price(rates({kind: Decimal(repr(value)) for kind, value in usd.items() if value is not None}))


def usd_text(nusd: int) -> bytes:
    """Nano-USD as a decimal number of USD, exact, without an exponent: `0.00012345`."""
    return (b"%d.%09d" % divmod(nusd, NUSD)).rstrip(b"0").rstrip(b".")


def _without(route: RoutePlan, lacking: list[TargetPlan]) -> RoutePlan:
    out = set(map(id, lacking))
    targets = tuple(one for one in route.targets if id(one) not in out)
    fallback = tuple(one for one in route.fallback if id(one) not in out)
    if not targets:
        targets, fallback = fallback, ()
    return attrs.evolve(route, targets=targets, fallback=fallback, weights=tuple(one.weight for one in targets))
