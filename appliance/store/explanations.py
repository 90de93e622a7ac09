"""Records of single requests that are kept for `explain`: a sample, and what went wrong.

The rule: they are worth less than the ledger. They wait in memory until the writer has time, one that cannot be written is dropped, and
a killed process loses those of its last second.
"""

import sqlite3
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import orjson

from appliance.config.schema import Explain
from appliance.core.record import RequestRecord
from appliance.store.transaction import writing

WAITING_MAX = 1000
"""Records that wait for the writer; further ones are dropped. It comes by every second."""

EVERY_S = 1.0
"""Between two transactions: each costs a disk write."""

AT_ONCE = 50
"""Records put in words in one round, some 50 µs each: neither the ledger waits long for its thread, nor requests for the interpreter."""

SAME_MAX = 20
"""Records that carry the same request id, shown at once."""

PACKED_MAX_BYTES = 65_536
"""Of one record, compressed; usual ones have 0.7 KB."""

UNPACKED_MAX_BYTES = 4_194_304

DAY_US = 86_400_000_000

Say = Callable[..., None]


@attrs.define(eq=False)
class Explanations:
    """Those that wait, and the table they go to.

    Attributes:
        every_s: between two transactions; 0 at the end of a run.
        dropped: records that found no room, or could not be put in words.
    """

    settings: Explain
    wall_clock: Callable[[], float]
    say: Say
    waiting: deque[RequestRecord] = attrs.field(factory=deque, repr=False)
    every_s: float = EVERY_S
    dropped: int = 0
    _dropped_told: int = 0
    _written_at: float = 0.0
    _count: int | None = None

    def keep(self, record: RequestRecord) -> None:
        """Takes a finished record, which nobody changes any more. Never waits."""
        if len(self.waiting) < WAITING_MAX:
            self.waiting.append(record)
        else:
            self.dropped += 1

    @property
    def due(self) -> bool:
        """Whether `write` would write."""
        if not self.waiting:
            return False
        return len(self.waiting) > AT_ONCE or not 0 <= self.wall_clock() - self._written_at < self.every_s

    def write(self, connection: sqlite3.Connection) -> None:
        """Move what waits into the table; the oldest beyond `keep` go. Raises sqlite3.Error: what waits does so still, then."""
        if self.dropped != self._dropped_told:
            self.say("warning", "explanations_dropped", records=self.dropped - self._dropped_told)
            self._dropped_told = self.dropped
        while self.due:
            some = [self.waiting[place] for place in range(min(AT_ONCE, len(self.waiting)))]
            try:
                self._insert(connection, [row for record in some if (row := self._row(record)) is not None])
            except sqlite3.Error:
                self._count = None
                raise
            for _ in some:
                self.waiting.popleft()
            if self.every_s:
                self._written_at = self.wall_clock()
                return

    def forget(self, connection: sqlite3.Connection) -> None:
        """Those whose time is over. Raises sqlite3.Error."""
        connection.execute("DELETE FROM explanations WHERE id < ?", (int(self.wall_clock() * 1e6) - self.settings.days * DAY_US,))
        self._count = None

    def _insert(self, connection: sqlite3.Connection, rows: Sequence[tuple[int, str | None, bytes]]) -> None:
        with writing(connection):
            if self._count is None:
                (self._count,) = connection.execute("SELECT count(*) FROM explanations").fetchone()
            connection.executemany("INSERT OR IGNORE INTO explanations (id, request_id, record) VALUES (?, ?, ?)", rows)
            surplus = self._count + len(rows) - self.settings.keep
            if surplus > 0:
                connection.execute("DELETE FROM explanations WHERE id IN (SELECT id FROM explanations ORDER BY id LIMIT ?)", (surplus,))
            self._count += len(rows) - max(0, surplus)

    def _row(self, record: RequestRecord) -> tuple[int, str | None, bytes] | None:
        """As it is stored. A fault of ours in here must not hold up the ledger: it is told, and the record dropped."""
        try:
            packed = zlib.compress(orjson.dumps(record.as_dict(kept=True)))
            own = int(record.id, 16)
        except Exception as error:
            self.dropped += 1
            self.say("error", "explanation_failed", request=record.id, problem=type(error).__name__)
            return None
        if len(packed) > PACKED_MAX_BYTES:
            self.dropped += 1
            return None
        return own, None if record.request_id == record.id else record.request_id, packed


def find_explanations(connection: sqlite3.Connection, wanted: str) -> list[dict[str, Any]]:
    """Records by either id, the one whose own it is first, then the newest. Raises sqlite3.Error."""
    own = ledger_id(wanted)
    query = "SELECT record FROM explanations WHERE id = ?1 OR request_id = ?2 ORDER BY id = ?1 DESC, id DESC LIMIT ?3"
    return [unpacked(packed) for (packed,) in connection.execute(query, (own, wanted, SAME_MAX))]


def unpacked(packed: bytes) -> dict[str, Any]:
    """A record as it was; bounded, for the file may be anybody's. Raises sqlite3.DatabaseError for what is none."""
    try:
        found: dict[str, Any] = orjson.loads(zlib.decompressobj().decompress(packed, UNPACKED_MAX_BYTES))
    except (zlib.error, orjson.JSONDecodeError):
        raise sqlite3.DatabaseError("a kept record is damaged") from None
    return found


def ledger_id(text: str) -> int:
    """The number of an id as callers see it; -1, which is nobody's, where it is no such id."""
    return int(text, 16) if 0 < len(text) <= 15 and all(char in "0123456789abcdef" for char in text) else -1
