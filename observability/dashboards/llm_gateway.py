"""What the two dashboards of the `llm_gateway` vocabulary share: their variables, and a selector that honours them."""

from typing import Final

from appliance.telemetry.vocabularies.llm_gateway import PREFIX
from observability.dashboards.variables import WHERE, Variable, within

DETAILS_UID: Final = "llm-gateway-providers"

VARIABLES: Final = (
    Variable("job", "Job", f"label_values({PREFIX}provider_health, job)"),
    Variable("cluster", "Cluster", f"label_values({PREFIX}requests_total, cluster)"),
    # Health is there for every configured provider from the start, before anybody asked it anything.
    Variable("provider", "Provider", f"label_values({PREFIX}provider_health{{{WHERE}}}, provider)"),
)


def of_provider(family: str, more: str = "") -> str:
    """A family of those that have the label `provider`, within the chosen job, cluster and provider."""
    return within(PREFIX + family, f'provider=~"$provider"{", " if more else ""}{more}')


def of_gateway(family: str, more: str = "") -> str:
    """A family without a provider, within the chosen job and cluster."""
    return within(PREFIX + family, more)
