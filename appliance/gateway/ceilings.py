"""The budgets of the configuration, as terms of accounts.

The rule: a scope is named once and for ever: its spend is kept under that name, whatever its budget is.
"""

from decimal import Decimal

import attrs

from appliance.config.tenancy import Budget
from appliance.config.zone import zone
from appliance.core.budget import Terms
from appliance.core.price import NUSD

TENANT, KEY = "tenant:", "key:"


@attrs.frozen
class Holder:
    """Whose budget a scope is. key: empty for that of a whole tenant."""

    tenant: str
    key: str

    @property
    def words(self) -> str:
        return f"the key {self.key!r}" if self.key else f"the tenant {self.tenant!r}"


def tenant_scope(tenant: str) -> str:
    return TENANT + tenant


def key_scope(tenant: str, key: str) -> str:
    return f"{KEY}{tenant}/{key}"


def holder_of(scope: str) -> Holder:
    if scope.startswith(TENANT):
        return Holder(scope.removeprefix(TENANT), "")
    tenant, _, key = scope.removeprefix(KEY).partition("/")  # a name holds no slash
    return Holder(tenant, key)


def terms_of(scope: str, budget: Budget | None) -> tuple[Terms, ...]:
    """One, or none where there is no budget. Digits are taken as they were written, not as the nearest binary fraction."""
    if budget is None:
        return ()
    place = zone(budget.timezone)
    assert place is not None  # the configuration was checked
    ceiling_nusd = max(1, int(Decimal(repr(budget.usd)) * NUSD))
    return (Terms(scope, ceiling_nusd, budget.period, place, budget.on_exceeded == "refuse"),)


def zone_name(terms: Terms) -> str:
    """As the configuration has it."""
    return str(terms.zone)
