"""Lists of models in Anthropic's shape, by pages; what models accept, told by their names."""

import json

import pytest

from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.anthropic_model import abilities, nearest_effort

IDS = [f"m{number}" for number in range(25)]


def page(**query):
    return json.loads(ANTHROPIC.models_list(IDS, 1_700_000_000, **query))


def test_a_page_of_models():
    found = json.loads(ANTHROPIC.models_list(["a", "org/b"], 1_700_000_000, limit=1000))
    assert found == {
        "data": [
            {"type": "model", "id": "a", "display_name": "a", "created_at": "2023-11-14T22:13:20Z"},
            {"type": "model", "id": "org/b", "display_name": "org/b", "created_at": "2023-11-14T22:13:20Z"},
        ],
        "has_more": False, "first_id": "a", "last_id": "org/b",
    }  # fmt: skip
    assert json.loads(ANTHROPIC.model_one("a", 1_700_000_000)) == found["data"][0]
    assert json.loads(ANTHROPIC.models_list([], 0)) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_pages_follow_each_other_without_gap_or_copy():
    seen, after = [], ""
    while True:
        found = page(limit=10, after=after)
        seen += [one["id"] for one in found["data"]]
        after = found["last_id"]
        if not found["has_more"]:
            break
    assert seen == IDS


def test_odd_pages():
    assert [one["id"] for one in page(before="m5", limit=2)["data"]] == ["m3", "m4"]
    assert page(before="m2")["has_more"] is False
    assert len(page()["data"]) == 20
    assert len(page(limit=0)["data"]) == len(page(limit=-5)["data"]) == 1
    assert page(after="m24") == {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert page(after="nobody")["first_id"] == "m0"
    assert page(after="m20", before="m3")["data"] == []


@pytest.mark.parametrize(("model", "adaptive", "budget", "sampling", "xhigh"), [
    ("claude-3-7-sonnet-20250219", False, True, True, ""),
    ("claude-3-haiku-20240307", False, True, True, ""),
    ("claude-sonnet-4-20250514", False, True, True, ""),
    ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", False, True, True, ""),
    ("claude-haiku-4-5", False, True, True, ""),
    ("claude-opus-4-5-20251101", False, True, True, "high"),
    ("claude-sonnet-5-5", True, False, False, "xhigh"),
    ("anthropic/claude-opus-4.6", True, True, True, "high"),
    ("claude-opus-4-7", True, False, False, "xhigh"),
    ("claude-fable-5", True, False, False, "xhigh"),
    ("claude-mythos-preview", True, False, False, "xhigh"),
    ("kimi-k2-0905", False, True, True, ""),
    ("glm-4.6", False, True, True, ""),
])  # fmt: skip
def test_what_a_model_accepts(model, adaptive, budget, sampling, xhigh):
    able = abilities(model)
    assert (able.adaptive, able.budget, able.sampling, nearest_effort("xhigh", able)) == (adaptive, budget, sampling, xhigh)


@pytest.mark.parametrize(("model", "output_max", "always"), [
    ("claude-3-haiku-20240307", 4_096, False), ("claude-3-5-haiku-latest", 8_192, False), ("claude-3-7-sonnet-20250219", 64_000, False),
    ("claude-opus-4-20250514", 32_000, False), ("claude-4-opus-20250514", 32_000, False), ("claude-opus-4-1", 32_000, False),
    ("claude-sonnet-4-20250514", 64_000, False), ("claude-haiku-4-5", 64_000, False), ("anthropic/claude-opus-4.5", 64_000, False),
    ("claude-sonnet-4-6", 128_000, False), ("claude-opus-4-8", 128_000, False), ("claude-opus-5", 128_000, False),
    ("claude-opus-5-5", 128_000, True), ("claude-sonnet-5-5", 128_000, False), ("claude-fable-5-1", 128_000, True),
    ("claude-mythos-5", 128_000, True), ("kimi-k2-0905", None, False),
])  # fmt: skip
def test_how_much_a_model_may_say_and_whether_it_always_thinks(model, output_max, always):
    able = abilities(model)
    assert (able.output_max, able.always) == (output_max, always)
