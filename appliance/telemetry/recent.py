"""The latest requests, kept in memory for /admin/requests and `explain`. Bounded in number; bodies are not kept."""

from collections import deque
from collections.abc import Callable
from typing import Final

import attrs

from appliance.core.fault import Fault
from appliance.core.record import RequestRecord

RECENT_MAX: Final = 1000
# Most records one listing gives.
PAGE_MAX: Final = 1000


@attrs.frozen
class Filter:
    """What a listing asks for; None means any."""

    tenant: str | None = None
    backend: str | None = None
    model: str | None = None
    route: str | None = None
    status: int | None = None
    error_type: str | None = None
    stream: bool | None = None
    failed: bool | None = None

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

    def newest(self, wanted: Filter | None = None, limit: int = 100) -> list[RequestRecord]:
        """At most `limit` matching records, newest first."""
        matches: Callable[[RequestRecord], bool] = (wanted or Filter()).matches
        found: list[RequestRecord] = []
        for record in reversed(self._ring):
            if len(found) >= min(limit, PAGE_MAX):
                break
            if matches(record):
                found.append(record)
        return found


def _let_bodies_go(record: RequestRecord) -> None:
    """A thousand kept error bodies would be as many megabytes as upstreams care to send."""
    record.fault = _without_body(record.fault)
    for attempt in record.attempts:
        attempt.fault = _without_body(attempt.fault)


def _without_body(fault: Fault | None) -> Fault | None:
    return fault if fault is None or fault.body is None else attrs.evolve(fault, body=None)
