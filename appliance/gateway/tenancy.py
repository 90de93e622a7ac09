"""Who may call: the tenants and keys of the file, and those of the store beside them.

The rule: file beats store. A tenant that both name is the file's, and so is a key's id; a key of the store belongs to a tenant of either.
A key inherits by being bounded: what its tenant may not, it may not, and the tenant's limits and budget count for all of its keys together;
nothing is copied into it, so that a change of the tenant holds for each of them.
"""

from collections.abc import Mapping

import attrs

from appliance.config.problem import Problem
from appliance.config.report import problem_text
from appliance.config.schema import Config
from appliance.config.tenancy import Key, Tenant
from appliance.config.tenancy_input import key_of, tenant_of
from appliance.store.tenancy import Stored, StoredKey, StoredTenant
from appliance.store.tenancy_change import named_in
from appliance.store.tenancy_desk import void_because


@attrs.frozen
class Secret:
    """What opens the door for a key: by its hash, until a time. Most keys have one; one that was rotated has two for a while."""

    sha256: bytes = attrs.field(repr=False)
    tenant: str
    key: Key
    until: float | None


@attrs.frozen
class Tenancy:
    """All of it, whoever named it.

    Attributes:
        stored: what the store had. known: false while the store could not be read: then nobody is let in without a key.
        problems: what of the store does not count, and why; a line each.
    """

    tenants: Mapping[str, Tenant]
    secrets: tuple[Secret, ...] = attrs.field(repr=False)
    stored: Stored = attrs.field(factory=Stored, repr=False)
    known: bool = True
    problems: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Nobody is named anywhere: callers of this machine need no key then."""
        return self.known and not self.tenants


Memory = dict[object, Tenant | Key | tuple[Problem, ...]]
"""Settings that were read before, by what they were read from; for thousands of keys of which one has changed."""


def tenancy_of(config: Config, stored: Stored | None, memory: Memory | None = None) -> Tenancy:
    """The file and the store as one. `stored` is None where the store cannot be read."""
    tenants: dict[str, Tenant] = dict(config.tenants)
    secrets = [
        Secret(bytes.fromhex(key.sha256), name, key, None if key.expires is None else key.expires.timestamp())
        for name, tenant in config.tenants.items()
        for key in tenant.keys
    ]
    if stored is None:
        return Tenancy(tenants, tuple(secrets), known=False)
    reader = _Reader(config, {} if memory is None else memory)
    for one in stored.tenants:
        if one.name not in config.tenants and (tenant := reader.tenant(one)) is not None:
            tenants[one.name] = tenant
    named, there = named_in(config), frozenset(tenants)
    taken = {secret.sha256 for secret in secrets}
    for key in stored.keys:
        if key.revoked_at is not None:
            continue
        void = void_because(key, named, there)
        if void:
            reader.problems.append(f"the key {key.id} of tenant {key.tenant} does not count: {void}")
        elif (settings := reader.key(key)) is not None:
            secrets += [secret for secret in _secrets(key, settings) if secret.sha256 not in taken]
    if memory is not None:
        memory.clear()
        memory.update(reader.seen)
    return Tenancy(tenants, tuple(secrets), stored, True, tuple(reader.problems))


@attrs.define
class _Reader:
    config: Config
    before: Memory
    seen: Memory = attrs.field(factory=dict)
    problems: list[str] = attrs.field(factory=list)

    def tenant(self, stored: StoredTenant) -> Tenant | None:
        at = (stored.name, stored.settings)
        found = self.seen[at] = self.before.get(at) or tenant_of(stored.name, stored.given, self.config)
        if isinstance(found, Tenant):
            return found
        self._strange(f"the tenant {stored.name}", found)
        return None

    def key(self, stored: StoredKey) -> Key | None:
        at = (stored.tenant, stored.id, stored.settings)
        found = self.seen[at] = self.before.get(at) or key_of(stored.tenant, stored.id, stored.given, self.config)
        if isinstance(found, Key):
            return found
        self._strange(f"the key {stored.id}", found)
        return None

    def _strange(self, what: str, found: object) -> None:
        words = "; ".join(problem_text(one) for one in found) if isinstance(found, tuple) else "no such settings"
        self.problems.append(f"{what} in the store has settings that this version does not know, and does not count: {words}")


def _secrets(stored: StoredKey, key: Key) -> list[Secret]:
    until = stored.expires_at
    found = [Secret(stored.sha256, stored.tenant, key, until)]
    if stored.previous_sha256 is not None and stored.previous_until is not None:
        ends = stored.previous_until if until is None else min(until, stored.previous_until)
        found.append(Secret(stored.previous_sha256, stored.tenant, key, ends))
    return found
