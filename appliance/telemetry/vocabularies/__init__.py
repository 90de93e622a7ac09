"""The vocabularies by name. A vocabulary is one module with one table, `FAMILIES`; adding one is writing it and naming it here."""

from collections.abc import Mapping

from appliance.telemetry.family import Family, Source
from appliance.telemetry.vocabularies import aigateway, appliance, gen_ai, inference_gateway, llm_gateway, model

VOCABULARIES: Mapping[str, tuple[Family, ...]] = {
    "inference_gateway": inference_gateway.FAMILIES,
    "llm_gateway": llm_gateway.FAMILIES,
    "aigateway": aigateway.FAMILIES,
    "model": model.FAMILIES,
    "gen_ai": gen_ai.FAMILIES,
    "appliance": appliance.FAMILIES,
}


def union_edges(source: Source, measure: str) -> tuple[float, ...]:
    """Every edge that some vocabulary gives to this measure, in the cells' own unit: each one's buckets are exact sums of the union's."""
    edges = {
        edge / family.scale
        for families in VOCABULARIES.values()
        for family in families
        if family.source == source and (measure == family.measure or (family.split is not None and measure in family.split[1].values()))
        for edge in family.edges
    }
    return tuple(sorted(edges))
