"""Tenants and keys as operators handle them, on the command line and in the admin API: from what they give to what they are told.

The rule: what is given is checked whole before anything is written, and what is told holds a secret only where it was just made.
"""

import math
import sqlite3
from collections.abc import Mapping
from typing import Any

import attrs

from appliance.config.problem import Problem
from appliance.config.schema import Config
from appliance.config.tenancy import Key, Tenant
from appliance.config.tenancy_input import key_of, settings_of, shown, tenant_of
from appliance.store.audit import Note
from appliance.store.moment import iso, iso_or_none
from appliance.store.secret_key import new_key_id, new_secret
from appliance.store.tenancy import Stored, StoredKey, StoredTenant, find_tenant, read_stored
from appliance.store.tenancy_change import (
    Denied,
    Named,
    create_key,
    create_tenant,
    named_in,
    remove_tenant,
    replace_tenant,
    revoke_key,
    rotate_key,
)

GRACE_S = 86_400.0
"""How long a rotated secret works on, unless told otherwise: a day, for those who deploy in the morning."""

GRACE_MAX_S = 30 * 86_400.0

View = dict[str, Any]
"""JSON-ready."""


@attrs.frozen
class Invalid:
    """What is wrong with what was given; never empty."""

    problems: tuple[Problem, ...]


@attrs.frozen
class Desk:
    """One look or one change. Each method may raise sqlite3.Error; nothing was changed then."""

    connection: sqlite3.Connection
    config: Config
    note: Note

    @property
    def named(self) -> Named:
        return named_in(self.config)

    def all_tenants(self) -> list[View]:
        """Every tenant, of the file and of the store, by name."""
        return tenant_views(self.config, read_stored(self.connection), self.note.now)

    def tenant(self, name: str) -> View | Denied:
        found = next((one for one in self.all_tenants() if one["name"] == name), None)
        return Denied("missing", f"there is no tenant {name!r}") if found is None else found

    def create_tenant(self, name: str, given: Mapping[str, Any]) -> View | Denied | Invalid:
        tenant = tenant_of(name, given, self.config)
        if isinstance(tenant, tuple):
            return Invalid(tenant)
        done = create_tenant(self.connection, self.note, self.named, name, settings_of(tenant))
        return done if isinstance(done, Denied) else self._told(done, tenant)

    def replace_tenant(self, name: str, given: Mapping[str, Any]) -> View | Denied | Invalid:
        """All settings anew: what is not given is back at its default."""
        tenant = tenant_of(name, given, self.config)
        if isinstance(tenant, tuple):
            return Invalid(tenant)
        done = replace_tenant(self.connection, self.note, self.named, name, settings_of(tenant))
        return done if isinstance(done, Denied) else self._told(done, tenant)

    def change_tenant(self, name: str, given: Mapping[str, Any]) -> View | Denied | Invalid:
        """Those settings that are given; None for one that is to be as if never set. Of a budget the parts that are given."""
        before = find_tenant(self.connection, name)
        if before is None or name in self.named.tenants:
            return self.replace_tenant(name, {})  # says why not
        settings = before.given
        for setting, value in given.items():
            known = settings.get(setting)
            settings[setting] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
        tenant = tenant_of(name, settings, self.config)
        if isinstance(tenant, tuple):
            return Invalid(tenant)
        done = replace_tenant(self.connection, self.note, self.named, name, settings_of(tenant), before.settings)
        return done if isinstance(done, Denied) else self._told(done, tenant)

    def remove_tenant(self, name: str) -> View | Denied:
        keys = remove_tenant(self.connection, self.note, self.named, name)
        return keys if isinstance(keys, Denied) else {"name": name, "removed_keys": keys}

    def all_keys(self, tenant: str | None = None) -> list[View]:
        """Every key, of the file and of the store, by tenant and id."""
        views = key_views(self.config, read_stored(self.connection), self.note.now)
        return [one for one in views if tenant is None or one["tenant"] == tenant]

    def key(self, key_id: str) -> View | Denied:
        """A key of that id that counts goes before one of the store that is shadowed by it."""
        found = [one for one in self.all_keys() if one["id"] == key_id]
        found.sort(key=lambda one: one["source"] == "store")
        return found[0] if found else Denied("missing", f"there is no key {key_id!r}")

    def create_key(self, tenant: str, key_id: str | None, given: Mapping[str, Any]) -> View | Denied | Invalid:
        """The view of a new key with its secret, as `key`."""
        key_id = new_key_id() if key_id is None else key_id
        key = key_of(tenant, key_id, given, self.config)
        if isinstance(key, tuple):
            return Invalid(key)
        expires_at = None if key.expires is None else math.floor(key.expires.timestamp())
        if expires_at is not None and expires_at <= self.note.now:
            return Invalid((Problem("expires", f"{iso(expires_at)} is past", "a time to come"),))
        secret = new_secret()
        done = create_key(self.connection, self.note, self.named, tenant, key_id, settings_of(key), expires_at, secret)
        return done if isinstance(done, Denied) else {"key": secret.reveal(), **_key_view(done, key, self.note.now, "")}

    def revoke_key(self, key_id: str) -> View | Denied:
        done = revoke_key(self.connection, self.note, self.named, key_id)
        return done if isinstance(done, Denied) else self._key(done)

    def rotate_key(self, key_id: str, grace_s: float = GRACE_S) -> View | Denied | Invalid:
        """The view with the new secret, as `key`."""
        if not 0 <= grace_s <= GRACE_MAX_S:
            return Invalid((Problem("grace_s", f"is {grace_s!r}", f"0 to {GRACE_MAX_S:.0f} seconds"),))
        secret = new_secret()
        done = rotate_key(self.connection, self.note, self.named, key_id, grace_s, secret)
        return done if isinstance(done, Denied) else {"key": secret.reveal(), **self._key(done)}

    def rotate_key_of(self, tenant: str, key_id: str | None, grace_s: float = GRACE_S) -> View | Denied | Invalid:
        """The same for the one key that a tenant has in the store; a tenant that has none gets its first."""
        if tenant not in self.named.tenants and find_tenant(self.connection, tenant) is None:
            return Denied("missing", f"there is no tenant {tenant!r}, neither in the file nor in the store")
        live = [one["id"] for one in self.all_keys(tenant) if one["source"] == "store" and one["state"] == "active"]
        if key_id is None and len(live) > 1:
            return Denied("conflict", f"the tenant {tenant!r} has several keys ({', '.join(live[:5])}): say which with id")
        if key_id is not None and key_id not in live:
            return Denied("missing", f"the tenant {tenant!r} has no active key {key_id!r} in the store")
        if not live:
            return self.create_key(tenant, None, {})
        return self.rotate_key(key_id or live[0], grace_s)

    def _told(self, stored: StoredTenant, tenant: Tenant) -> View:
        counted = [one for one in self.all_keys(stored.name) if one["state"] == "active"]
        return _tenant_view(stored.name, tenant, len(counted), stored)

    def _key(self, stored: StoredKey) -> View:
        key = _loaded_key(stored, self.config)
        return _key_view(stored, key, self.note.now, self._why_void(stored))

    def _why_void(self, stored: StoredKey) -> str:
        return void_because(stored, self.named, frozenset(one.name for one in read_stored(self.connection).tenants))


