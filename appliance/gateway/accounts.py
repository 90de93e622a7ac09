"""What a request must settle before and after it is answered: one call each way.

`admit` comes after everything that refuses a request for its own sake and before a backend hears of it; `close` comes once, from the
finished record of a request that was let in, whatever became of it. What it holds meanwhile is in its `Call`. The rule: nothing here waits,
except for the disk with `durability = "power"`.
"""

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.gateway.allowance import Allowances, consumed, used_tokens
from appliance.gateway.budgets import Budgets
from appliance.gateway.call import Call
from appliance.gateway.ledger_keeper import LedgerKeeper
from appliance.gateway.ledger_row import opened_of, row_of
from appliance.gateway.plan import Resolved
from appliance.store.fault import StoreFault
from appliance.store.protocol import Ledger
from appliance.store.row import Opened

RETRY_AFTER_S = 1.0


@attrs.define(eq=False)
class Accounts:
    """Attributes:
    allowances: what the limits let pass. budgets: who may spend how much.
    keeper: for `durability = "power"`; None otherwise.
    """

    ledger: Ledger
    allowances: Allowances
    budgets: Budgets
    keeper: LedgerKeeper | None = None

    def new_id(self, wall: float) -> str:
        """A request's id, which is also the ledger's."""
        return f"{self.ledger.new_id(wall):x}"

    async def admit(self, call: Call, resolved: Resolved, now: float) -> Fault | None:
        """Let the request go to a backend: its limits and budgets have room for it, and what it may cost is written down. A fault where it
        must not go; nothing is kept then.

        Args:
            now: monotonic seconds. Of a request that has waited for nothing, when it was whole, which saves a look at the clock.
        """
        key, budgets = call.key, self.budgets
        try:
            if key.claims or resolved.route.claims:
                fault = await self.allowances.admit(call, resolved, now)
                if fault is not None:
                    return fault
            if key.scopes:
                unknown = await budgets.known(key) if budgets.unknown else None
                reserved = unknown or budgets.reserve(call, resolved)
                if isinstance(reserved, Fault):
                    call.outlet.limited = None  # what the limits stood at is given back
                    return reserved
                call.held = reserved
            return await self._enter(call, resolved)
        finally:
            if call.opened is None:
                self._give_back(call)

    async def admit_hit(self, call: Call, resolved: Resolved) -> Fault | None:
        """Let a request have an answer that is there: the limits of requests count it, no budget has to have room for it."""
        try:
            fault = await self.allowances.admit_hit(call, resolved)
            if fault is not None:
                return fault
            return await self._enter(call, resolved)
        finally:
            if call.opened is None:
                self._give_back(call)

    async def _enter(self, call: Call, resolved: Resolved) -> Fault | None:
        """The ledger has what the request may cost, which is then let in."""
        opened = opened_of(call.record, resolved, call.held)
        failed = self.ledger.open(opened)
        if failed is not None:
            return _unavailable(failed.message)
        if self.keeper is not None and (problem := await self._on_disk(self.keeper, opened)):
            return _unavailable(problem)
        call.opened = opened
        return None

    def close(self, call: Call) -> None:
        """Settle what was let in, from its finished record. One that no backend saw leaves nothing."""
        record, opened = call.record, call.opened
        assert opened is not None  # it was let in
        if not consumed(record):
            self.ledger.release(opened.id)
            self._give_back(call)
            return
        spent = self.budgets.settle(call.held, call.key, record, opened.id)
        self.ledger.settle(row_of(record, opened, spent))
        if call.allowance is not None:
            call.allowance.settle(used_tokens(record), record.ended_at)

    def _give_back(self, call: Call) -> None:
        """The request comes to nothing: what it took and held goes."""
        if call.held is not None:
            self.budgets.release(call.held)
            call.held = None
        if call.allowance is not None:
            call.allowance.release()
            call.allowance = None
        if call.upload is not None:
            call.upload.close()

    async def _on_disk(self, keeper: LedgerKeeper, opened: Opened) -> str:
        """Wait until what was written is as durable as configured; it is void where that goes wrong, and why that is is given."""
        problem = "the caller has left"
        try:
            problem = await keeper.on_disk()
        finally:
            if problem:
                self.ledger.release(opened.id)
        return problem

    async def kept(self) -> None:
        """Wait until what was settled is as durable as configured."""
        if self.keeper is not None:
            await self.keeper.on_disk()


def _unavailable(detail: str) -> Fault:
    words = "the usage ledger cannot be written right now, and requests are not served without it; try again shortly"
    return Fault(FaultKind.LEDGER_UNAVAILABLE, words, retry_after_s=RETRY_AFTER_S, detail=detail)


def reason_of(fault: StoreFault) -> str:
    """How readiness names it. No path: whoever asks may be anybody."""
    return f"ledger: {fault.kind.replace('_', ' ')}"
