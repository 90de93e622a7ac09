"""Changes of tenants and keys: each one transaction with its entry in the audit, or nothing.

The rule: what the file names is the file's. Settings come here checked (`config.tenancy_input`).
"""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import attrs
import orjson

from appliance.config.schema import Config
from appliance.config.secret import Secret
from appliance.store.audit import Note, write_audit
from appliance.store.moment import iso_or_none
from appliance.store.secret_key import digest_of, prefix_of
from appliance.store.tenancy import KEY_COLUMNS, StoredKey, StoredTenant, find_key, find_tenant
from appliance.store.transaction import writing

TENANTS_MAX = 10_000
KEYS_MAX = 10_000
"""Of all tenants, revoked ones among them: each takes room in the memory of the gateway, and the ledger tells no more names apart."""

REVOKED_MAX = 1_000
"""Revoked keys that are still listed; those revoked first are forgotten."""

T = TypeVar("T")


@attrs.frozen
class Denied:
    """Why a change was not made. kind: there is no such thing; it is the file's, or is in another state; there are too many."""

    kind: Literal["missing", "conflict", "full"]
    message: str


@attrs.frozen
class Named:
    """What the file names. keys: ids, each with its tenant."""

    tenants: frozenset[str] = frozenset()
    keys: Mapping[str, str] = attrs.field(factory=dict)


def named_in(config: Config) -> Named:
    return Named(frozenset(config.tenants), {key.id: name for name, tenant in config.tenants.items() for key in tenant.keys})


def create_tenant(
    connection: sqlite3.Connection, note: Note, named: Named, name: str, settings: Mapping[str, Any]
) -> StoredTenant | Denied:
    def change() -> StoredTenant | Denied:
        if name in named.tenants:
            return _files_tenant(name)
        if find_tenant(connection, name) is not None:
            return Denied("conflict", f"there is a tenant {name!r} already")
        if _count(connection, "tenants") >= TENANTS_MAX:
            return Denied("full", f"the store has {TENANTS_MAX} tenants, which is the most")
        now = int(note.now)
        tenant = StoredTenant(name, _json(settings), now, now)
        connection.execute("INSERT INTO tenants VALUES (?, ?, ?, ?)", attrs.astuple(tenant))
        write_audit(connection, note, "tenant.create", name, None, settings)
        return tenant

    return _whole(connection, change)


def replace_tenant(
    connection: sqlite3.Connection, note: Note, named: Named, name: str, settings: Mapping[str, Any], seen: str | None = None
) -> StoredTenant | Denied:
    """Other settings. seen: those that they were made from, where the change must not undo somebody else's."""

    def change() -> StoredTenant | Denied:
        if name in named.tenants:
            return _files_tenant(name)
        tenant = find_tenant(connection, name)
        if tenant is None:
            return _no_tenant(name)
        if seen is not None and tenant.settings != seen:
            return Denied("conflict", f"somebody else has just changed the tenant {name!r}: look again, and repeat")
        new = attrs.evolve(tenant, settings=_json(settings), updated_at=int(note.now))
        connection.execute("UPDATE tenants SET settings = ?, updated_at = ? WHERE name = ?", (new.settings, new.updated_at, name))
        write_audit(connection, note, "tenant.set", name, tenant.given, settings)
        return new

    return _whole(connection, change)


def remove_tenant(connection: sqlite3.Connection, note: Note, named: Named, name: str) -> list[str] | Denied:
    """The tenant and its keys; their ids. What it used stays in the ledger."""

    def change() -> list[str] | Denied:
        if name in named.tenants:
            return _files_tenant(name)
        tenant = find_tenant(connection, name)
        if tenant is None:
            return _no_tenant(name)
        keys = [key_id for (key_id,) in connection.execute("SELECT id FROM keys WHERE tenant = ? ORDER BY id", (name,))]
        connection.execute("DELETE FROM keys WHERE tenant = ?", (name,))
        connection.execute("DELETE FROM tenants WHERE name = ?", (name,))
        write_audit(connection, note, "tenant.remove", name, {**tenant.given, "keys": keys}, None)
        return keys

    return _whole(connection, change)


