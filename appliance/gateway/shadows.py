"""Copies of requests for shadow experiments: sent to the treatment beside the caller's own, the answer thrown away, the cost written down.

The rule: a caller never notices. A copy waits for nothing that callers wait for and shares nothing with them (see `shadow_lane`); at most
`most` are under way, and what does not go at once is counted, not queued. It is no request of its caller's: no limit, budget or count of
theirs knows of it. Its row in the ledger stands under the tenant `shadow`, with the experiment as its key.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
import trio

from appliance.core.experiment import TREATMENT
from appliance.core.fault import Fault
from appliance.core.record import RequestRecord
from appliance.dialects.protocol import COUNT
from appliance.gateway.allowance import consumed
from appliance.gateway.call import Call, Outlet
from appliance.gateway.faults import DRAINING
from appliance.gateway.ledger_row import opened_of, row_of
from appliance.gateway.live import Live
from appliance.gateway.once_only import once_only
from appliance.gateway.plan import Plan, Resolved, RoutePlan
from appliance.gateway.proxy import Proxy
from appliance.gateway.shadow_lane import Lane, open_lane
from appliance.store.protocol import Ledger

SHADOW: Final = "shadow"
"""The tenant that copies stand under in the ledger; no real one may have this name."""

RESULTS: Final = ("success", "error", "cut", "skipped", "unsuitable")
"""What becomes of a copy. cut: the gateway ended; skipped: too much was under way; unsuitable: it could not be sent twice, or may not."""

ERROR_MAX_CHARS: Final = 300
"""Of the last fault of an experiment's copies, as operators see it."""

