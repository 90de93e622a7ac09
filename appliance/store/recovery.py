"""What a killed process left in the journal, brought into the database.

The rule: nothing there is lost and nothing counts twice. Settled rows are added where they are missing; a request that was opened and
never settled may have been billed, so it becomes a row that costs what was reserved, marked as an estimate. Only then the files go, the
oldest first; one with damage in it is kept aside.
"""

from collections.abc import Iterable
from pathlib import Path

import attrs

from appliance.store.fault import StoreFault
from appliance.store.frame import HEAD_BYTES, MAGIC, OPENED, SETTLED, Scan, scan, values_of
from appliance.store.row import LedgerRow, Opened, recovered
from appliance.store.tables import Tables

ROWS_AT_ONCE = 2000


@attrs.define
class Left:
    """What the files hold.

    Attributes:
        rows: settled. opened: requests without an end, by ledger id; ended: the ids of all others.
        torn, damaged: bytes, see `frame.Scan`; unreadable: good frames that are no entry this version knows.
        aside: files with damage in them.
    """

    rows: list[LedgerRow] = attrs.field(factory=list)
    opened: dict[int, Opened] = attrs.field(factory=dict)
    ended: set[int] = attrs.field(factory=set)
    torn: int = 0
    damaged: int = 0
    unreadable: int = 0
    aside: list[Path] = attrs.field(factory=list)


def read_left(paths: Iterable[Path]) -> Left | StoreFault:
    """Read the segments, in any order; they may be in use. Raises OSError."""
    left = Left()
    for path in paths:
        fault = _read(path, left)
        if fault is not None:
            return fault
    return left


def _read(path: Path, left: Left) -> StoreFault | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:  # a running gateway has dropped it: the database has what was in it
        return None
    if data[: HEAD_BYTES - 1] == MAGIC[:-1] and data[:HEAD_BYTES] != MAGIC:
        words = "was written by another version of this program: let that one start and stop once"
        return StoreFault("newer", f"{path} {words}")
    found = _whole(data)
    unreadable = _enter(left, found)
    left.torn += found.torn
    left.damaged += found.damaged
    left.unreadable += unreadable
    if found.damaged or unreadable:
        left.aside.append(path)
    return None


def _whole(data: bytes) -> Scan:
    if data.startswith(MAGIC) or not data.strip(b"\0"):
        return scan(data)
    found = scan(data, 0)  # its head is gone; what follows may be whole
    return found if found.damaged else attrs.evolve(found, damaged=found.torn)


def _enter(left: Left, found: Scan) -> int:
    """How many entries made no sense."""
    unreadable = 0
    for kind, payload in found.entries:
        try:
            values = values_of(payload)
            if kind == OPENED:
                entry = Opened(*values)
                if entry.id not in left.ended:
                    left.opened[entry.id] = entry
                continue
            ledger_id = values[0]
            if kind == SETTLED:
                left.rows.append(LedgerRow(*values))
            left.opened.pop(ledger_id, None)
            left.ended.add(ledger_id)
        except (TypeError, ValueError, IndexError):
            unreadable += 1
    return unreadable


@attrs.frozen
class Recovered:
    """settled: rows that were missing; estimated: those that never ended. torn, damaged: bytes; aside: where damaged files are now."""

    settled: int = 0
    estimated: int = 0
    torn: int = 0
    damaged: int = 0
    aside: tuple[Path, ...] = ()


def add_left(left: Left, tables: Tables) -> Recovered:
    """Add what is missing. Raises sqlite3.Error; all of it can be done again."""
    settled = _added(left.rows, tables)
    estimated = _added([recovered(one) for one in left.opened.values()], tables)
    return Recovered(settled, estimated, left.torn, left.damaged)


def _added(rows: list[LedgerRow], tables: Tables) -> int:
    return sum(tables.add(rows[begin : begin + ROWS_AT_ONCE]) for begin in range(0, len(rows), ROWS_AT_ONCE))


def recover(paths: list[Path], tables: Tables, stamp: str) -> Recovered | StoreFault:
    """Bring everything into the database, then let the files go. Raises OSError and sqlite3.Error; all of it can be done again.

    Args:
        stamp: the time, for the names of files that are kept aside.
    """
    left, settled = Left(), 0
    for path in paths:
        fault = _read(path, left)
        if fault is not None:
            return fault
        settled += _added(left.rows, tables)  # a file at a time: all of them may have a million rows
        left.rows.clear()
    done = add_left(left, tables)
    aside = []
    for path in paths:
        if path in left.aside:
            kept = path.with_name(path.name.replace(".journal-", f".damaged-{stamp}-"))
            path.rename(kept)
            aside.append(kept)
        else:
            path.unlink(missing_ok=True)
    return attrs.evolve(done, settled=settled, aside=tuple(aside))
