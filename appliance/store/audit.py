"""Who changed which tenant or key, when, and how.

The rule: an entry is written in the transaction of the change it tells of, and holds no secret and no hash of one. So the last entry's
number is also the revision of all tenants and keys: whoever has seen it has seen every change.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any

import attrs
import orjson

from appliance.store.moment import iso

AUDIT_MAX = 10_000
"""Entries kept; the oldest go."""

PAGE_MAX = 1000


@attrs.frozen
class Note:
    """Who does something, and when.

    Attributes:
        actor: `cli:USER`, or `admin:` and how and from where the admin API was reached.
        now: seconds since the epoch.
    """

    actor: str
    now: float


def write_audit(
    connection: sqlite3.Connection, note: Note, action: str, target: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> None:
    """Inside the transaction of the change. before, after: what was and is set; None where there was or is nothing."""
    detail = orjson.dumps({"before": before, "after": after}).decode()
    connection.execute(
        "INSERT INTO audit (at_ms, actor, action, target, detail) VALUES (?, ?, ?, ?, ?)",
        (int(note.now * 1000), note.actor, action, target, detail),
    )
    connection.execute("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?", (AUDIT_MAX,))


def revision(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("SELECT coalesce(max(id), 0) FROM audit").fetchone()
    return int(number)


def read_audit(connection: sqlite3.Connection, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """The newest entries, JSON-ready, the newest first; `before` is the number of an entry, for the next page."""
    rows = connection.execute(
        "SELECT id, at_ms, actor, action, target, detail FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?",
        (2**63 - 1 if before is None else before, limit),
    )
    return [
        {"id": number, "at": iso(at_ms / 1000), "actor": actor, "action": action, "target": target, **orjson.loads(detail)}
        for number, at_ms, actor, action, target, detail in rows
    ]
