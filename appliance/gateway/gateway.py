"""The gateway as the doors see it: the plan in force, what is live, and where finished requests are written down.

`swap` is the only change of plan; everything else reads `plan` once per request and keeps what it read.
"""

from collections.abc import Callable, Iterable

import attrs
import trio

from appliance.core.record import RequestRecord
from appliance.core.trace_context import Trace
from appliance.gateway.account import Account
from appliance.gateway.accounts import Accounts
from appliance.gateway.admission import TRACE_HEADERS, forwarder
from appliance.gateway.answers import Answers
from appliance.gateway.call import Call
from appliance.gateway.live import Live
from appliance.gateway.plan import Plan
from appliance.gateway.pricing import Unpriced
from appliance.gateway.proxy import Proxy
from appliance.gateway.shadows import Shadows
from appliance.gateway.trace_export import TraceExporter
from appliance.gateway.tracer import Tracer
from appliance.gateway.upstream import Upstream
from appliance.prices.table import PriceTable
from appliance.telemetry.cells import Cells
from appliance.telemetry.fold import fold
from appliance.telemetry.recent import Recent
from appliance.telemetry.sample import Sample

RETIRE_CHECK_S = 1.0
Forwarder = Callable[[Iterable[tuple[bytes, bytes]]], bytes]


@attrs.define(eq=False)
class Retired:
    """A backend that a reload took out, and the requests that may still come to it: those which ran at that moment, however long they pause
    between two attempts.
    """

    upstream: Upstream
    calls: set[Call]


@attrs.define(eq=False)
class Gateway:
    """One process's gateway.

    Attributes:
        prices: the table; unpriced: models that were asked for without a price.
        sample: which of them the store keeps; None where it keeps none.
        access: writes one access-log line for a finished record; replaced by a no-op when the operator turned it off.
        accounts: what requests settle before and after they are answered.
        answers: for routes with a cache. shadows: copies of requests, for experiments.
        retired: backends that a reload took out, until the last request that may use them has ended.
        forwarded: makes the header lines that go upstream for a caller.
        wall_clock: seconds since the epoch. bits: the source of chance for the ids of traces.
        traces: sends them; tracer: begins them, None where no request is traced by the gateway itself.
        used: when each key was last used, by its id, until that is written down.
    """

    plan: Plan
    live: Live
    prices: PriceTable
    unpriced: Unpriced
    proxy: Proxy
    cells: Cells
    recent: Recent
    sample: Sample | None
    access: Callable[[RequestRecord], None]
    accounts: Accounts
    answers: Answers
    shadows: Shadows
    wall_clock: Callable[[], float]
    traces: TraceExporter
    bits: Callable[[int], int]
    started_at: float = 0.0
    retired: list[Retired] = attrs.field(factory=list)
    used: dict[str, float] = attrs.field(factory=dict)
    tracer: Tracer | None = None
    forwarded: Forwarder = attrs.field(init=False)
    _forwarded_traced: Forwarder = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._fit_plan()
        self.accounts.budgets.fit(self.plan.budgets(), self.plan.config.budgets.answer_tokens_max)
        self.shadows.fit(self.plan)

    def new_id(self) -> str:
        """The id of a request that begins now."""
        return self.accounts.new_id(self.wall_clock())

    def finish(self, record: RequestRecord, call: Call | None) -> None:
        """Write a request down, once, whatever became of it. `call` is None of one that was refused before it was known where it goes."""
        record.ended_at = trio.current_time()
        self.used[record.key] = record.wall_time
        if call is not None and call.opened is not None:
            self.accounts.close(call)
        if record.trace is not None:
            self._finish_trace(record, record.trace)
        fold(record, self.cells)
        self.recent.add(record)
        if self.sample is not None:
            self.sample.offer(record)
        self.access(record)

    def swap(self, plan: Plan) -> None:
        """Put a new plan in force. Requests under way keep the one they started with; so do the backends they use."""
        kept = set(map(id, plan.upstreams.values()))
        for upstream in self.plan.upstreams.values():
            if id(upstream) not in kept:
                self.retired.append(Retired(upstream, set(self.proxy.calls)))
        self.plan = plan
        self._fit_plan()
        self.proxy.drains_max = plan.config.server.drains_max
        self.accounts.allowances.fit(plan.config.limits)
        self.answers.fit(plan.config.cache)
        self.answers.cache.forget_tenants({*plan.tenancy.tenants, *([] if plan.anonymous is None else [plan.anonymous.tenant])})
        self.accounts.budgets.fit(plan.budgets(), plan.config.budgets.answer_tokens_max)
        self.shadows.fit(plan)
        self.live.responses.bound(plan.config.server.responses_max)
        self.live.forget_routes({route.name: route for route in plan.routes})

    def cloud_accounts(self) -> dict[str, Account]:
        """The accounts in use whose credentials are temporary, by the backend's name."""
        provers = {name: upstream.prover for name, upstream in self.plan.upstreams.items()}
        return {name: prover.account for name, prover in provers.items() if prover is not None and prover.account is not None}

    async def retire(self) -> None:
        """Service: close backends that a reload took out, each when no request is left that knew it."""
        while True:
            for one in list(self.retired):
                one.calls &= self.proxy.calls
                if not one.calls:
                    self.retired.remove(one)
                    await one.upstream.transport.aclose()
            await trio.sleep(RETIRE_CHECK_S)

    async def close(self) -> None:
        for upstream in (*self.plan.upstreams.values(), *(one.upstream for one in self.retired)):
            await upstream.transport.aclose()

    def forwarded_in(self, trace: Trace) -> Forwarder:
        """`forwarded` for a request in a trace: where attempts say theirs, the caller's own lines about it stay behind."""
        return self._forwarded_traced if trace.ours else self.forwarded

    def _finish_trace(self, record: RequestRecord, trace: Trace) -> None:
        if trace.ours and self.tracer is not None and self.tracer.keeps(record, trace):
            self.traces.offer(record, self.plan.upstreams)

    def _fit_plan(self) -> None:
        server, traces = self.plan.config.server, self.plan.config.telemetry.traces
        self.forwarded = forwarder(server.forward_headers, server.user_agent)
        self._forwarded_traced = forwarder(server.forward_headers, server.user_agent, TRACE_HEADERS)
        self.tracer = None if traces is None else Tracer(traces.sample, traces.faults, self.bits)
        self.traces.fit(traces)
