"""Opening the store's file: made where there is none, brought to this version's schema, refused where that cannot be.

The rule: a file that is not certainly ours and whole is left as it is; what is wrong with it comes back as a `StoreFault`.
"""

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from appliance.store.fault import StoreFault, fault_of
from appliance.store.schema import APPLICATION_ID, MIGRATIONS, VERSION

BUSY_WAIT_S = 5.0
"""How long a command waits for another writer. A group commit takes milliseconds; a backup does not lock writers out."""

CACHE_KIB = 2048
"""Pages that one connection keeps; the newest month's last pages and the day's sums are what is written to."""

WAL_KEPT_BYTES = 16_777_216
"""A write-ahead log that a long reader let grow is cut to this at the next checkpoint."""

CHECKPOINT_PAGES = 1000
"""Pages of the write-ahead log after which a commit copies them into the file (SQLite's own default, 4 MB): what bounds the log."""


TURN_AGAIN_S = 0.02


def open_database(path: Path, *, busy_s: float = BUSY_WAIT_S, make: bool = True) -> sqlite3.Connection | StoreFault:
    """A connection in autocommit mode: `BEGIN IMMEDIATE` starts a transaction that writes. It may be used by any thread, one at a time.

    Args:
        make: whether to make the file (and its folder) where there is none; else that is a fault.
    """
    try:
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
            _make(path)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", timeout=busy_s, isolation_level=None, check_same_thread=False, uri=True
        )
    except (OSError, sqlite3.Error) as error:
        return fault_of(error, str(path))
    try:
        fault = _made_ready(connection, path, busy_s)
    except sqlite3.Error as error:
        fault = fault_of(error, str(path))
    if fault is not None:
        connection.close()
        return fault
    return connection


def _make(path: Path) -> None:
    """An empty file that its owner alone may read: usage and hashes of keys are nobody else's affair.

    One that is there is not even opened: closing it would drop every POSIX lock that this process's connections hold on it (fcntl(2)), and
    another process that closes the database would take itself for the last one and delete the write-ahead log under us.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _turn_to_wal(connection: sqlite3.Connection, busy_s: float) -> None:
    """Of two that turn a new file at once SQLite refuses one on the spot, whatever its timeout: to wait could be a deadlock."""
    until = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= until:
                raise
            time.sleep(TURN_AGAIN_S)


def _made_ready(connection: sqlite3.Connection, path: Path, busy_s: float) -> StoreFault | None:
    fault = _not_ours(connection, path)
    if fault is not None:
        return fault
    _turn_to_wal(connection, busy_s)
    connection.execute("PRAGMA synchronous = FULL")  # each group commit reaches the disk: a power cut takes no more than the running one
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    return _migrated(connection, path)


def _not_ours(connection: sqlite3.Connection, path: Path) -> StoreFault | None:
    """Read before anything is written, in one transaction: another process may be making the file right now."""
    connection.execute("BEGIN")
    try:
        application, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        used = application or version or connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if application != APPLICATION_ID and used:
        return StoreFault("foreign", f"{path} is another program's SQLite file; name another file in store.path")
    if version > VERSION:
        return StoreFault("newer", newer(path, version))
    return None


def newer(path: Path, version: int) -> str:
    """What is said of a file that a later version wrote."""
    words = f"was written by a later version of this program (schema {version}, this one knows {VERSION})"
    return f"{path} {words}: start that version, or restore a backup that is older"


def _migrated(connection: sqlite3.Connection, path: Path) -> StoreFault | None:
    while _pragma(connection, "user_version") != VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = _pragma(connection, "user_version")  # another process may have been here first
            if version > VERSION:
                connection.execute("ROLLBACK")
                return _not_ours(connection, path)
            if version < VERSION:
                for statement in MIGRATIONS[version].split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return None


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
