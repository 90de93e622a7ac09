"""From a checked configuration to its routing plan.

The rule: what a request would have to work out again and again is worked out here, once.
"""

from collections.abc import Mapping

import attrs

from appliance.config.routing import Retry, Route, Target
from appliance.config.schema import Config
from appliance.core.claim import claims_of
from appliance.core.glob import compile_globs
from appliance.core.hedge import HedgePolicy
from appliance.core.step import RetryPolicy
from appliance.gateway.cache_plan import CachePlan, cache_plan
from appliance.gateway.plan import DIRECT, LEARNING, Plan, RoutePlan, TargetPlan, anonymous_key, compile_keys
from appliance.gateway.pricing import Pricing
from appliance.gateway.tenancy import Tenancy
from appliance.gateway.upstream import Upstream
from appliance.gateway.variants import with_experiments
from appliance.providers import PROVIDERS, bare_model


def build_plan(config: Config, upstreams: Mapping[str, Upstream], pricing: Pricing, tenancy: Tenancy) -> Plan:
    """Compile a checked configuration. `upstreams` has one entry for each backend in it."""
    def make(target: Target) -> TargetPlan:
        return _target(target, upstreams)

    return Plan(
        config=config,
        upstreams=upstreams,
        routes=with_experiments(
            [
                _route(route, upstreams, config.limits.answer_tokens_max, cache_plan(route, upstreams, config.experiments, make))
                for route in config.routes
            ],
            config.experiments, make,
        ),
        direct={name: _direct(upstream) for name, upstream in upstreams.items()},
        claims=tuple(
            (name, compile_globs((*settings.models, *settings.deployments, *PROVIDERS[settings.provider].models)))
            for name, settings in config.backends.items()
        ),
        tenancy=tenancy,
        keys=compile_keys(tenancy),
        anonymous=anonymous_key(config, tenancy),
        pricing=pricing,
        named=frozenset(config.aliases).union(*(route.models for route in config.routes)),
        needs_headers=any(route.match.headers for route in config.routes),
        needs_prompt=any(route.match.min_prompt_tokens or route.match.max_prompt_tokens is not None for route in config.routes),
    )  # fmt: skip


def _route(route: Route, upstreams: Mapping[str, Upstream], answer_tokens_max: int = 0, cache: CachePlan | None = None) -> RoutePlan:
    targets = tuple(_target(target, upstreams, paced=route.strategy in LEARNING) for target in route.targets)
    return RoutePlan(
        name=route.name,
        matches=compile_globs(route.models),
        headers=tuple((name.lower().encode("latin-1"), compile_globs([pattern])) for name, pattern in route.match.headers.items()),
        min_prompt_tokens=route.match.min_prompt_tokens,
        max_prompt_tokens=route.match.max_prompt_tokens,
        strategy=route.strategy,
        targets=targets,
        fallback=tuple(_target(target, upstreams) for target in route.fallback),
        weights=tuple(target.weight for target in targets),
        policy=_policy(route.retry),
        hedge=_hedge(route),
        keepalive_s=route.keepalive_s,
        on_disconnect=route.on_disconnect,
        drain_max_s=route.drain_max_s,
        drain_max_tokens=route.drain_max_tokens,
        owed_tokens=answer_tokens_max if route.on_disconnect == "estimate" else 0,
        settings=route,
        cache=cache,
        claims=claims_of("user" if route.limits.per == "user" else "route", route.name, route.limits),
        paths=compile_globs(route.match.paths) if route.match.paths else None,
        tenants=compile_globs(route.match.tenants) if route.match.tenants else None,
    )


def _direct(upstream: Upstream) -> RoutePlan:
    target = _target(Target(backend=upstream.name), {upstream.name: upstream})
    defaults = Route(name=DIRECT, targets=())
    plain = _route(defaults, {})
    return attrs.evolve(plain, targets=(target,), weights=(1,))


def _target(target: Target, upstreams: Mapping[str, Upstream], *, paced: bool = False) -> TargetPlan:
    upstream = upstreams[target.backend]
    provider = upstream.provider
    shaped = provider.drop or provider.shapes
    plain = not (shaped or provider.renames or upstream.settings.deployments or target.max_tokens or target.overrides)
    if target.model and not plain:
        plain = not (shaped or upstream.settings.deployments or target.max_tokens or target.overrides) and not any(
            rename.applies(bare_model(provider, target.model)) for rename in provider.renames
        )
    return TargetPlan(
        upstream=upstream, model=target.model, weight=target.weight, label=target.label, max_tokens=target.max_tokens,
        overrides=target.overrides, served=target.label or (bare_model(provider, target.model) if target.model else ""), verbatim=plain,
        paced=paced,
    )  # fmt: skip


def _policy(retry: Retry) -> RetryPolicy:
    return RetryPolicy(
        attempts=retry.attempts, backoff_s=retry.backoff_s, backoff_max_s=retry.backoff_max_s, budget_s=retry.budget_s,
        on=frozenset(retry.on), fallback_on=frozenset(retry.fallback_on),
    )  # fmt: skip


def _hedge(route: Route) -> HedgePolicy | None:
    """None where it is off, or nobody else could be asked."""
    hedge = route.hedge
    if not hedge.on or not route.hedges:
        return None
    return HedgePolicy(hedge.after_s, hedge.percentile, hedge.samples_min, hedge.max_percent)