def create_key(
    connection: sqlite3.Connection, note: Note, named: Named, tenant: str, key_id: str, settings: Mapping[str, Any],
    expires_at: int | None, secret: Secret,
) -> StoredKey | Denied:  # fmt: skip
    """A key for a tenant of the file or of the store."""

    def change() -> StoredKey | Denied:
        if tenant not in named.tenants and find_tenant(connection, tenant) is None:
            return _no_tenant(tenant)
        if key_id in named.keys:
            return _files_key(key_id)
        if (taken := find_key(connection, key_id)) is not None:
            words = ", revoked; usage is kept under its name" if taken.revoked_at is not None else ""
            return Denied("conflict", f"there is a key {key_id!r} already (tenant {taken.tenant!r}{words}): give another id")
        if _count(connection, "keys") >= KEYS_MAX:
            return Denied("full", f"the store has {KEYS_MAX} keys, which is the most")
        key = StoredKey(key_id, tenant, digest_of(secret), prefix_of(secret), _json(settings), int(note.now), expires_at)
        marks = ", ".join("?" * len(attrs.fields(StoredKey)))
        connection.execute(f"INSERT INTO keys ({KEY_COLUMNS}) VALUES ({marks})", attrs.astuple(key))
        write_audit(connection, note, "key.create", key_id, None, _told(key))
        return key

    return _whole(connection, change)


def revoke_key(connection: sqlite3.Connection, note: Note, named: Named, key_id: str) -> StoredKey | Denied:
    """It stops working, and so does the secret that it was rotated from. Revoking it again changes nothing."""

    def change() -> StoredKey | Denied:
        key = _changeable(connection, named, key_id)
        if isinstance(key, Denied) or key.revoked_at is not None:
            return key
        new = attrs.evolve(key, revoked_at=int(note.now), previous_sha256=None, previous_prefix=None, previous_until=None)
        _update(connection, new)
        spare = _count(connection, "keys WHERE revoked_at IS NOT NULL") - REVOKED_MAX
        if spare > 0:
            oldest = "SELECT id FROM keys WHERE revoked_at IS NOT NULL ORDER BY revoked_at, id LIMIT ?"
            connection.execute(f"DELETE FROM keys WHERE id IN ({oldest})", (spare,))
        write_audit(connection, note, "key.revoke", key_id, _told(key), _told(new))
        return new

    return _whole(connection, change)


def rotate_key(
    connection: sqlite3.Connection, note: Note, named: Named, key_id: str, grace_s: float, secret: Secret
) -> StoredKey | Denied:
    """Another secret for the same key; the one it had works for `grace_s` more. One from an earlier rotation ends now."""

    def change() -> StoredKey | Denied:
        key = _changeable(connection, named, key_id)
        if isinstance(key, Denied):
            return key
        if key.revoked_at is not None:
            return Denied("conflict", f"the key {key_id!r} is revoked: make a new one")
        if key.expires_at is not None and key.expires_at <= note.now:
            return Denied("conflict", f"the key {key_id!r} has expired: make a new one")
        keeps = grace_s > 0
        new = attrs.evolve(
            key, sha256=digest_of(secret), prefix=prefix_of(secret), previous_sha256=key.sha256 if keeps else None,
            previous_prefix=key.prefix if keeps else None, previous_until=int(note.now + grace_s) if keeps else None,
        )  # fmt: skip
        _update(connection, new)
        write_audit(connection, note, "key.rotate", key_id, _told(key), _told(new))
        return new

    return _whole(connection, change)


def _changeable(connection: sqlite3.Connection, named: Named, key_id: str) -> StoredKey | Denied:
    if key_id in named.keys:
        return _files_key(key_id)
    key = find_key(connection, key_id)
    return Denied("missing", f"there is no key {key_id!r}") if key is None else key


def _update(connection: sqlite3.Connection, key: StoredKey) -> None:
    names = "sha256", "prefix", "revoked_at", "previous_sha256", "previous_prefix", "previous_until"
    values = [getattr(key, name) for name in names]
    connection.execute(f"UPDATE keys SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?", (*values, key.id))


def _told(key: StoredKey) -> dict[str, Any]:
    """Of a key, for the audit: neither a secret nor a hash."""
    return {
        "tenant": key.tenant, "prefix": key.prefix, **key.given, "expires": iso_or_none(key.expires_at),
        "revoked_at": iso_or_none(key.revoked_at), "previous_prefix": key.previous_prefix,
        "previous_until": iso_or_none(key.previous_until),
    }  # fmt: skip


def _whole(connection: sqlite3.Connection, change: Callable[[], T]) -> T:
    """All of a change or none of it: one that is denied has written nothing yet. Raises sqlite3.Error."""
    with writing(connection):
        return change()


def _count(connection: sqlite3.Connection, what: str) -> int:
    (count,) = connection.execute(f"SELECT count(*) FROM {what}").fetchone()
    return int(count)


def _json(settings: Mapping[str, Any]) -> str:
    return orjson.dumps(settings).decode()


def _no_tenant(name: str) -> Denied:
    return Denied("missing", f"there is no tenant {name!r}, neither in the file nor in the store")


def _files_tenant(name: str) -> Denied:
    return Denied("conflict", f"the tenant {name!r} is in the configuration file, which alone says what it is: change it there")


def _files_key(key_id: str) -> Denied:
    return Denied("conflict", f"the key {key_id!r} is in the configuration file, which alone says what it is: change it there")
