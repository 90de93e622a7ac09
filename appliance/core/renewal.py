"""When temporary credentials are fetched again, as a pure decision: well before they end, and after a failure with growing pauses.

The rule: what is held stays in use until it ends, whatever becomes of the attempts to replace it. All times are of one steady clock.
"""

import math

import attrs

LEAD_S = 300.0
"""How long before the end a successor is fetched. EC2 has one five minutes before (docs.aws.amazon.com/AWSEC2/latest/UserGuide/
instance-metadata-security-credentials.html), and Google's metadata server gives the same token until then
(cloud.google.com/compute/docs/access/authenticate-workloads). One that lives shorter than twice that is replaced half way: so, too, an old
one that was given once more, until there is a new one."""

LEAD_SPREAD = 0.1
"""Share of the lead by which many gateways are spread, so that they do not ask in step."""

PAUSE_MIN_S = 1.0
PAUSE_MAX_S = 30.0
"""Between attempts. Metadata servers limit requests, and a request that finds no credentials fails until the next attempt."""

REFUSALS_APART_S = 30.0
"""A backend that refuses what is held makes us fetch anew, but not more often than this: it may refuse every successor as well."""


@attrs.frozen
class Held:
    """What is known of one account's credentials.

    Attributes:
        received_at, expires_at: of those in hand; `expires_at` is infinite for what never ends, and both are -inf where there are none.
        failures: attempts in a row that brought nothing.
        tried_at: when the last attempt ended, -inf before the first. refused_at: when a backend's refusal last caused one.
    """

    received_at: float = -math.inf
    expires_at: float = -math.inf
    failures: int = 0
    tried_at: float = -math.inf
    refused_at: float = -math.inf

    def usable(self, now: float) -> bool:
        return now < self.expires_at

    def received(self, now: float, lifetime_s: float) -> "Held":
        """An attempt brought credentials that live so long from now."""
        return attrs.evolve(self, received_at=now, expires_at=now + lifetime_s, failures=0, tried_at=now)

    def failed(self, now: float) -> "Held":
        return attrs.evolve(self, failures=self.failures + 1, tried_at=now)

    def refused(self, now: float) -> "Held | None":
        """A backend does not accept what is held: with the attempt that this asks for; None where the last such one is too recent."""
        if now - self.refused_at < REFUSALS_APART_S:
            return None
        return attrs.evolve(self, refused_at=now)


def next_at(held: Held, draw: float) -> float:
    """When to fetch next: -inf for at once, inf for never.

    Args:
        draw: a random number in [0, 1).
    """
    if held.failures:
        pause_s = min(PAUSE_MAX_S, PAUSE_MIN_S * 2.0 ** min(held.failures - 1, 16))
        return held.tried_at + pause_s * (0.5 + draw / 2)
    if held.expires_at == -math.inf or held.expires_at == math.inf:
        return held.expires_at
    life_s = held.expires_at - held.received_at
    lead_s = min(LEAD_S * (1 + LEAD_SPREAD * draw), life_s / 2)
    return max(held.expires_at - lead_s, held.tried_at + PAUSE_MIN_S)
