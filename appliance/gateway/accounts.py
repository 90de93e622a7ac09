"""What a request must settle before and after it is answered: one call each way.

`admit` comes after everything that refuses a request for its own sake and before a backend hears of it; `Admission.close` comes once, from
the finished record, whatever became of the request. The rule: nothing here waits, except for the disk with `durability = "power"`.
"""

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import RequestRecord
from appliance.gateway.allowance import Allowance, Allowances, consumed
from appliance.gateway.budgets import Budgets, Held
from appliance.gateway.call import Call
from appliance.gateway.ledger_keeper import LedgerKeeper
from appliance.gateway.ledger_row import opened_of, row_of
from appliance.gateway.plan import KeyPlan, Resolved
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

    async def admit(self, call: Call, resolved: Resolved) -> "Admission | Fault":
        """Let the request go to a backend: its limits and budgets have room for it, and what it may cost is written down. A fault where it
        must not go; nothing is kept then."""
        if not (call.key.scopes or call.key.claims or resolved.route.claims):
            return await self._written(call, resolved, None, None)
        allowance: Allowance | None = None
        held: Held | None = None
        admission: Admission | None = None
        try:
            if call.key.claims or resolved.route.claims:
                allowed = await self.allowances.admit(call, resolved)
                if isinstance(allowed, Fault):
                    return allowed
                allowance = allowed
            if call.key.scopes:
                reserved = await self.budgets.reserve(call, resolved)
                if isinstance(reserved, Fault):
                    call.outlet.limited = None  # what the limits stood at is given back
                    return reserved
                held = reserved
            written = await self._written(call, resolved, allowance, held)
            if isinstance(written, Admission):
                admission = written
            return written
        finally:
            if admission is None:
                if held is not None:
                    self.budgets.release(held)
                if allowance is not None:
                    allowance.release()

    async def admit_hit(self, call: Call, resolved: Resolved) -> "Admission | Fault":
        """Let a request have an answer that is there: the limits of requests count it, no budget has to have room for it."""
        allowance: Allowance | None = None
        admission: Admission | None = None
        try:
            allowed = await self.allowances.admit_hit(call, resolved)
            if isinstance(allowed, Fault):
                return allowed
            allowance = allowed
            written = await self._written(call, resolved, allowance, None)
            if isinstance(written, Admission):
                admission = written
            return written
        finally:
            if admission is None and allowance is not None:
                allowance.release()

    async def _written(self, call: Call, resolved: Resolved, allowance: Allowance | None, held: Held | None) -> "Admission | Fault":
        """Write down what it may cost, as durably as configured."""
        opened = opened_of(call.record, resolved, held)
        failed = self.ledger.open(opened)
        if failed is not None:
            return _unavailable(failed.message)
        admission = Admission(self, opened, call.key, allowance, held)
        if self.keeper is not None:
            problem = "the caller has left"
            try:
                problem = await self.keeper.on_disk()
            finally:
                if problem:
                    self.ledger.release(opened.id)
            if problem:
                return _unavailable(problem)
        return admission

    async def kept(self) -> None:
        """Wait until what was settled is as durable as configured."""
        if self.keeper is not None:
            await self.keeper.on_disk()


@attrs.define(eq=False)
class Admission:
    """One request that was let in. allowance: None where nothing limits it; held: None where it has no budget."""

    accounts: Accounts
    opened: Opened
    key: KeyPlan
    allowance: Allowance | None
    held: Held | None

    def close(self, record: RequestRecord) -> None:
        """Settle, from the finished record. One that no backend saw leaves nothing."""
        accounts = self.accounts
        if consumed(record):
            spent = accounts.budgets.settle(self.held, self.key, record, self.opened.id)
            accounts.ledger.settle(row_of(record, self.opened, spent))
        else:
            if self.held is not None:
                accounts.budgets.release(self.held)
            accounts.ledger.release(self.opened.id)
        if self.allowance is not None:
            self.allowance.close(record)


def _unavailable(detail: str) -> Fault:
    words = "the usage ledger cannot be written right now, and requests are not served without it; try again shortly"
    return Fault(FaultKind.LEDGER_UNAVAILABLE, words, retry_after_s=RETRY_AFTER_S, detail=detail)


def reason_of(fault: StoreFault) -> str:
    """How readiness names it. No path: whoever asks may be anybody."""
    return f"ledger: {fault.kind.replace('_', ' ')}"