@attrs.define(eq=False)
class Shadows:
    """All copies under way.

    Attributes:
        live: of the callers; copies are begun only while it does not drain.
        proxy: of the copies alone, so that none of them is among the callers' requests.
        most: at once.
        counts: what became of them, by experiment and result; costs_nusd: what they cost, by experiment; errors: the last fault of each.
    """

    ledger: Ledger
    live: Live
    proxy: Proxy
    wall_clock: Callable[[], float]
    most: int = 0
    counts: dict[tuple[str, str], int] = attrs.field(factory=dict)
    costs_nusd: dict[str, int] = attrs.field(factory=dict)
    errors: dict[str, str] = attrs.field(factory=dict)
    running: int = 0
    _planned: dict[str, RoutePlan] = attrs.field(factory=dict)
    _lanes: dict[str, Lane] = attrs.field(factory=dict)
    _nursery: trio.Nursery | None = None

    async def run(self) -> None:
        """Service: where copies live. They end with it."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                self._open()
                await self.proxy.watch()
            finally:
                self._nursery = None
                self._lanes.clear()

    def fit(self, plan: Plan) -> None:
        """The plan that holds from now on. Counts of experiments without copies go."""
        self.most = plan.config.server.shadows_max
        trials = [route.experiment for route in plan.routes if route.experiment is not None]
        self._planned = {one.name: one.treatment.shadow for one in trials if one.treatment.shadow is not None}
        self.counts = {(name, result): self.counts.get((name, result), 0) for name in self._planned for result in RESULTS}
        self.costs_nusd = {name: self.costs_nusd.get(name, 0) for name in self._planned}
        self.errors = {name: text for name, text in self.errors.items() if name in self._planned}
        self._open()

    def offer(self, call: Call, resolved: Resolved) -> None:
        """A caller's request goes to its backend: send the copy beside it, if it can be. Waits for nothing."""
        assigned = resolved.assigned
        if assigned is None or assigned.shadow is None:
            return
        lane = self._lanes.get(assigned.experiment)
        if not _suitable(call):
            self._count(assigned.experiment, "unsuitable")
        elif lane is None or self._nursery is None or self.live.draining or self.running >= self.most or not lane.free:
            self._count(assigned.experiment, "skipped")
        else:
            self.running += 1
            lane.running += 1
            self._nursery.start_soon(partial(self._send, call, resolved, assigned.experiment, lane))

    def _open(self) -> None:
        """Have a lane for each experiment with copies, and let go of others. A lane stays while its treatment does."""
        if self._nursery is None:
            return
        for name, lane in list(self._lanes.items()):
            planned = self._planned.get(name)
            if planned is None or not planned.targets[0].asks_as(lane.planned.targets[0]) or planned.settings != lane.planned.settings:
                self._lanes.pop(name).scope.cancel()
        for name, planned in self._planned.items():
            if name not in self._lanes and (opened := open_lane(planned)) is not None:
                self._lanes[name] = opened
                self._nursery.start_soon(opened.keep)

    async def _send(self, call: Call, resolved: Resolved, experiment: str, lane: Lane) -> None:
        record = self._record(call, experiment)
        result = "unsuitable"
        try:
            copied = _copied(call, resolved, record, lane)
            if not isinstance(copied, Fault):
                result = "cut"
                result = await self._asked(*copied, record)
        finally:
            self.running -= 1
            lane.running -= 1
            self._count(experiment, result)

    async def _asked(self, call: Call, resolved: Resolved, record: RequestRecord) -> str:
        """Ask the treatment, and write down what it cost. What became of it."""
        opened = opened_of(record, resolved, None)
        if self.ledger.open(opened) is not None:
            return "skipped"
        done = False
        try:
            fault = await self.proxy.serve(call, resolved)
            record.fault = record.fault or fault
            done = True
        finally:
            if not done:  # that says nothing of the treatment, but it may well cost
                record.fault, record.experiment, record.variant = DRAINING, "", ""
            if record.fault is not None:
                record.status = record.fault.surface_status
            record.ended_at = trio.current_time()
            if consumed(record):
                self.ledger.settle(row_of(record, opened, ()))
                if record.key in self.costs_nusd:
                    self.costs_nusd[record.key] += record.cost_nusd
            else:
                self.ledger.release(opened.id)
        if record.fault is None:
            return "success"
        if record.key in self._planned:
            self.errors[record.key] = f"{record.fault.row.label}: {record.fault.detail or record.fault.message}"[:ERROR_MAX_CHARS]
        return "error"

    def _record(self, call: Call, experiment: str) -> RequestRecord:
        """The caller's own id and user are on it, so that the two can be laid side by side."""
        one, wall = call.record, self.wall_clock()
        return RequestRecord(
            f"{self.ledger.new_id(wall):x}", one.request_id, trio.current_time(), wall, one.method, one.path, one.dialect, one.operation,
            tenant=SHADOW, key=experiment, user=one.user, route=one.route, requested_model=one.requested_model, stream=one.stream,
            bytes_in=one.bytes_in, experiment=experiment, variant=TREATMENT,
        )  # fmt: skip

    def _count(self, experiment: str, result: str) -> None:
        key = (experiment, result)
        if key in self.counts:  # else a reload has ended it
            self.counts[key] += 1


def _suitable(call: Call) -> bool:
    """Whether a request can be sent twice without consequences: no form that is read as it comes, nothing that is done twice then."""
    return call.parsed.operation != COUNT and not once_only(call)


def _copied(call: Call, resolved: Resolved, record: RequestRecord, lane: Lane) -> tuple[Call, Resolved] | Fault:
    """The same request, with an answer that goes nowhere. A fault where its model may not be asked."""
    to = call.pricing.allowed(attrs.evolve(resolved, route=lane.route, assigned=None), record)
    if isinstance(to, Fault):
        return to
    outlet = Outlet(_discard, record, record.started_at)
    copied = Call(
        record, call.parsed, call.body, call.language, call.key, call.forwarded, call.headers, outlet, lambda: "shutdown", call.pricing
    )  # fmt: skip
    copied.anew, copied.wrapped = call.anew, call.wrapped
    return copied, to


async def _discard(_message: object) -> None:
    """Where the answer goes."""
