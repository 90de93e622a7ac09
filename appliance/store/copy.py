"""A consistent copy of the store while a gateway writes to it, and a look at whether a store is sound.

The rule: both only read. A copy has every request that had settled when it was begun, also those that stand in the journal alone.
"""

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path

import attrs

from appliance.store.database import BUSY_WAIT_S, newer, open_database
from appliance.store.fault import StoreFault, fault_of
from appliance.store.names import Names
from appliance.store.recovery import Left, add_left, read_left
from appliance.store.schema import APPLICATION_ID, VERSION
from appliance.store.segment import segment_paths
from appliance.store.tables import Tables, rows_tables

NAMES_MAX = 1_000_000
"""A copy takes the names that the journal's rows have; how many there may be is the gateway's affair."""

PROBLEMS_MAX = 20


@attrs.frozen
class Copied:
    """rows: in the copy; journaled: those of them that the database did not have yet; estimated: requests whose process was killed."""

    rows: int
    journaled: int
    estimated: int


def back_up(path: Path, target: Path, *, replace: bool = False) -> Copied | StoreFault:
    """Write a copy of the store at `path` to `target`, which is whole or not there at all.

    Args:
        replace: whether a file that is there may be replaced.
    """
    if target.exists() and path.exists() and target.samefile(path):
        return StoreFault("unwritable", f"{target} is the store itself")
    if target.exists() and not replace:
        return StoreFault("unwritable", f"{target} exists already")
    working = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        # Before the database: what leaves the journal meanwhile is there. The newest first: what is written meanwhile leaves no gap.
        left = read_left([one for _, one in reversed(segment_paths(path))])
        if isinstance(left, StoreFault):
            return left
        fault = _copied(path, working)
        if in_use(path):
            left.opened.clear()  # they will say themselves what becomes of them
        found = fault or _with_journal(working, left)
        if isinstance(found, Copied):
            _sync(working)
            for end in ("-wal", "-shm"):
                Path(f"{target}{end}").unlink(missing_ok=True)  # of the one that it replaces: they would be taken for its own
            working.replace(target)
        return found
    except (sqlite3.Error, OSError) as error:
        fault = fault_of(error, str(target))
        return fault_of(error, str(path)) if fault.kind == "corrupt" else fault  # damage was copied, too
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            Path(f"{working}{end}").unlink(missing_ok=True)


def _copied(path: Path, working: Path) -> StoreFault | None:
    try:
        source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_WAIT_S)
    except sqlite3.Error as error:
        return fault_of(error, str(path))
    with contextlib.closing(source):
        try:
            fault = _sound_head(source, path)
        except sqlite3.Error as error:
            return fault_of(error, str(path))
        if fault is not None:
            return fault
        os.close(os.open(working, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(working)) as copy:
            source.backup(copy)  # in one step: one moment of it, and no writer waits
    return None


def _with_journal(working: Path, left: Left) -> Copied | StoreFault:
    connection = open_database(working, make=False)
    if isinstance(connection, StoreFault):
        return connection
    with contextlib.closing(connection):
        done = add_left(left, Tables(connection, Names(NAMES_MAX)))
        rows = sum(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in rows_tables(connection))
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
    return Copied(rows, done.settled, done.estimated)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@attrs.frozen
class Checked:
    """What a look at a store found.

    Attributes:
        problems: sentences; empty when it is sound. damaged: the database itself is; else it is another's, or only the journal is.
        version: of its schema; rows: single ones.
    """

    problems: tuple[str, ...]
    damaged: bool = False
    version: int = 0
    rows: int = 0


def check(path: Path) -> Checked:
    """Look at the whole store. It may be in use: one moment of it is looked at."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_WAIT_S, isolation_level=None)
    except sqlite3.Error as error:
        return Checked((fault_of(error, str(path)).message,))
    with contextlib.closing(connection):
        try:
            fault = _sound_head(connection, path)
            if fault is None:
                connection.execute("BEGIN")
                return _checked(connection, path)
        except (sqlite3.Error, OSError) as error:
            fault = fault_of(error, str(path))
    return Checked((fault.message,), fault.kind == "corrupt")


def _sound_head(connection: sqlite3.Connection, path: Path) -> StoreFault | None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        return StoreFault("foreign", f"{path} is not a store of this program")
    if version > VERSION:
        return StoreFault("newer", newer(path, version))
    return None


def _checked(connection: sqlite3.Connection, path: Path) -> Checked:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    found = [text for (text,) in connection.execute(f"PRAGMA integrity_check({PROBLEMS_MAX})")]
    problems = [] if found == ["ok"] else [f"{path}: {line}" for text in found for line in text.splitlines()][:PROBLEMS_MAX]
    tables = rows_tables(connection)
    rows = nusd = 0
    for table in tables:
        count, cost = connection.execute(f"SELECT count(*), coalesce(sum(cost_nusd), 0) FROM {table}").fetchone()
        rows, nusd = rows + count, nusd + cost
    summed, cost = connection.execute("SELECT coalesce(sum(requests), 0), coalesce(sum(cost_nusd), 0) FROM daily").fetchone()
    if not problems and (summed < rows or cost < nusd):  # more than the rows they may be: sums outlive them
        problems.append(f"{path}: the daily sums have {summed} requests and {cost} nano-USD, the rows {rows} and {nusd}")
    damaged = bool(problems)
    left = read_left([one for _, one in segment_paths(path)])
    if isinstance(left, StoreFault):
        problems.append(left.message)
    elif left.damaged or left.unreadable:
        names = ", ".join(str(one) for one in left.aside)
        problems.append(f"the journal is damaged in {left.damaged} bytes and {left.unreadable} entries ({names})")
    return Checked(tuple(problems), damaged, version, rows)


def in_use(path: Path) -> bool:
    """Whether a gateway has the store."""
    try:
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False
