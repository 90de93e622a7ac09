"""The routing plan: the configuration compiled into what a request needs, swapped as one reference on reload.

Nothing here changes after it was built; a running request keeps the plan it started with. What is learnt lives in `live`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from appliance.config.routing import Route
from appliance.config.schema import Config
from appliance.config.tenancy import Key, Tenant
from appliance.core.budget import Terms
from appliance.core.claim import Claim, claims_of
from appliance.core.fault import Fault, FaultKind
from appliance.core.glob import compile_globs
from appliance.core.hedge import HedgePolicy
from appliance.core.record import RequestRecord
from appliance.core.step import RetryPolicy
from appliance.dialects.language import Language
from appliance.gateway.ceilings import key_scope, tenant_scope, terms_of
from appliance.gateway.tenancy import Tenancy
from appliance.gateway.upstream import Upstream
from appliance.gateway.variants import Assigned, ExperimentPlan
from appliance.gateway.way import Way
from appliance.providers import bare_model

if TYPE_CHECKING:
    from appliance.gateway.cache_plan import CachePlan
    from appliance.gateway.pricing import Pricing

WAYS_MAX = 512
"""Ways that are kept of one target; names may be the callers' own where it names no model. Further ones are found anew each time."""

ALIAS_DEPTH_MAX = 8
"""An alias may stand for another; a longer chain is a loop that the checks would have refused."""

LEARNING = frozenset({"least_latency", "least_busy", "cheapest"})
"""Strategies that go by what is learnt of their targets; see gateway.ordering."""

DIRECT = "direct"
"""The route label of requests that named a backend, or a model only one vendor claims."""


@attrs.frozen(eq=False)  # each is one of its own: prices are remembered by it
class TargetPlan:
    """One choice.

    Attributes:
        model: empty where the requested name is passed on; served: its bare name then known ahead, else empty.
        verbatim: neither the operator nor the vendor wants any byte of a request for this model changed, but for the model's own name and
            the question for usage in a stream.
        paced: how quickly it answers is kept, since its route's strategy goes by it.
    """

    upstream: Upstream
    model: str
    weight: int
    label: str
    max_tokens: int | None
    overrides: Mapping[str, object]
    served: str
    verbatim: bool
    paced: bool = False
    _ways: dict[tuple[str, str, str, bool], Way] = attrs.field(factory=dict, init=False, repr=False)

    def way(self, callers: Language, operation: str, model: str, stream: bool) -> Way:
        """How such a request is asked here; found once. model: the requested name after aliases."""
        known = self._ways.get((callers.name, operation, model, stream))
        return known or self._find_way(callers, operation, model, stream)

    def _find_way(self, callers: Language, operation: str, model: str, stream: bool) -> Way:
        upstream, asked = self.upstream, self.model or model
        language, called = upstream.spoken(callers.name, operation, asked)
        served = self.served or self.served_name(model)
        amiss = None if callers.verbatim is None else callers.verbatim.amiss
        found = Way(asked, served, language, called, upstream.first_phase_s(stream), upstream.refused(asked), amiss)
        if len(self._ways) < WAYS_MAX:
            self._ways[callers.name, operation, model, stream] = found
        return found

    def asks_as(self, other: "TargetPlan") -> bool:
        """Whether that one, of an earlier plan, asks the same backend for the same."""
        said = (field.name for field in attrs.fields(TargetPlan) if field.init)
        return all(getattr(self, name) == getattr(other, name) for name in said)

    def served_name(self, requested: str) -> str:
        """The model's bare name for metrics: the label, else the vendor's id without its prefix."""
        return self.label or bare_model(self.upstream.provider, self.model or requested)


@attrs.frozen
class RoutePlan:
    """One route.

    Attributes:
        settings: what it was made of, for `explain`.
        order: its targets in the order they are asked, fallbacks last; None where its strategy orders them anew for each request.
        attended: its requests need more than their attempts, see proxy.
    """

    name: str
    matches: Callable[[str], bool]
    headers: tuple[tuple[bytes, Callable[[str], bool]], ...]
    min_prompt_tokens: int
    max_prompt_tokens: int | None
    strategy: str
    targets: tuple[TargetPlan, ...]
    fallback: tuple[TargetPlan, ...]
    weights: tuple[int, ...]
    policy: RetryPolicy
    hedge: HedgePolicy | None
    keepalive_s: float
    on_disconnect: str
    drain_max_s: float
    drain_max_tokens: int
    owed_tokens: int
    settings: Route
    claims: tuple[Claim, ...] = ()
    experiment: ExperimentPlan | None = None
    paths: Callable[[str], bool] | None = None
    tenants: Callable[[str], bool] | None = None
    cache: "CachePlan | None" = None
    counts_tokens: bool = attrs.field(init=False)
    order: tuple[TargetPlan, ...] | None = attrs.field(init=False)
    attended: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "counts_tokens", any(claim.tpm is not None for claim in self.claims))
        ordered_once = len(self.targets) < 2 or self.strategy == "priority"
        object.__setattr__(self, "order", (*self.targets, *self.fallback) if ordered_once else None)
        attended = self.hedge is not None or self.owed_tokens > 0 or self.on_disconnect == "drain"
        object.__setattr__(self, "attended", attended)

    def accepts(self, headers: Mapping[bytes, str], prompt_tokens: int, path: str | None, tenant: str) -> bool:
        """Whether the conditions beside the model's name hold. path: None where any will do."""
        if self.tenants is not None and not self.tenants(tenant):
            return False
        if self.paths is not None and path is not None and not self.paths(path):
            return False
        if prompt_tokens < self.min_prompt_tokens:
            return False
        if self.max_prompt_tokens is not None and prompt_tokens > self.max_prompt_tokens:
            return False
        return all(name in headers and matches(headers[name]) for name, matches in self.headers)


