"""The writer: follows the journal into the database, one round at a time, in a thread of its own.

A round moves what was settled, lets old segments go, has the next one ready, forgets months whose time is over, and so finds out whether
all that works. The rule: what does not work is tried again in the next round, and nothing leaves the journal before it is committed.
"""

import contextlib
import os
import sqlite3
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import attrs

from appliance.config.schema import Store
from appliance.store.database import open_database
from appliance.store.explanations import Explanations
from appliance.store.fault import StoreFault, fault_of
from appliance.store.frame import SETTLED, arrays_of, scan
from appliance.store.journal import Journal
from appliance.store.names import Names
from appliance.store.recovery import recover
from appliance.store.retention import Retention
from appliance.store.row import LedgerRow
from appliance.store.tables import DAY_S, Tables

CHUNK_BYTES = 131_072
"""Of the journal, taken in one transaction: some 400 rows. A longer one only makes a failed one dearer."""

ROWS_AT_ONCE = 500

LOCK_WAIT_S = 2.0
"""How long another program may hold the database before that counts as a failure."""

Say = Callable[..., None]
"""`say(level, event, **fields)` writes a line of the operator's log, from any thread."""


@attrs.define(eq=False)
class Writer:
    """See the module.

    Attributes:
        settings: the [store] table, its path absolute.
        explanations: what is kept of single requests beside the ledger. retention: when something may be forgotten.
        overflow: rows that found no room in the journal, appended by whoever settles.
        left: segments of an earlier run, not recovered yet.
        fault: what the last round found; None when all was well.
        rows: added to the database; moved: those among them that were settled in this run; errors: rounds that failed.
        last_id: the largest ledger id that was seen.
    """

    settings: Store
    journal: Journal
    wall_clock: Callable[[], float]
    say: Say
    explanations: Explanations
    retention: Retention
    overflow: deque[LedgerRow] = attrs.field(factory=deque, repr=False)
    left: list[Path] = attrs.field(factory=list)
    fault: StoreFault | None = None
    rows: int = 0
    moved: int = 0
    errors: int = 0
    last_id: int = 0
    _held: list[LedgerRow] = attrs.field(factory=list, repr=False)
    _tables: Tables | None = None
    _file: tuple[int, int] | None = None
    _doubted: bool = False

    @property
    def path(self) -> Path:
        return Path(self.settings.path)

    @property
    def serves(self) -> bool:
        return self.settings.on_failure == "serve"

    def round(self) -> None:
        """Everything once. Raises nothing for what can be wrong with a disk or a file: that is `fault` then."""
        fault: StoreFault | None = StoreFault("unwritable", f"{self.path}: the writer failed; the log has the details")
        try:
            followed, spared = self._followed(), self._spared()
            fault = followed or spared
        finally:
            if fault is not None:
                self.fail(fault)
            else:
                self._say_change(None)
                self.fault = None

    def fail(self, fault: StoreFault) -> None:
        """Nothing works but what is in the journal, until a round finds otherwise."""
        self.errors += 1
        self.detach()
        if fault.kind == "corrupt" and self.serves:
            self._set_aside(fault)
        self._say_change(fault)
        self.fault = fault

    def detach(self) -> None:
        """Close the database; the next round opens it again."""
        if self._tables is not None:
            with contextlib.suppress(sqlite3.Error):
                self._tables.connection.close()
            self._tables = None

    def _followed(self) -> StoreFault | None:
        """The database has everything that is settled."""
        try:
            tables = self._attached()
            if isinstance(tables, StoreFault):
                return tables
            self._move_overflow(tables)
            while self._move_journal(tables):
                pass
            self.journal.drop_taken(synced=self.settings.durability == "power")
            self.explanations.write(tables.connection)
            self._retain(tables)
        except (sqlite3.Error, OSError) as error:
            return fault_of(error, str(self.path))
        return None

    def _spared(self) -> StoreFault | None:
        """The journal has its next segment, unless there are as many as may be: what that means is for whoever opens to say."""
        try:
            self.journal.make_spare()
        except OSError as error:
            return fault_of(error, f"the journal beside {self.path}")
        return None

    def _attached(self) -> Tables | StoreFault:
        """The file that is there; opened anew where it was lost or is another one."""
        here = _identity(self.path)
        if self._tables is not None and here == self._file:
            return self._tables
        if self._file is not None and here is None and not self.serves:
            return StoreFault("unwritable", f"{self.path} was removed while in use: put it back, or restart to begin an empty one")
        self.detach()
        connection = open_database(self.path, busy_s=LOCK_WAIT_S)
        if isinstance(connection, StoreFault):
            return connection
        here = _identity(self.path)
        if self._file is not None and here != self._file:
            self.say("error", "ledger_replaced", path=str(self.path), found="the file is not the one that was in use")
        self._file = here
        self._tables = tables = Tables(connection, Names(self.settings.names_max))
        fault = self._recovered(tables)
        self.last_id = max(self.last_id, tables.last_id())
        return fault or tables

    def _recovered(self, tables: Tables) -> StoreFault | None:
        if not self.left:
            return None
        done = recover(self.left, tables, self._stamp())
        if isinstance(done, StoreFault):
            return done
        self.left = []
        self.rows += done.settled + done.estimated
        if done.damaged or done.aside:
            self.say("error", "journal_damaged", damaged_bytes=done.damaged, kept=[str(path) for path in done.aside])
        if done.settled or done.estimated or done.torn:
            self.say("warning", "ledger_recovered", settled=done.settled, estimated=done.estimated, torn_bytes=done.torn)
        return None

    def _move_overflow(self, tables: Tables) -> None:
        """Rows that found no room in the journal."""
        while self.overflow or self._held:
            while self.overflow and len(self._held) < ROWS_AT_ONCE:
                self._held.append(self.overflow.popleft())
            self.rows += tables.add(self._held)
            self.moved += len(self._held)
            self._held = []

    def _move_journal(self, tables: Tables) -> bool:
        """The next part of the journal. False when the database has everything."""
        for segment in self.journal.segments():
            data = segment.fresh(CHUNK_BYTES)
            if not data:
                continue
            found = scan(data, 0, SETTLED)
            if found.damaged or not found.end:
                self.say("error", "journal_damaged", damaged_bytes=found.damaged or len(data), kept=[])
            rows = [*map(LedgerRow._make, arrays_of(payload for _, payload in found.entries))]  # all are of this run: no field is missing
            if rows:
                self.rows += tables.add(rows)
                self.moved += len(rows)
            segment.taken += found.end or len(data)
            return True
        return False

    def _retain(self, tables: Tables) -> None:
        due = self.retention.due(self.last_id / 1e6, lambda moment: tables.last_id(max(0, int(moment * 1e6))) / 1e6)
        if self.retention.doubted is not self._doubted:
            self._doubted = self.retention.doubted
            if self._doubted:
                words = "it does not go on from the newest rows, or has jumped: nothing is forgotten until it has run evenly for a day"
                self.say("warning", "clock_doubted", newest_row=self._stamp(self.last_id / 1e6), problem=words)
        if not due:
            return
        self.explanations.forget(tables.connection)
        gone = tables.drop_before(self.wall_clock() - self.settings.retention_days * DAY_S)
        if gone:
            self.say("info", "ledger_retention", dropped=gone)

    def _set_aside(self, fault: StoreFault) -> None:
        """A damaged file is kept, with its write-ahead log; the next round begins a new one."""
        kept = f"{self.path}.corrupt-{self._stamp()}"
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.rename(f"{self.path}{end}", f"{kept}{end}")
        self._file = None
        self.say("error", "ledger_corrupt", problem=fault.message, kept=kept, begun="an empty one: what was spent before is not known")

    def _say_change(self, fault: StoreFault | None) -> None:
        before = self.fault
        if fault is not None and (before is None or before.kind != fault.kind):
            self.say("error", "ledger_failing", kind=fault.kind, problem=fault.message, on_failure=self.settings.on_failure)
        elif fault is None and before is not None:
            self.say("warning", "ledger_works_again", rows=self.rows)

    def _stamp(self, moment: float | None = None) -> str:
        return datetime.fromtimestamp(self.wall_clock() if moment is None else moment, UTC).strftime("%Y%m%dT%H%M%S")


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is; None when there is none."""
    try:
        about = os.stat(path)
    except FileNotFoundError:
        return None
    return about.st_dev, about.st_ino
