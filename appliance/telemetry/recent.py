"""The latest requests, kept in memory for /admin/requests and `explain`. Bounded in number; bodies are not kept."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

import attrs

from appliance.core.fault import Fault
from appliance.core.record import RequestRecord

RECENT_MAX: Final = 1000
# Most records one listing gives.
PAGE_MAX: Final = 1000
# Of records that carry the same request id, so many are named.
SAME_MAX: Final = 20
# Records looked at before the one who searches may let others run.
BREATH: Final = 500


@attrs.frozen
class Filter:
    """What a listing asks for; None means any. since: of the request's begin, seconds since the epoch."""

    tenant: str | None = None
    backend: str | None = None
    model: str | None = None
    route: str | None = None
    status: int | None = None
    error_type: str | None = None
    stream: bool | None = None
    failed: bool | None = None
    key: str | None = None
    since: float | None = None

    def matches(self, record: RequestRecord) -> bool:
        return (
            self.tenant in (None, record.tenant)
            and (self.backend is None or any(self.backend == one.backend for one in record.attempts))
            and self.model in (None, record.model, record.requested_model)
            and self.route in (None, record.route)
            and self.status in (None, record.status)
            and self.error_type in (None, record.error_type)
            and self.stream in (None, record.stream)
            and self.failed in (None, record.fault is not None)
            and self.key in (None, record.key)
            and (self.since is None or record.wall_time >= self.since)
        )


class Recent:
    """A ring of finished records, found by their own id or by the caller's request id (of equal ones, the latest).

    There is no index: keeping one cost every request more than the rare search for one record saves (60 ns for each record kept).
    """

    def __init__(self, limit: int = RECENT_MAX) -> None:
        self._ring: deque[RequestRecord] = deque(maxlen=max(0, limit))

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, record: RequestRecord) -> None:
        """Keeps a finished record and forgets the oldest. The last thing done with a record: upstream error bodies are let go here."""
        if record.fault is not None or len(record.attempts) > 1:
            _let_bodies_go(record)
        self._ring.append(record)

    def find(self, either_id: str) -> RequestRecord | None:
        """Our own id goes first: a caller cannot hide a record by sending its id as a request id."""
        by_request_id = None
        for record in reversed(self._ring):
            if record.id == either_id:
                return record
            if by_request_id is None and record.request_id == either_id:
                by_request_id = record
        return by_request_id

    def same(self, request_id: str, but: RequestRecord) -> list[RequestRecord]:
        """Other records that carry a request id, the newest first, at most SAME_MAX: callers may send one again and again."""
        found: list[RequestRecord] = []
        for record in reversed(self._ring):
            if record.request_id == request_id and record is not but:
                found.append(record)
                if len(found) >= SAME_MAX:
                    break
        return found

    def newest(self, wanted: Filter | None = None, limit: int = 100) -> list[RequestRecord]:
        """At most `limit` matching records, newest first."""
        found: list[RequestRecord] = []
        for record in self.search(wanted or Filter()):
            if len(found) >= min(limit, PAGE_MAX):
                break
            if record is not None:
                found.append(record)
        return found

    def latest(self, limit: int) -> list[RequestRecord]:
        """Whatever they are, newest first."""
        return list(islice(reversed(self._ring), limit))

    def search(self, wanted: Filter, before: str = "") -> Iterator[RequestRecord | None]:
        """The same one by one, of those that are here now; None now and then, where others may run.

        Args:
            before: only those that ended before the record of this id did. When that one is gone, so is all that was before it.
        """
        passed = not before
        for number, record in enumerate(reversed(list(self._ring)), 1):
            if passed and wanted.matches(record):
                yield record
            elif number % BREATH == 0:
                yield None
            passed = passed or record.id == before


def _let_bodies_go(record: RequestRecord) -> None:
    """A thousand kept error bodies would be as many megabytes as upstreams care to send."""
    record.fault = _without_body(record.fault)
    for attempt in record.attempts:
        attempt.fault = _without_body(attempt.fault)


def _without_body(fault: Fault | None) -> Fault | None:
    return fault if fault is None or fault.body is None else attrs.evolve(fault, body=None)
