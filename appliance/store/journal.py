"""The journal: where a request is written down while it runs, so that killing the process at any point leaves it explained.

An entry is one `pwrite` into a file of fixed size: it is in the kernel's hands when the call returns, and survives the process. Ends may be
held for a moment, so that several go in one call; if the process is killed meanwhile, what was written when their requests began explains
them. When a segment is full the next one, made beforehand, takes over, and everything still open is written into it again; so a segment
can be deleted as soon as the database has what was settled in it, the oldest first.

The rule: one thread appends (`open`, `settle`, `release`); one other thread takes (`sealed`, `drop_taken`, `make_spare`). What both touch
is a single reference or a deque, each changed in one step.
"""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import attrs

from appliance.store.frame import RELEASED, frame
from appliance.store.segment import Segment, make_segment

SETTLED_RESERVE_BYTES = 1024
"""Room kept for the end of every open request, so that it can be written whatever happens to the disk meanwhile: the row of a request
with a handful of attempts and long names."""

HELD_MAX = 64
"""Ends that are held at once; one more goes into the file with all of them."""


@attrs.define(eq=False)
class Journal:
    """The segments of this run.

    Attributes:
        database: the file they lie beside.
        opened: the entries of open requests as they were written, by ledger id; opened_bytes: their size together.
        held: ends that go into the file with what is appended next, or by `flush`; held_bytes: their size together.
        wake: called when the thread that takes has something to do at once.
    """

    database: Path
    segment_bytes: int
    segments_max: int
    next_number: int
    wake: Callable[[], None] = lambda: None
    current: Segment | None = None
    spare: Segment | None = None
    sealed: deque[Segment] = attrs.field(factory=deque)
    opened: dict[int, bytes] = attrs.field(factory=dict, repr=False)
    opened_bytes: int = 0
    held: list[bytes] = attrs.field(factory=list, repr=False)
    held_bytes: int = 0
    _files: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    # The side that appends.

    def open(self, ledger_id: int, data: bytes) -> bool:
        """Append the entry of a request that begins. False when there is no room for it and for its end."""
        segment, size = self.current, len(data)
        reserve = (len(self.opened) + 1) * SETTLED_RESERVE_BYTES
        if segment is None or segment.at + self.held_bytes + size + reserve > segment.size:
            segment = self._with_room(size, reserve)
            if segment is None:
                return False
        self._append(segment, data)
        self.opened[ledger_id] = data
        self.opened_bytes += size
        return True

    def settle(self, ledger_id: int, data: bytes, *, hold: bool = False) -> bool:
        """Append the end of a request, or hold it until `flush`, which is then to be called soon. False when there is no room, which only
        happens to ends that are much longer than foreseen."""
        segment = self.current
        try:
            if segment is None or segment.at + self.held_bytes + len(data) > segment.size:
                segment = self._rotated(len(data))  # with what the request wrote when it began, which is to explain it until then
        finally:
            opened = self.opened.pop(ledger_id, None)
            if opened is not None:
                self.opened_bytes -= len(opened)
        if segment is None:
            return False
        if hold and len(self.held) < HELD_MAX:
            self.held.append(data)
            self.held_bytes += len(data)
        else:
            self._append(segment, data)
        return True

    def release(self, ledger_id: int) -> bool:
        """An opened request is void. One that is not open here leaves nothing."""
        return ledger_id not in self.opened or self.settle(ledger_id, frame(RELEASED, (ledger_id,)))

    def flush(self) -> None:
        """What is held goes into the file. Raises OSError: it is held still."""
        if self.held and self.current is not None:
            self._append(self.current, b"")

    def let_go(self) -> list[bytes]:
        """What is held, which is the caller's to keep from now on."""
        held, self.held, self.held_bytes = self.held, [], 0
        return held

    def _append(self, segment: Segment, data: bytes) -> None:
        """Behind what is held. Raises OSError: neither is in the file then."""
        if self.held:
            segment.write(b"".join((*self.held, data)))
            self.let_go()
        else:
            segment.write(data)

    def _with_room(self, size: int, reserve: int) -> Segment | None:
        """The segment for an entry that the current one cannot take with everything it has to keep room for."""
        current, spare = self.current, self.spare
        if spare is None:
            return None
        if current is not None and current.at + self.held_bytes + size <= current.size:
            # Ends that do not fit into this one go into the next, behind what is open by then; the last bytes here may fit none.
            left = current.size - current.at - self.held_bytes - size - SETTLED_RESERVE_BYTES
            if max(0, left) + spare.size - spare.at - self.opened_bytes - size >= reserve:
                return current
        return self._rotated(size + reserve)

    def _rotated(self, size: int) -> Segment | None:
        """The next segment, with all that is open; None when there is none, or that alone would fill it."""
        spare = self.spare
        if spare is None or spare.at + self.opened_bytes + size > spare.size:
            return None
        self.flush()
        if self.opened:
            spare.write(b"".join(self.opened.values()))
        if self.current is not None:
            self.sealed.append(self.current)
        self.current, self.spare = spare, None
        self.wake()
        return spare

    def begin(self) -> None:
        """Have a segment to write into, if the disk has room for one; before the two sides part."""
        if self.current is None:
            self._rotated(0)

    # The side that takes.

    def make_spare(self) -> bool:
        """Have the next segment ready. False when as many exist as may. Raises OSError where the disk has no room."""
        if self.spare is None:
            if len(self.sealed) + (self.current is not None) >= self.segments_max:
                return False
            self.spare = make_segment(self.database, self.next_number, self.segment_bytes)
            self.next_number += 1
        return True

    def segments(self) -> list[Segment]:
        """All that may have something to take, the oldest first."""
        current = self.current  # before the others: if it is sealed right now it is found there, and the one behind it the next time
        found = [*self.sealed]
        return found if current is None or current in found else [*found, current]

    def drop_taken(self, *, synced: bool) -> None:
        """Delete the oldest sealed segments, as far as the database has all of them. What was open in them is in a later one.

        Args:
            synced: put that later one on the disk before.
        """
        if synced and self.sealed and self.sealed[0].taken >= self.sealed[0].at:
            self.sync()
        while self.sealed and self.sealed[0].taken >= self.sealed[0].at:
            with self._files:
                oldest = self.sealed.popleft()
                oldest.path.unlink(missing_ok=True)
                oldest.close()

    def sync(self) -> None:
        """Put on the disk whatever was appended before this call. From a third thread, if need be."""
        with self._files:
            for segment in self.segments():
                segment.sync()

    def close(self) -> None:
        """The end of a run. Segments stay unless everything in them is settled and taken."""
        finished = not self.opened and all(one.taken >= one.at for one in self.segments())
        for segment in (*self.segments(), *([self.spare] if self.spare is not None else [])):
            segment.close()
            if finished or segment is self.spare:
                segment.path.unlink(missing_ok=True)
        self.current = self.spare = None
        self.sealed.clear()
