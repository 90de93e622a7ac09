"""Tenants and keys as the store has them.

The rule: settings are kept as they were given, checked, in JSON; what is not there is the program's default, resolved at load. Keys' ids
are unique across all tenants, as in the file, since limits, logs and usage know them by it.
"""

import sqlite3
from typing import Any

import attrs
import orjson

from appliance.store.audit import revision
from appliance.store.transaction import reading, writing


@attrs.frozen
class StoredTenant:
    """settings: JSON; times in seconds since the epoch."""

    name: str
    settings: str
    created_at: int
    updated_at: int

    @property
    def given(self) -> dict[str, Any]:
        """The settings as values."""
        return dict(orjson.loads(self.settings))


@attrs.frozen
class StoredKey:
    """One key.

    Attributes:
        settings: JSON.
        sha256: of the secret. prefix: its first characters.
        previous_sha256, previous_prefix, previous_until: of the secret before the last rotation, which still works until then.
    """

    id: str
    tenant: str
    sha256: bytes = attrs.field(repr=False)
    prefix: str
    settings: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
    previous_sha256: bytes | None = attrs.field(default=None, repr=False)
    previous_prefix: str | None = None
    previous_until: int | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The settings as values, but for `expires`."""
        return dict(orjson.loads(self.settings))


TENANT_COLUMNS = ", ".join(field.name for field in attrs.fields(StoredTenant))
KEY_COLUMNS = ", ".join(field.name for field in attrs.fields(StoredKey))


@attrs.frozen
class Stored:
    """All of them at one instant. revision: another one means that something has changed, but for `last_used_at`."""

    revision: int = 0
    tenants: tuple[StoredTenant, ...] = ()
    keys: tuple[StoredKey, ...] = ()


def read_stored(connection: sqlite3.Connection) -> Stored:
    """Raises sqlite3.Error."""
    with reading(connection):
        return Stored(
            revision(connection),
            tuple(StoredTenant(*row) for row in connection.execute(f"SELECT {TENANT_COLUMNS} FROM tenants ORDER BY name")),
            tuple(StoredKey(*row) for row in connection.execute(f"SELECT {KEY_COLUMNS} FROM keys ORDER BY tenant, id")),
        )


def find_tenant(connection: sqlite3.Connection, name: str) -> StoredTenant | None:
    row = connection.execute(f"SELECT {TENANT_COLUMNS} FROM tenants WHERE name = ?", (name,)).fetchone()
    return None if row is None else StoredTenant(*row)


def find_key(connection: sqlite3.Connection, key_id: str) -> StoredKey | None:
    row = connection.execute(f"SELECT {KEY_COLUMNS} FROM keys WHERE id = ?", (key_id,)).fetchone()
    return None if row is None else StoredKey(*row)


def note_used(connection: sqlite3.Connection, used: dict[str, float]) -> None:
    """When each key was last used, in seconds since the epoch. Keys that are not in the store are passed over. Raises sqlite3.Error."""
    with writing(connection):
        connection.executemany(
            "UPDATE keys SET last_used_at = ?2 WHERE id = ?1 AND coalesce(last_used_at, 0) < ?2",
            [(key_id, int(at)) for key_id, at in used.items()],
        )
