"""The models that /v1/models lists and /v1/models/{id} finds. Pure."""

from collections.abc import Iterable
from typing import Any

from appliance.simulator.api_error import ApiError, unknown_model

CREATED = 1_750_000_000  # of every simulated model; nothing depends on it
OWNER = "simulator"


def model_entry(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": CREATED, "owned_by": OWNER}


def model_list(models: Iterable[str]) -> dict[str, Any]:
    return {"object": "list", "data": [model_entry(m) for m in models]}


def find_model(model: str, bare: str, models: Iterable[str], *, only_listed: bool) -> dict[str, Any] | ApiError:
    """Any name is a model unless `only_listed`; speed and fault of a name do not matter to that."""
    if only_listed and bare not in models:
        return unknown_model(model)
    return model_entry(model)
