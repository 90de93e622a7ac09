"""What an answer costs: exact integers, rounded once.

The rule: money is a whole number of nano-USD (1e-9 USD; a token of the cheapest models costs tens of them). Rates are whole numbers too, so
that a sum over a million answers is the sum of its parts. Which price a model has is the affair of the `prices` room.
"""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from appliance.core.usage import Usage

NUSD = 1_000_000_000
"""Nano-USD in a USD."""

RATE_UNITS = 10**18
"""Of a rate in one USD: vendors' prices have up to 18 decimal places, and none of them is rounded."""

_DIVISOR = RATE_UNITS * 1_000_000 // NUSD
"""From rates per million to nano-USD."""

_HALF = _DIVISOR // 2


@attrs.frozen
class Rates:
    """What each kind costs, in 1e-18 USD per million tokens (searches, requests). Every kind has its rate: see `rates`."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    input_audio: int = 0
    cache_read_audio: int = 0
    output_audio: int = 0
    input_image: int = 0
    cache_read_image: int = 0
    output_image: int = 0
    web_search: int = 0
    request: int = 0


ZERO = Rates()

KINDS: tuple[str, ...] = tuple(field.name for field in attrs.fields(Rates))

COUNTED = ("web_search", "request")
"""Kinds that are priced apiece, all others per million tokens."""

_AS: Mapping[str, str] = {
    "cache_read": "input", "cache_write": "input", "cache_write_1h": "cache_write", "reasoning": "output", "input_audio": "input",
    "cache_read_audio": "cache_read", "output_audio": "output", "input_image": "input", "cache_read_image": "cache_read",
    "output_image": "output",
}  # fmt: skip
"""A kind without a price of its own costs what the kind it is a part of does. In an order in which no look-up comes too early."""


@attrs.frozen
class Price:
    """What a model costs.

    Attributes:
        tiers: (start, rates), ascending: a request with more than `start` input tokens costs these for all of its tokens, not for those
            above `start` alone (so Anthropic, Google and OpenAI).
        dearest: of `base`, see `dearest`; worked out once, since it is asked for of every request with a budget.
        exact: every rate is a whole number of nano-USD, so that no amount has to be rounded.
    """

    base: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    dearest: tuple[int, int, int] = attrs.field(init=False, eq=False, repr=False)
    exact: bool = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "dearest", dearest(self.base))
        each = (self.base, *(above for _, above in self.tiers))
        object.__setattr__(self, "exact", not any(getattr(at, kind) % _DIVISOR for at in each for kind in KINDS))

    def rates(self, input_tokens: int) -> Rates:
        found = self.base
        for start, above in self.tiers:
            if input_tokens > start:
                found = above
        return found

    @property
    def free(self) -> bool:
        return self.base == ZERO and all(above == ZERO for _, above in self.tiers)


def dearest(at: Rates, *, every_kind: bool = False) -> tuple[int, int, int]:
    """What a token of a prompt, one of an answer and the request itself cost at most.

    Args:
        every_kind: tokens may be sound and pictures; else they are words.
    """
    asked, made = max(at.input, at.cache_write), max(at.output, at.reasoning)
    if every_kind:
        asked, made = max(asked, at.input_audio, at.input_image), max(made, at.output_audio, at.output_image)
    return asked, made, at.request


FREE = Price(ZERO)


def rates(usd: Mapping[str, Decimal]) -> Rates:
    """Rates from USD per million tokens, and USD apiece for COUNTED; kinds that are left out cost as `_AS` says, or nothing."""
    known = {kind: int(value * (1_000_000 if kind in COUNTED else 1) * RATE_UNITS) for kind, value in usd.items()}
    for kind, parent in _AS.items():
        if kind not in known:
            known[kind] = known.get(parent, 0)
    return Rates(**known)


def usd_of_rate(kind: str, rate: int) -> str:
    """A rate as it was given to `rates`, in decimal digits without an exponent."""
    usd = Decimal(rate) / RATE_UNITS / (1_000_000 if kind in COUNTED else 1)
    return format(usd.normalize(), "f")


def rates_told(at: Rates) -> dict[str, str]:
    """Rates as they were given, without those that are 0 or what the kind they are a part of costs."""
    told = {kind: rate for kind in KINDS if (rate := getattr(at, kind)) and rate != getattr(at, _AS.get(kind, ""), None)}
    return {kind: usd_of_rate(kind, rate) for kind, rate in told.items()}


def cost_nusd(price: Price, usage: Usage) -> int:
    """What an answer cost, in nano-USD, rounded half to even.

    A token is charged once, by the most particular kind it is known to be. Where the vendor does not say how two kinds overlap (cached,
    heard), they overlap as little as they can.
    """
    at = price.base if not price.tiers else price.rates(usage.input_tokens)
    total, read = usage.input_tokens, usage.cached_input_tokens
    written = usage.cache_write_tokens
    if written or usage.input_audio_tokens or usage.input_image_tokens or read > total:
        amount = _input(at, usage)
    elif read:
        amount = at.input * (total - read) + at.cache_read * read
    else:
        amount = at.input * total
    out, thought = usage.output_tokens, usage.reasoning_tokens
    heard, seen = usage.output_audio_tokens, usage.output_image_tokens
    if thought or heard or seen:
        thought = min(thought, out)
        heard = min(heard, out - thought)
        seen = min(seen, out - thought - heard)
        amount += at.reasoning * thought + at.output_audio * heard + at.output_image * seen
        out -= thought + heard + seen
    amount += at.output * out + at.request
    if usage.web_searches:
        amount += at.web_search * usage.web_searches
    return amount // _DIVISOR if price.exact else _rounded(amount)


def estimate_nusd(price: Price, prompt_tokens: int, output_tokens: int, *, every_kind: bool = False) -> int:
    """What a request may cost at most, before it is sent, in nano-USD: nothing read from a cache, and all of `output_tokens` made.

    Args:
        every_kind: see `dearest`.
    """
    if every_kind or price.tiers:
        asked, made, each = dearest(price.rates(prompt_tokens), every_kind=every_kind)
    else:
        asked, made, each = price.dearest
    amount = asked * prompt_tokens + made * output_tokens + each
    return amount // _DIVISOR if price.exact else _rounded(amount)


def _input(at: Rates, usage: Usage) -> int:
    """The input's part of the amount, whatever kinds are in it."""
    total = usage.input_tokens
    read = min(usage.cached_input_tokens, total)
    written = min(usage.cache_write_tokens, total - read)
    long = min(usage.cache_write_1h_tokens, written)
    heard = min(usage.input_audio_tokens, total)
    seen = min(usage.input_image_tokens, total - heard)
    twice = max(0, read + written + heard + seen - total)  # so many must be of two kinds at once
    read_heard = min(max(usage.cached_audio_tokens, twice), read, heard)
    twice = max(0, twice - read_heard)
    read_seen = min(twice, read - read_heard, seen)
    twice -= read_seen
    written_heard = min(twice, heard - read_heard)  # written to the cache: charged for that
    heard -= read_heard + written_heard
    seen -= read_seen + (twice - written_heard)
    plain = total - read - written - heard - seen
    return (
        at.input * plain + at.cache_read * (read - read_heard - read_seen) + at.cache_read_audio * read_heard
        + at.cache_read_image * read_seen + at.cache_write * (written - long) + at.cache_write_1h * long
        + at.input_audio * heard + at.input_image * seen
    )  # fmt: skip


def _rounded(amount: int) -> int:
    """Half to even, as bankers round: sums of many halves do not drift."""
    whole, rest = divmod(amount + _HALF, _DIVISOR)
    return whole if rest else whole & ~1  # without a rest it was a half
