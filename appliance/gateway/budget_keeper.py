"""The service that looks up what budgets have spent, when they are new: at the start, and after a change of them.

The rule: what ended before a budget came into force is in the database before it is asked; what ends meanwhile is noted in memory. So
nothing counts twice or never.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
import trio

from appliance.gateway.budget_alerts import BudgetAlerts
from appliance.gateway.budgets import Budgets, Unknown
from appliance.gateway.ceilings import holder_of, zone_name
from appliance.store.embedded import EmbeddedLedger
from appliance.store.fault import StoreFault
from appliance.store.spending import Asked, look_up

RETRY_S = 1.0
LOOK_S = 0.02
CAUGHT_UP_MAX_S = 30.0
"""For rows to reach the database; it is said when they do not. A writer that works takes a tenth of a second."""


@attrs.define(eq=False)
class BudgetKeeper:
    """Attributes:
    alerts: for warnings that an earlier run could not deliver.
    """

    budgets: Budgets
    ledger: EmbeddedLedger
    alerts: BudgetAlerts
    _problem: str = ""

    async def run(self) -> None:
        """Service."""
        while True:
            await self.budgets.wanted.wait()
            self.budgets.wanted = trio.Event()
            if not await self._look_up():
                self.budgets.wanted.set()
                await trio.sleep(RETRY_S)

    async def _look_up(self) -> bool:
        budgets, settled = self.budgets, self.ledger.settled
        unknown, in_force = tuple(budgets.unknown.values()), frozenset(budgets.terms)
        with trio.move_on_after(CAUGHT_UP_MAX_S) as waiting:
            while not self.ledger.has(settled):  # noqa: ASYNC110 - the writer is a thread, and this is rare
                await trio.sleep(LOOK_S)
        if waiting.cancelled_caught:
            return self._failed("rows do not reach the database", unknown)
        path = Path(self.ledger.settings.path)
        found = await trio.to_thread.run_sync(look_up, path, [_asked(one) for one in unknown], in_force, lambda: _ended(unknown))
        if isinstance(found, StoreFault):
            return self._failed(found.message, unknown)
        self._problem = ""
        for warning in budgets.take(unknown, found):
            account = budgets.book.accounts[warning.scope]
            self.alerts.tell_again(warning, account.terms, account.period)
        return True

    def _failed(self, problem: str, unknown: Sequence[Unknown]) -> bool:
        if problem != self._problem:  # else it has been said, a second ago
            self.ledger.say("error", "budgets_unknown", problem=problem, budgets=len(unknown))
        self._problem = problem
        self.budgets.fail()
        return False


def _asked(one: Unknown) -> Asked:
    terms = one.terms
    holder = holder_of(terms.scope)
    return Asked(terms.scope, holder.tenant, holder.key, terms.kind, zone_name(terms), one.start, terms.ceiling_nusd)


def _ended(unknown: Iterable[Unknown]) -> set[int]:
    """Called from the thread that reads the database; each dictionary is copied in one step."""
    return {ledger_id for one in unknown for ledger_id in tuple(one.ended)}
