"""Rules about tenants, their keys and budgets, and prices."""

import re
from collections.abc import Iterator

from appliance.config.problem import Finding, Steps, meant, quoted, written
from appliance.config.rules.scene import Rule, Scene, ill_globs, ill_named
from appliance.config.tenancy import Budget, Key, Tenant
from appliance.config.zone import meant_zone, zone
from appliance.core.glob import compile_globs

SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def keys(scene: Scene) -> Iterator[Finding]:
    ids: dict[str, Steps] = {}
    hashes: dict[str, Steps] = {}
    for steps, key in _keys(scene):
        yield from ill_named(key.id, (*steps, "id"), "a key's id")
        if key.id in ids:
            yield Finding((*steps, "id"), f"{quoted(key.id)} is taken by {written(ids[key.id])}", "an id of its own, across all tenants")
        ids.setdefault(key.id, steps)
        digest = key.sha256.lower()
        if not SHA256.fullmatch(digest):  # not shown: it may be the key itself, pasted in the wrong place
            yield Finding((*steps, "sha256"), "is no SHA-256", "64 hexadecimal digits: printf %s KEY | sha256sum")
        elif digest in hashes:
            yield Finding((*steps, "sha256"), f"is the key of {written(hashes[digest])} too", "a key of its own")
        hashes.setdefault(digest, steps)


def scopes(scene: Scene) -> Iterator[Finding]:
    for steps, holder in _holders(scene):
        yield from ill_globs(holder.models, (*steps, "models"))
        yield from ill_globs(holder.routes, (*steps, "routes"))
        yield from _no_such_route(scene, holder.routes, (*steps, "routes"))


def _no_such_route(scene: Scene, patterns: tuple[str, ...], steps: Steps) -> Iterator[Finding]:
    routes = [route.name for route in scene.config.routes]
    for index, pattern in enumerate(patterns):
        if pattern != "*" and not any(map(compile_globs([pattern]), routes)) and not scene.incomplete("routes"):
            yield Finding((*steps, index), f"{quoted(pattern)} matches no route", hint=meant(pattern, routes), grave=False)


def budgets(scene: Scene) -> Iterator[Finding]:
    for steps, holder in _holders(scene):
        if holder.budget is not None:
            yield from _budget(holder.budget, (*steps, "budget"))


def _budget(budget: Budget, steps: Steps) -> Iterator[Finding]:
    if budget.usd <= 0:
        yield Finding((*steps, "usd"), f"is {budget.usd!r}", "a number above 0 (USD)")
    if zone(budget.timezone) is None:
        unknown = f"{quoted(budget.timezone)} is no known time zone"
        yield Finding((*steps, "timezone"), unknown, 'an IANA name like "Europe/Berlin"', meant_zone(budget.timezone))


def tenant_names(scene: Scene) -> Iterator[Finding]:
    for name in scene.config.tenants:
        yield from ill_named(name, ("tenants", name), "a tenant's name")


def _keys(scene: Scene) -> Iterator[tuple[Steps, Key]]:
    for name, tenant in scene.config.tenants.items():
        for index, key in enumerate(tenant.keys):
            yield ("tenants", name, "keys", index), key


def _holders(scene: Scene) -> Iterator[tuple[Steps, Tenant | Key]]:
    for name, tenant in scene.config.tenants.items():
        yield ("tenants", name), tenant
    yield from _keys(scene)


RULES: tuple[Rule, ...] = (tenant_names, keys, scopes, budgets)
