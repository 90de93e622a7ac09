"""The embedded ledger: a journal that requests are written into, and a SQLite file that follows it.

Two threads. The one that answers requests calls what `protocol.Ledger` has, none of which waits. Another calls `commit` every now and
then, one call at a time.

The rule: what stands in the journal is safe. While the writer fails, `on_failure` decides whether further requests are let in; nothing
is thrown away except rows that found room neither in the journal nor in memory, and those are counted.
"""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from appliance.config.schema import Store
from appliance.store.explanations import Explanations
from appliance.store.fault import StoreFault, fault_of
from appliance.store.frame import OPENED, SETTLED, frame, scan, values_of
from appliance.store.journal import Journal
from appliance.store.protocol import LedgerStatus
from appliance.store.retention import Retention
from appliance.store.row import LedgerRow, Opened
from appliance.store.segment import segment_paths
from appliance.store.writer import Say, Writer

FATAL = frozenset({"newer", "foreign", "in_use"})
"""What waiting cannot mend, and nothing may be written over: the gateway does not start."""

LOCK_TRIES, LOCK_TRY_S = 10, 0.1
"""A command may look for a moment whether the store is in use, and the gateway before this one may be about to end."""

FATAL_WHERE_REFUSED = frozenset({"corrupt", "unwritable"})
"""The same where requests are refused without a ledger: an operator had better hear of it at once. A full or locked disk may pass."""


@attrs.define(eq=False)
class EmbeddedLedger:
    """See `protocol.Ledger`.

    Attributes:
        settings: the [store] table, its path absolute.
        wall_clock: seconds since the epoch. monotonic: seconds that no setting of a clock changes.
        defer: whether what it is given will be called soon, in the thread that answers requests and before further answers leave: ends are
            written together then.
    """

    settings: Store
    wall_clock: Callable[[], float]
    say: Say
    monotonic: Callable[[], float] = time.monotonic
    defer: Callable[[Callable[[], None]], bool] = lambda _: False
    journal: Journal = attrs.field(init=False)
    writer: Writer = attrs.field(init=False)
    explanations: Explanations = attrs.field(init=False)
    _refuses: bool = attrs.field(init=False)
    _last_id: int = 0
    _settled: int = 0
    _lost: int = 0
    _lock_fd: int = -1

    def __attrs_post_init__(self) -> None:
        settings = self.settings
        self._refuses = settings.on_failure == "refuse"
        self.journal = Journal(Path(settings.path), settings.journal_segment_bytes, settings.journal_segments_max, 1)
        self.explanations = Explanations(settings.explain, self.wall_clock, self.say)
        retention = Retention(self.wall_clock, self.monotonic)
        self.writer = Writer(settings, self.journal, self.wall_clock, self.say, self.explanations, retention)

    def new_id(self, wall: float) -> int:
        # The writer's, too: a database that could not be read at the start may know of later ones than a clock that was set back.
        self._last_id = found = max(self._last_id + 1, self.writer.last_id + 1, int(wall * 1e6))
        return found

    def open(self, entry: Opened) -> StoreFault | None:
        fault = self.writer.fault
        if fault is not None and self._refuses:
            return fault
        try:
            if self.journal.open(entry.id, frame(OPENED, entry)):
                return None
        except OSError as error:
            fault = fault_of(error, self.settings.path)
        if not self._refuses:
            return None
        words = f"the journal beside {self.settings.path} is full: requests come faster than it is emptied"
        return fault or StoreFault("journal_full", words)

    def settle(self, row: LedgerRow) -> None:
        self._settled += 1
        data = frame(SETTLED, row)
        journal = self.journal
        # A stream's last event has left already, and whoever has read it is to find its row whatever happens now.
        hold = not row.stream and (bool(journal.held) or self.defer(self.flush))
        try:
            if journal.settle(row.id, data, hold=hold):
                return
        except OSError:
            pass
        self._keep(data)

    def flush(self) -> None:
        """Ends that are held go into the journal. In the thread that answers requests."""
        try:
            self.journal.flush()
        except OSError:
            for data in self.journal.let_go():
                self._keep(data)

    def _keep(self, data: bytes) -> None:
        """In memory, as far as there is room, what the journal does not take."""
        if len(self.writer.overflow) < self.settings.queue_rows_max:
            self.writer.overflow.extend(LedgerRow(*values_of(payload)) for _, payload in scan(data, 0).entries)  # as the journal has it
        else:
            self._lost += 1

    def release(self, ledger_id: int) -> None:
        with contextlib.suppress(OSError):  # not written: after a kill it would count as it was reserved
            self.journal.release(ledger_id)

    def spent(self, scope: str, period_start: int) -> int:
        try:
            with contextlib.closing(sqlite3.connect(f"{Path(self.settings.path).as_uri()}?mode=ro", uri=True)) as connection:
                query = "SELECT spent_nusd FROM spend WHERE scope = ? AND period_start = ?"
                row = connection.execute(query, (scope, period_start)).fetchone()
        except sqlite3.Error:
            return 0
        return int(row[0]) if row is not None else 0

    def status(self) -> LedgerStatus:
        writer = self.writer
        queued = max(0, self._settled - writer.moved - self._lost)
        fault = writer.fault
        open_ = len(self.journal.opened)
        return LedgerStatus(writer.rows, queued, self._lost, writer.errors + self._lost, open_, fault, fault is not None and self._refuses)

    @property
    def settled(self) -> int:
        """Rows that were settled in this run."""
        return self._settled

    def has(self, settled: int) -> bool:
        """Whether the database has the first `settled` of those, or never will."""
        return self.writer.moved + self._lost >= settled

    def start(self) -> StoreFault | None:
        """Take the store: nobody else may, and what a killed process left is brought in. A fault where the gateway must not start."""
        self.commit()
        fault = self.writer.fault
        if fault is not None and (fault.kind in FATAL or (self._refuses and fault.kind in FATAL_WHERE_REFUSED)):
            self.close()
            return fault
        self.journal.begin()
        self.commit()  # with the next segment ready
        return None

    @property
    def pending(self) -> bool:
        """Whether `commit` has something to do."""
        writer, journal = self.writer, self.journal
        if self.explanations.due:
            return True
        return writer.fault is not None or self._settled != writer.moved + self._lost or journal.spare is None or bool(journal.sealed)

    def commit(self) -> None:
        """One round of the writer, in whichever thread; one at a time. The store is taken first, as soon as its folder lets us."""
        fault = self._lock() if self._lock_fd < 0 else None
        if fault is not None:
            self.writer.fail(fault)
        else:
            self.writer.round()

    def sync(self) -> None:
        """Everything written to the journal before this call is on the disk after it. Raises OSError."""
        self.journal.sync()

    def close(self) -> None:
        """The end of a run, after the last request."""
        if self._lock_fd < 0:
            return
        self.flush()
        if self.writer.fault is None:
            self.explanations.every_s = 0.0
            self.commit()
        self.journal.close()
        self.writer.detach()
        os.close(self._lock_fd)
        self._lock_fd = -1

    def _lock(self) -> StoreFault | None:
        """One gateway per store: a journal has one who appends. Whose it is finds out what an earlier one left."""
        path = Path(self.settings.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            return fault_of(error, str(path))
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(LOCK_TRY_S)
                continue
            self._lock_fd = fd
            left = segment_paths(path)
            self.writer.left = [one for _, one in left]
            self.journal.next_number = left[-1][0] + 1 if left else 1
            return None
        os.close(fd)
        return StoreFault("in_use", f"{path} is in use by another gateway: give this one a store.path of its own")