def tenant_views(config: Config, stored: Stored, now: float) -> list[View]:
    active: dict[str, int] = {}
    for one in key_views(config, stored, now):
        if one["state"] == "active":
            active[one["tenant"]] = active.get(one["tenant"], 0) + 1
    views = [_tenant_view(name, tenant, active.get(name, 0), None) for name, tenant in config.tenants.items()]
    for one_stored in stored.tenants:
        if one_stored.name not in config.tenants:
            tenant = tenant_of(one_stored.name, one_stored.given, config)
            whole = Tenant() if isinstance(tenant, tuple) else tenant
            views.append(_tenant_view(one_stored.name, whole, active.get(one_stored.name, 0), one_stored))
    return sorted(views, key=lambda one: str(one["name"]))


def key_views(config: Config, stored: Stored, now: float) -> list[View]:
    named, there = named_in(config), frozenset(one.name for one in stored.tenants)
    views = [_files_key_view(name, key, now) for name, tenant in config.tenants.items() for key in tenant.keys]
    views += [_key_view(one, _loaded_key(one, config), now, void_because(one, named, there)) for one in stored.keys]
    return sorted(views, key=lambda one: (str(one["tenant"]), str(one["id"])))


def void_because(key: StoredKey, named: Named, there: frozenset[str]) -> str:
    """Why a key of the store does not count, whatever its own state: `shadowed` by one of the file, `no tenant`; empty where it does."""
    if key.id in named.keys:
        return "shadowed"
    return "" if key.tenant in named.tenants or key.tenant in there else "no tenant"


def _loaded_key(stored: StoredKey, config: Config) -> Key:
    key = key_of(stored.tenant, stored.id, stored.given, config)
    return Key(id=stored.id, sha256="") if isinstance(key, tuple) else key


def _tenant_view(name: str, tenant: Tenant, keys: int, stored: StoredTenant | None) -> View:
    return {
        "name": name, "source": "file" if stored is None else "store", **shown(tenant), "active_keys": keys,
        "created_at": None if stored is None else iso(stored.created_at),
        "updated_at": None if stored is None else iso(stored.updated_at),
    }  # fmt: skip


def _key_view(stored: StoredKey, key: Key, now: float, void: str) -> View:
    rotated = stored.previous_until is not None and stored.previous_until > now
    return {
        "id": stored.id, "tenant": stored.tenant, "prefix": stored.prefix, "source": "store",
        "state": "revoked" if stored.revoked_at is not None else void or _aged(stored.expires_at, now), **shown(key),
        "created_at": iso(stored.created_at), "expires": iso_or_none(stored.expires_at), "revoked_at": iso_or_none(stored.revoked_at),
        "last_used_at": iso_or_none(stored.last_used_at),
        "rotated_from": {"prefix": stored.previous_prefix, "until": iso_or_none(stored.previous_until)} if rotated else None,
    }  # fmt: skip


def _files_key_view(tenant: str, key: Key, now: float) -> View:
    expires_at = None if key.expires is None else key.expires.timestamp()
    return {
        "id": key.id, "tenant": tenant, "prefix": None, "source": "file", "state": _aged(expires_at, now), **shown(key),
        "created_at": None, "expires": iso_or_none(expires_at), "revoked_at": None, "last_used_at": None, "rotated_from": None,
    }  # fmt: skip


def _aged(expires_at: float | None, now: float) -> str:
    return "expired" if expires_at is not None and expires_at <= now else "active"