@attrs.frozen
class KeyPlan:
    """One key, ready to be checked: predicates instead of globs, an instant instead of a date.

    Attributes:
        holders: the scopes of its tenant and of itself, with a budget or not; budgets: the terms of those that have one, and scopes, their
            scopes. counts_tokens: some limit of it, or of its tenant, is one of tokens.
    """

    tenant: str
    id: str
    expires_at: float | None
    tenant_models: Callable[[str], bool]
    key_models: Callable[[str], bool]
    tenant_routes: Callable[[str], bool]
    key_routes: Callable[[str], bool]
    pin: bool
    claims: tuple[Claim, ...] = ()
    budgets: tuple[Terms, ...] = ()
    scopes: tuple[str, ...] = attrs.field(init=False)
    holders: tuple[str, ...] = attrs.field(init=False)
    counts_tokens: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "counts_tokens", any(claim.tpm is not None for claim in self.claims))
        object.__setattr__(self, "scopes", tuple(one.scope for one in self.budgets))
        object.__setattr__(self, "holders", (tenant_scope(self.tenant), key_scope(self.tenant, self.id)))

    def may_use(self, model: str) -> bool:
        return self.tenant_models(model) and self.key_models(model)

    def may_route(self, route: str) -> bool:
        return self.tenant_routes(route) and self.key_routes(route)


@attrs.frozen
class Resolved:
    """Where a request goes: the route, the model's name after aliases, and the choices (all of them, unordered).

    Attributes:
        why: what led there: `route` (its patterns), `prefix` (`backend/model`), `vendor` (one claims the name), `pin` (X-Provider).
        narrowed: why choices of the route are left out, in words. prompt_tokens: estimated, 0 where no route looks at it.
        assigned: its variant, where it takes part in an experiment; `route` is that variant's then.
    """

    route: RoutePlan
    model: str
    why: str = "route"
    narrowed: tuple[str, ...] = ()
    prompt_tokens: int = 0
    assigned: Assigned | None = None

    def told(self, record: RequestRecord) -> dict[str, object]:
        """As what was decided of a request (`core.record.Told`): the route's targets were asked in its own order."""
        from appliance.gateway.decision import Decision  # made of what is here

        return Decision(self, self.route.order or ()).told(record)

    def within(self, variant: Assigned) -> "Resolved":
        """The same request in a variant of its route's experiment. Field by field: this is done whenever another user asks."""
        return Resolved(variant.route, self.model, self.why, (*self.narrowed, variant.why), self.prompt_tokens, variant)


