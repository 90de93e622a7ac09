"""The service that looks up what budgets have spent: it says once that it cannot."""

from pathlib import Path

import trio
from store.ledger_place import started

from appliance.gateway import budget_keeper
from appliance.gateway.budget_keeper import BudgetKeeper
from appliance.gateway.budgets import Budgets
from appliance.store.fault import StoreFault


async def test_that_figures_cannot_be_looked_up_is_said_once_and_again_after_it_worked(tmp_path: Path, monkeypatch):
    ledger = started(tmp_path / "one.db")
    found: list[object] = [StoreFault("locked", "locked"), StoreFault("locked", "locked"), StoreFault("full", "full")]
    found += [budget_keeper.look_up, StoreFault("full", "full")]
    keeper = BudgetKeeper(Budgets(100, True, lambda: 1e9), ledger, None)

    def looked_up(*asked):
        answer = found.pop(0)
        return answer(*asked) if callable(answer) else answer

    monkeypatch.setattr(budget_keeper, "look_up", looked_up)
    with trio.fail_after(30):
        while found:
            await keeper._look_up()
    said = [fields["problem"] for _, event, fields in ledger.say if event == "budgets_unknown"]
    assert said == ["locked", "full", "full"]
    ledger.close()
