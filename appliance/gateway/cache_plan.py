"""What a route says about its cache, compiled, with a digest of everything that decides what its answers would be. Pure.

The rule: an answer is only given again under the configuration that made it. Whatever could make another answer is in the digest, and the
digest is in every key: after a reload that changes any of it, what was kept before is never found.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from appliance.config.routing import Experiment, Route, Target
from appliance.dialects.repeatable import COMPUTED, without_chance
from appliance.gateway.plan import TargetPlan
from appliance.gateway.upstream import Upstream

if TYPE_CHECKING:
    from appliance.gateway.call import Call

CHANCE = frozenset({"temperature", "seed", "tools", "generationConfig", "generation_config", "inferenceConfig"})
"""Overrides after which the caller's own settings do not say whether chance is in an answer."""


@attrs.frozen
class SemanticPlan:
    """target: who makes embeddings. threshold: cosine from which on two questions are one."""

    target: TargetPlan
    threshold: float
    timeout_s: float


@attrs.frozen
class CachePlan:
    """Attributes:
    always: also where chance is part of the answer.
    chancy: the operator's overrides decide about chance, whatever the caller asks for.
    digest: of what decides the answers.
    """

    ttl_s: float
    always: bool
    chancy: bool
    digest: bytes
    semantic: SemanticPlan | None = None

    def may_serve(self, call: "Call") -> bool:
        """Whether a request is worth a look at all (see `cache_key.asked_of`): one with chance in its answer is not, which are most."""
        parsed = call.parsed
        return self.always or parsed.operation in COMPUTED or without_chance(call.language.name, parsed.fields)


def cache_plan(
    route: Route, upstreams: Mapping[str, Upstream], experiments: Sequence[Experiment], make: Callable[[Target], TargetPlan]
) -> CachePlan | None:
    """None where the route keeps nothing."""
    settings = route.cache
    if not settings.ttl_s:
        return None
    trials = [one for one in experiments if one.route == route.name]
    semantic = settings.semantic
    targets = [*route.targets, *route.fallback, *(target for one in trials for target in (one.control, one.treatment))]
    compared = [] if semantic is None else [Target(backend=semantic.backend, model=semantic.model)]  # vectors of two models are not alike
    parts = [
        route.name, route.strategy, settings, trials, [_target(target, upstreams) for target in (*targets, *compared)],
        [(target.weight, target.label) for target in targets],
    ]  # fmt: skip
    return CachePlan(
        ttl_s=settings.ttl_s,
        always=settings.when == "always",
        chancy=any(target.overrides.keys() & CHANCE for target in targets),
        digest=hashlib.sha256(repr(parts).encode()).digest(),
        semantic=None if semantic is None else SemanticPlan(make(compared[0]), semantic.threshold, semantic.timeout_s),
    )  # fmt: skip


def _target(target: Target, upstreams: Mapping[str, Upstream]) -> Any:
    """What a target would answer depends on all this; not on who pays, how long it may take, or how often it is tried."""
    upstream = upstreams[target.backend]
    settings = upstream.settings
    headers = sorted((name, hashlib.sha256(value.reveal().encode()).hexdigest()) for name, value in settings.headers.items())
    return (
        target.backend, target.model, target.max_tokens, target.overrides, settings.provider, upstream.base_url, settings.dialect,
        settings.api_version, sorted(settings.deployments.items()), headers,
    )  # fmt: skip
