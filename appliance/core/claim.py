"""What a limit claims of a request, as values: who holds the limit, how much it is, and what a caller is told of it. Pure.

The rule: whoever has no limit makes no claim, so that a request without limits has an empty tuple of them and costs nothing.
"""

import math
from typing import Literal, Protocol

import attrs

Scope = Literal["tenant", "key", "route", "user"]
Kind = Literal["requests", "tokens", "concurrency"]
NS_PER_S = 1_000_000_000

PER_MINUTE: dict[Kind, str] = {"requests": "requests per minute", "tokens": "tokens per minute", "concurrency": "requests at once"}


class Limited(Protocol):
    """Settings that hold limits: a tenant's, a key's, a route's."""

    @property
    def rpm(self) -> int | None: ...
    @property
    def tpm(self) -> int | None: ...
    @property
    def concurrency(self) -> int | None: ...


@attrs.frozen
class Claim:
    """One holder's limits.

    Attributes:
        id: of the holder, unique among all of one process; what it has used is kept under it, whatever the limits are.
        name: the tenant's, key's or route's; of scope `user` the route's whose limits hold for each user alone.
        rpm, tpm: requests and tokens a minute; concurrency: requests at once. None for no limit.
    """

    scope: Scope
    name: str
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    id: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "id", f"{self.scope}:{self.name}")

    @property
    def held_by(self) -> str:
        """For a caller: whose limit it is."""
        return f"each user of the route {self.name!r}" if self.scope == "user" else f"the {self.scope} {self.name!r}"


def claims_of(scope: Scope, name: str, limits: Limited) -> tuple[Claim, ...]:
    """One claim, or none where nothing is limited."""
    if limits.rpm is None and limits.tpm is None and limits.concurrency is None:
        return ()
    return (Claim(scope, name, limits.rpm, limits.tpm, limits.concurrency),)


Figures = tuple[int, int, int]
"""Of the tightest limit of a kind (the one with the least left), after this request took its part: the limit and what is left of it, in
pieces, and the nanoseconds until all of it is there again.
"""


@attrs.define(eq=False)
class Refusal:
    """Nothing was taken.

    Attributes:
        wait_s: after which the same request passes if nobody else comes before it; infinite where it never can.
        needed: tokens that were asked for, where they are what is missing.
        requests, tokens: as the caller's limits stand.
    """

    claim: Claim
    kind: Kind
    wait_s: float
    needed: int
    requests: Figures | None
    tokens: Figures | None

    def told(self, _record: object) -> dict[str, object]:
        """As `explain` shows it."""
        return {
            "limit_type": self.kind, "scope": self.claim.scope, "holder": self.claim.name, "limit": self.limit,
            "per": PER_MINUTE[self.kind], "needed_tokens": self.needed if self.kind == "tokens" else None,
            "retry_after_s": self.retry_after_s if self.passes_later else None,
        }  # fmt: skip

    @property
    def limit(self) -> int:
        claim = self.claim
        found = {"requests": claim.rpm, "tokens": claim.tpm, "concurrency": claim.concurrency}[self.kind]
        assert found is not None  # it refused
        return found

    @property
    def passes_later(self) -> bool:
        return not math.isinf(self.wait_s)

    @property
    def retry_after_s(self) -> int:
        """For Retry-After, in whole seconds, so that what comes no sooner is not refused for the same reason. Of what never passes it is
        the time after which nothing else would be in its way."""
        return max(1, math.ceil(self.wait_s)) if self.passes_later else 60

    @property
    def message(self) -> str:
        """In one sentence for the caller; clients read the time out of "try again in"."""
        words = f"the limit of {self.limit} {PER_MINUTE[self.kind]} for {self.claim.held_by}"
        if not self.passes_later:
            most = f"this request may need {self.needed} tokens, prompt and answer together, and {words} can never let that pass"
            return f"{most}: send a shorter prompt or a lower bound on the answer"
        return f"{words} is reached; try again in {self.retry_after_s} s"


HeaderList = list[tuple[bytes, bytes]]


def limit_headers(requests: Figures | None, tokens: Figures | None) -> HeaderList:
    """X-RateLimit-{Limit,Remaining,Reset}-{Requests,Tokens}; Reset in whole seconds."""
    headers: HeaderList = []
    if requests is not None:
        limit, left, full_in_ns = requests
        headers += (
            (b"x-ratelimit-limit-requests", b"%d" % limit),
            (b"x-ratelimit-remaining-requests", b"%d" % left),
            (b"x-ratelimit-reset-requests", b"%d" % -(-full_in_ns // NS_PER_S)),
        )
    if tokens is not None:
        limit, left, full_in_ns = tokens
        headers += (
            (b"x-ratelimit-limit-tokens", b"%d" % limit),
            (b"x-ratelimit-remaining-tokens", b"%d" % left),
            (b"x-ratelimit-reset-tokens", b"%d" % -(-full_in_ns // NS_PER_S)),
        )
    return headers
