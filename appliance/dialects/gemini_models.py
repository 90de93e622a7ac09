"""The list of models as Gemini's API gives it, as pure functions of their ids. Source: ai.google.dev/api/models."""

from collections.abc import Sequence
from typing import Any

from appliance.dialects.gemini_json import dump

PAGE_DEFAULT, PAGE_MAX = 50, 1_000
"""Google's own default and bound of `pageSize`."""

METHODS = ("generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents")
"""What may be asked of any model here; whether a model can do it, its backend says."""


def models_list(ids: Sequence[str], *, page_size: int = PAGE_DEFAULT, page_token: str = "") -> bytes:
    """The body of GET /v1beta/models.

    Args:
        page_size: `pageSize` of the query, brought within 1 and PAGE_MAX.
        page_token: `pageToken`: the id that the page before ended with; one that is not in the list is none.
    """
    start = ids.index(page_token) + 1 if page_token in ids else 0
    page = ids[start : start + min(max(page_size, 1), PAGE_MAX)]
    out: dict[str, Any] = {"models": [_model(one) for one in page]}
    if page and start + len(page) < len(ids):
        out["nextPageToken"] = page[-1]
    return dump(out)


def model_one(model: str) -> bytes:
    """The body of GET /v1beta/models/{model}."""
    return dump(_model(model))


def _model(model: str) -> dict[str, Any]:
    said = {"name": f"models/{model}", "baseModelId": model, "version": model, "displayName": model}
    return {**said, "supportedGenerationMethods": list(METHODS)}
