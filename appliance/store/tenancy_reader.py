"""Noticing that tenants or keys in the store have changed, whoever changed them.

The rule: looking costs next to nothing while nothing has changed. SQLite's own counter tells whether anybody has written at all; the ledger
does so all the time, so the audit's last number tells whether it was about tenants or keys.
"""

import contextlib
import os
import sqlite3
from pathlib import Path

import attrs

from appliance.store.audit import revision
from appliance.store.database import open_database
from appliance.store.fault import StoreFault, fault_of
from appliance.store.tenancy import Stored, note_used, read_stored

LOCK_WAIT_S = 2.0
"""How long a writer may keep us; only noting uses waits for one."""


@attrs.define(eq=False)
class TenancyReader:
    """One connection, for one thread at a time.

    Attributes:
        last: what was read last; None before the first time.
        replaced: the file is one begun anew, without tenants and keys; what was read before that is kept, and nothing is known where that
            was nothing.
    """

    path: Path
    last: Stored | None = None
    replaced: bool = False
    _connection: sqlite3.Connection | None = None
    _file: tuple[int, int] | None = None
    _written: int = -1
    _seen: int = -1

    def look(self) -> Stored | StoreFault | None:
        """All of it where something has changed, None where nothing has."""
        try:
            connection = self._attached()
            if isinstance(connection, StoreFault):
                return connection
            (written,) = connection.execute("PRAGMA data_version").fetchone()
            if written == self._written:
                return None
            found = None
            if revision(connection) != self._seen:
                found = self._read(connection)
            self._written = written
            return found
        except sqlite3.Error as error:
            self.close()
            return fault_of(error, str(self.path))

    def note_used(self, used: dict[str, float]) -> StoreFault | None:
        try:
            connection = self._attached()
            if isinstance(connection, StoreFault):
                return connection
            note_used(connection, used)
        except sqlite3.Error as error:
            self.close()
            return fault_of(error, str(self.path))
        return None

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _read(self, connection: sqlite3.Connection) -> Stored | None:
        """A file that lost every trace of tenants and keys was begun anew, by us or by somebody: nobody revoked them. Where a damaged one
        was set aside (see `writer`) and this one has nothing yet, there may have been some."""
        found = read_stored(connection)
        self._seen = found.revision
        had_some = self.last is not None and (self.last.tenants or self.last.keys)
        self.replaced = not found.revision and (bool(had_some) or any(self.path.parent.glob(f"{self.path.name}.corrupt-*")))
        if self.replaced:
            return None
        self.last = found
        return found

    def _attached(self) -> sqlite3.Connection | StoreFault:
        """Opened anew where the file is another one."""
        here = _identity(self.path)
        if self._connection is not None and here == self._file:
            return self._connection
        self.close()
        connection = open_database(self.path, busy_s=LOCK_WAIT_S, make=False)
        if isinstance(connection, StoreFault):
            return connection
        if (here := _identity(self.path)) != self._file:
            self._file, self._seen = here, -1
        self._connection, self._written = connection, -1
        return connection


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
