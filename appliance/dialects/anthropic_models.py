"""The list of models as Anthropic's API gives it (platform.claude.com/docs/en/api/models-list), as pure functions of their ids."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from appliance.dialects.anthropic_json import dump

PAGE_DEFAULT, PAGE_MAX = 20, 1_000
"""Models on a page: Anthropic's own default and bound."""


def models_list(ids: Sequence[str], created: int, *, limit: int = PAGE_DEFAULT, after: str = "", before: str = "") -> bytes:
    """The body of GET /v1/models.

    Args:
        created: in Unix seconds. limit, after, before: as the query says them (`limit`, `after_id`, `before_id`); an id that is not in the
            list counts as none, and `limit` is brought within 1 to PAGE_MAX.
    """
    limit = min(max(limit, 1), PAGE_MAX)
    start = ids.index(after) + 1 if after in ids else 0
    end = ids.index(before) if before in ids else len(ids)
    page = ids[start:end][-limit:] if before in ids else ids[start:end][:limit]
    more = len(page) < end - start
    data = [_model(one, created) for one in page]
    return dump({"data": data, "has_more": more, "first_id": page[0] if page else None, "last_id": page[-1] if page else None})


def model_one(model: str, created: int) -> bytes:
    """The body of GET /v1/models/{id}."""
    return dump(_model(model, created))


def _model(model: str, created: int) -> dict[str, Any]:
    at = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": model, "display_name": model, "created_at": at}
