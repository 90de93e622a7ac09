"""A request that is not let in after all leaves what it had taken as it was: its limits, its budgets, its form, the ledger."""

from typing import Any

import attrs
import pytest
import trio

from appliance.core.budget import Reservation
from appliance.core.fault import Fault, FaultKind
from appliance.core.record import RequestRecord
from appliance.gateway.accounts import Accounts
from appliance.store.fault import StoreFault

BROKE = Fault(FaultKind.BUDGET_EXCEEDED, "no room")


@attrs.define(eq=False)
class Desk:
    """All whom a request is admitted by, and the request itself; `seen` is what became of what it took."""

    outcome: str
    seen: list[str] = attrs.field(factory=list)
    claims: tuple[str, ...] = ("limited",)
    scopes: tuple[str, ...] = ("budgeted",)
    unknown: bool = False
    name: str = "chat"
    model: str = "m"
    limited: Any = ()
    allowance: Any = None
    held: Any = None
    opened: Any = None
    record: RequestRecord = attrs.field(factory=lambda: RequestRecord("1", "1", 0.0, 0.0))

    @property
    def itself(self) -> "Desk":
        return self

    key = route = outlet = upload = itself

    async def admit(self, call: Any, _resolved: Any, _now: float) -> None:
        call.allowance = Taken("allowance", self.seen)

    async def admit_hit(self, call: Any, _resolved: Any) -> None:
        call.allowance = Taken("allowance", self.seen)

    def reserve(self, _call: Any, _resolved: Any) -> Reservation | Fault:
        return BROKE if self.outcome == "no budget" else Reservation(1, 2, 3)

    def release(self, what: Any) -> None:
        self.seen.append("budget" if isinstance(what, Reservation) else "ledger")

    def open(self, _entry: Any) -> StoreFault | None:
        return StoreFault("unwritable", "no") if self.outcome == "no ledger" else None

    async def on_disk(self) -> str:
        if self.outcome == "cancelled":
            await trio.sleep_forever()
        return "no" if self.outcome == "no disk" else ""

    def close(self) -> None:
        self.seen.append("form")


@attrs.define
class Taken:
    name: str
    seen: list[str]

    def release(self) -> None:
        self.seen.append(self.name)


@pytest.mark.parametrize(("outcome", "hit", "seen"), [
    ("no budget", False, ["allowance", "form"]), ("no ledger", False, ["budget", "allowance", "form"]),
    ("no disk", False, ["ledger", "budget", "allowance", "form"]), ("cancelled", False, ["ledger", "budget", "allowance", "form"]),
    ("all", False, []), ("no ledger", True, ["allowance", "form"]), ("no disk", True, ["ledger", "allowance", "form"]),
    ("cancelled", True, ["ledger", "allowance", "form"]), ("all", True, []),
])  # fmt: skip
async def test_who_is_not_let_in_gets_everything_back_once(outcome: str, hit: bool, seen: list[str]):
    one: Any = Desk(outcome)
    accounts = Accounts(one, one, one, one)
    found: Any = None
    with trio.move_on_after(0.05):
        found = await (accounts.admit_hit(one, one) if hit else accounts.admit(one, one, 0.0))
    assert one.seen == seen
    assert (one.opened is not None) == (found is None and outcome == "all")
    assert isinstance(found, Fault) == outcome.startswith("no")
    if outcome == "no budget":
        assert one.limited is None, "what the limits stood at is given back"
