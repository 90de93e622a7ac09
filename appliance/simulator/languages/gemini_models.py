"""Gemini's list of models and its entries. Pure."""

from collections.abc import Sequence
from typing import Any

from appliance.simulator.languages.gemini_errors import GeminiError, refused, unknown_model
from appliance.simulator.languages.gemini_model import thinks_unasked

PAGE_DEFAULT, PAGE_MAX = 50, 1000
METHODS = ("generateContent", "countTokens")
EMBEDDING_METHODS = ("embedContent", "batchEmbedContents", "countTokens")
INPUT_TOKENS, OUTPUT_TOKENS = 1_048_576, 65_536


def model_entry(model: str) -> dict[str, Any]:
    embeds = "embed" in model
    made: dict[str, Any] = {
        "name": f"models/{model}",
        "version": "001",
        "displayName": model,
        "description": "A simulated model.",
        "inputTokenLimit": INPUT_TOKENS,
        "outputTokenLimit": 1 if embeds else OUTPUT_TOKENS,
        "supportedGenerationMethods": list(EMBEDDING_METHODS if embeds else METHODS),
    }
    if embeds:
        return made
    made |= {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2}
    return {**made, "thinking": True} if thinks_unasked(model) else made


def model_page(models: Sequence[str], page_size: str, page_token: str) -> dict[str, Any] | GeminiError:
    """The token is the number of the next entry."""
    size = int(page_size) if page_size.isdecimal() and len(page_size) < 7 else PAGE_DEFAULT
    if page_token and not (page_token.isdecimal() and len(page_token) < 7 and int(page_token) < len(models)):
        return refused(400, "Page token is not valid.")
    start = int(page_token or 0)
    end = start + min(size or PAGE_DEFAULT, PAGE_MAX)
    page: dict[str, Any] = {"models": [model_entry(model) for model in models[start:end]]}
    return {**page, "nextPageToken": str(end)} if end < len(models) else page


def find_model(model: str, bare: str, models: Sequence[str], version: str, *, only_listed: bool) -> dict[str, Any] | GeminiError:
    if only_listed and bare not in models:
        return unknown_model(model, version, "generateContent")
    return model_entry(bare)