@attrs.frozen
class Plan:
    """A configuration compiled.

    Attributes:
        named: model names that stand in the file; only these may become metric labels as requested.
        needs_headers: whether any route looks at request headers; most plans do not, and then nobody decodes them.
        needs_prompt: whether any route looks at the prompt's length.
        claims: by backend, whether its vendor serves a bare name.
        tenancy: who may call, of the file and of the store. keys: the same, by SHA-256 of the secret.
    """

    config: Config
    upstreams: Mapping[str, Upstream]
    routes: tuple[RoutePlan, ...]
    direct: Mapping[str, RoutePlan]
    claims: tuple[tuple[str, Callable[[str], bool]], ...]
    tenancy: Tenancy
    keys: Mapping[bytes, KeyPlan]
    anonymous: KeyPlan | None
    pricing: "Pricing"
    named: frozenset[str]
    needs_headers: bool
    needs_prompt: bool

    def resolve(
        self, requested: str, headers: Mapping[bytes, str], prompt_tokens: int, path: str | None = None, tenant: str = ""
    ) -> Resolved | Fault:
        """Look a model up: aliases, routes (first match), `backend/model`, then the one backend whose vendor claims the bare name.

        Args:
            path: of the request; None where any will do.
        """
        model = self.unalias(requested)
        for route in self.routes:
            if route.matches(model) and route.accepts(headers, prompt_tokens, path, tenant):
                return Resolved(route, model, prompt_tokens=prompt_tokens)
        prefix, slash, rest = model.partition("/")
        if slash and rest and prefix in self.direct:
            return Resolved(self.direct[prefix], rest, "prefix")
        claiming = [name for name, claims in self.claims if claims(model)]
        if len(claiming) == 1:
            return Resolved(self.direct[claiming[0]], model, "vendor")
        if claiming:
            names = ", ".join(sorted(claiming)[:5])
            return Fault(
                FaultKind.UNKNOWN_MODEL, param="model", code="model_not_found",
                message=f"the model {_shown(requested)} could go to several backends ({names}): write backend/model, or add a route for it",
            )  # fmt: skip
        return Fault(
            FaultKind.UNKNOWN_MODEL, param="model", code="model_not_found",
            message=f"no route knows the model {_shown(requested)}; GET /v1/models lists what this key may use",
        )  # fmt: skip

    def unalias(self, model: str) -> str:
        aliases = self.config.aliases
        for _ in range(ALIAS_DEPTH_MAX):
            if model not in aliases:
                break
            model = aliases[model]
        return model

    def served_models(self) -> list[str]:
        """Bare names of every model that a target names, so that their metric series exist before the first request."""
        targets = [target for route in self.routes for target in (*route.targets, *route.fallback)]
        targets += [target for route in self.routes if route.experiment is not None for target in route.experiment.targets()]
        return list(dict.fromkeys(target.served_name("") for target in targets if target.label or target.model))

    def pinned(self, resolved: Resolved | Fault, requested: str, backend: str) -> Resolved | Fault:
        """Only the choices on one backend; the backend directly when no route knows the model, or the route has none on it."""
        if backend not in self.upstreams:
            return Fault(FaultKind.BAD_REQUEST, f"X-Provider names no configured backend: {_shown(backend)}", param="X-Provider")
        if isinstance(resolved, Fault):
            return Resolved(self.direct[backend], self.unalias(requested), "pin")
        chosen = tuple(one for one in (*resolved.route.targets, *resolved.route.fallback) if one.upstream.name == backend)
        if not chosen:
            return Resolved(self.direct[backend], resolved.model, "pin")
        route = attrs.evolve(resolved.route, targets=chosen, fallback=(), weights=tuple(one.weight for one in chosen))
        return attrs.evolve(resolved, route=route, narrowed=(f"X-Provider: only {backend}",))

    def budgets(self) -> Iterable[Terms]:
        """Of every key and its tenant."""
        return {one.scope: one for key in self.keys.values() for one in key.budgets}.values()

    def listed_models(self, key: KeyPlan) -> list[str]:
        """The models this key may ask for by name: aliases, exact route names, and targets' models that a wildcard route lets through."""
        names: dict[str, None] = dict.fromkeys(self.config.aliases)
        for route, settings in zip(self.routes, self.config.routes, strict=True):
            if not key.may_route(route.name) or (route.tenants is not None and not route.tenants(key.tenant)):
                continue
            for pattern in settings.models:
                if "*" not in pattern and "?" not in pattern:
                    names[pattern] = None
            names.update((one.model, None) for one in route.targets if one.model and route.matches(one.model))
        for name, settings_of in self.config.backends.items():
            if key.may_route(DIRECT):
                names.update((f"{name}/{model}", None) for model in settings_of.models if "*" not in model and "?" not in model)
        return [name for name in names if key.may_use(name)]


def compile_keys(tenancy: Tenancy) -> dict[bytes, KeyPlan]:
    """Every secret that opens the door. Some 10 microseconds each: of thousands it is better made in a thread."""
    return {one.sha256: _key(one.tenant, tenancy.tenants[one.tenant], one.key, one.until) for one in tenancy.secrets}


def with_tenancy(plan: Plan, tenancy: Tenancy, keys: Mapping[bytes, KeyPlan]) -> Plan:
    """The same plan for other callers."""
    return attrs.evolve(plan, tenancy=tenancy, keys=keys, anonymous=anonymous_key(plan.config, tenancy))


def anonymous_key(config: Config, tenancy: Tenancy) -> KeyPlan | None:
    """Callers without a key are let in where the operator says so, and where nobody has one: until the first tenant is named anywhere."""
    if config.server.auth == "none" or tenancy.empty:
        return _key("anonymous", Tenant(), Key(id="anonymous", sha256=""), None)
    return None


def _key(tenant_name: str, tenant: Tenant, key: Key, expires_at: float | None) -> KeyPlan:
    return KeyPlan(
        tenant=tenant_name,
        id=key.id,
        expires_at=expires_at,
        tenant_models=compile_globs(tenant.models),
        key_models=compile_globs(key.models),
        tenant_routes=compile_globs(tenant.routes),
        key_routes=compile_globs(key.routes),
        pin=tenant.pin,
        claims=claims_of("tenant", tenant_name, tenant) + claims_of("key", key.id, key),
        budgets=terms_of(tenant_scope(tenant_name), tenant.budget) + terms_of(key_scope(tenant_name, key.id), key.budget),
    )


def _shown(text: str) -> str:
    """A caller's word inside an error: quoted, printable and short."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
