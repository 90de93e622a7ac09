"""Where a request goes: aliases, routes in order, their conditions, `backend/model`, bare names, and a caller's own choice."""

import hashlib
from typing import Any

import pytest
from doors import DOORS, Door, Site
from rig import KEY, chat

BRIEF = "[[tokens=1]]"
BOUND_KEY = "sk-bound-0123456789"
CONFIG = """
[tenants.bound]
pin = false
models = ["*"]
routes = ["by-*", "wild", "of-*"]
keys = [ { id = "bound", sha256 = "SHA256", models = ["named", "wild-*", "alias-of-named", "pathed"] } ]
[aliases]
"alias-of-named" = "named"
"alias-of-alias" = "alias-of-named"
"alias-of-direct" = "own/deep/model"
[backends.own]
provider = "custom"
base_url = "{sim}"
models = ["house-*"]
[backends.other]
provider = "custom"
base_url = "{sim}"
models = ["house-shared"]
[backends.deepseek]
provider = "deepseek"
base_url = "{sim}"
api_key = "sk-deepseek-0123456789"
[backends.openai]
provider = "openai"
base_url = "{sim}"
api_key = "sk-openai-0123456789"
[[routes]]
name = "by-name"
models = ["named", "also-?amed"]
targets = [ { backend = "own", model = "first" } ]
[[routes]]
name = "by-team"
models = ["*"]
match = { headers = { x-team = "search*", x-tier = "gold" } }
targets = [ { backend = "other", model = "team" } ]
[[routes]]
name = "short"
models = ["sized"]
match = { max_prompt_tokens = 10 }
targets = [ { backend = "own", model = "short" } ]
[[routes]]
name = "long"
models = ["sized"]
match = { min_prompt_tokens = 1000 }
targets = [ { backend = "own", model = "long" } ]
[[routes]]
name = "middle"
models = ["sized"]
targets = [ { backend = "own", model = "middle" } ]
[[routes]]
name = "vectors"
models = ["pathed"]
match = { paths = ["/v1/embeddings", "/v1/nothing*"] }
targets = [ { backend = "own", model = "vectors" } ]
[[routes]]
name = "of-bound"
models = ["pathed", "wild-tenant"]
match = { tenants = ["bou*"], paths = ["/v1/chat/*"] }
targets = [ { backend = "own", model = "of-bound" } ]
[[routes]]
name = "anybody"
models = ["pathed"]
targets = [ { backend = "own", model = "anybody" } ]
[[routes]]
name = "least_latency"
models = ["judged-least_latency"]
strategy = "least_latency"
targets = [ { backend = "other", model = "t" }, { backend = "own", model = "u" }, { backend = "own", model = "v", weight = 0 } ]
[[routes]]
name = "least_busy"
models = ["judged-least_busy"]
strategy = "least_busy"
targets = [ { backend = "other", model = "t" }, { backend = "own", model = "u" }, { backend = "own", model = "v", weight = 0 } ]
[[routes]]
name = "cheapest"
models = ["judged-cheapest"]
strategy = "cheapest"
targets = [ { backend = "other", model = "t" }, { backend = "own", model = "u" }, { backend = "own", model = "v", weight = 0 } ]
[[routes]]
name = "wild"
models = ["wild-*"]
targets = [ { backend = "own" } ]
fallback = [ { backend = "other", model = "rescue" } ]
retry = { attempts = 2 }
""".replace("SHA256", hashlib.sha256(BOUND_KEY.encode()).hexdigest())


@pytest.fixture(scope="module", params=DOORS)
def door(place: Site, request: pytest.FixtureRequest) -> Door:
    return place.door(request.param)


def last(place: Site) -> dict[str, Any]:
    return dict(place.sim.stats(1)["last"][-1])


@pytest.mark.parametrize(
    ("model", "headers", "backend", "asked", "route"),
    [
        ("named", {}, "own", "first", "by-name"),
        ("also-named", {}, "own", "first", "by-name"),
        ("alias-of-named", {}, "own", "first", "by-name"),
        ("alias-of-alias", {}, "own", "first", "by-name"),
        ("alias-of-direct", {}, "own", "deep/model", "direct"),
        ("own/any/thing", {}, "own", "any/thing", "direct"),
        ("openai/gpt-4o", {}, "openai", "gpt-4o", "direct"),
        ("house-special", {}, "own", "house-special", "direct"),
        ("gpt-4o-mini", {}, "openai", "gpt-4o-mini", "direct"),
        ("deepseek-chat", {}, "deepseek", "deepseek-chat", "direct"),
        ("whatever", {"x-team": "search-eu", "x-tier": "gold"}, "other", "team", "by-team"),
        ("named", {"x-team": "search", "x-tier": "gold"}, "own", "first", "by-name"),
        ("gpt-4o", {"x-team": "search", "x-tier": "silver"}, "openai", "gpt-4o", "direct"),
        ("gpt-4o", {"x-team": "sales", "x-tier": "gold"}, "openai", "gpt-4o", "direct"),
        ("wild-cat", {}, "own", "wild-cat", "wild"),
        ("wild-cat", {"x-provider": "other"}, "other", "rescue", "wild"),
        ("wild-cat", {"x-provider": "openai"}, "openai", "wild-cat", "direct"),
    ],
)
def test_a_model_goes_where_the_file_says(
    place: Site, door: Door, model: str, headers: dict[str, str], backend: str, asked: str, route: str
) -> None:
    answer = door.chat(chat(model, BRIEF), headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-served-by"] == backend
    assert last(place)["model"] == asked
    record = door.record(answer)
    assert (record["route"], record["requested_model"]) == (route, model)
    assert record["attempts"][0]["model"] == asked


@pytest.mark.parametrize(("words", "asked"), [(5, "short"), (300, "middle"), (3000, "long")])
def test_the_length_of_the_prompt_may_decide(place: Site, door: Door, words: int, asked: str) -> None:
    assert door.chat(chat("sized", "word " * words)).status_code == 200
    assert last(place)["model"] == asked


def test_the_path_and_the_tenant_may_decide(place: Site, door: Door) -> None:
    for key, asked in ((BOUND_KEY, "of-bound"), (KEY, "anybody")):
        assert door.chat(chat("pathed", BRIEF), key=key).status_code == 200
        assert last(place)["model"] == asked
    assert door.post("/v1/embeddings", body={"model": "pathed", "input": "x"}).status_code == 200
    assert last(place)["model"] == "vectors"
    assert door.chat(chat("wild-tenant", BRIEF)).json()["model"] != "of-bound"


def test_a_model_of_another_tenants_route_is_not_listed(door: Door) -> None:
    with door.http() as client:
        lists = [client.get("/v1/models", headers={"authorization": f"Bearer {key}"}).json() for key in (BOUND_KEY, KEY)]
    assert ["wild-tenant" in [one["id"] for one in each["data"]] for each in lists] == [True, False]


@pytest.mark.parametrize("strategy", ["least_latency", "least_busy", "cheapest"])
def test_a_pinned_request_keeps_to_its_backend_under_every_strategy(place: Site, door: Door, strategy: str) -> None:
    for backend, models in (("other", {"t"}), ("own", {"u"})):
        for _ in range(4):
            answer = door.chat(chat(f"judged-{strategy}", BRIEF), headers={"x-provider": backend})
            assert (answer.status_code, answer.headers["x-served-by"]) == (200, backend)
            assert last(place)["model"] in models


def test_each_backend_gets_its_own_key(place: Site, door: Door) -> None:
    for model, key in (("gpt-4o", "sk-openai-0123456789"), ("deepseek-chat", "sk-deepseek-0123456789")):
        door.chat(chat(model, BRIEF))
        wanted = "Bearer sha256:" + hashlib.sha256(key.encode()).hexdigest()[:12]
        assert dict(last(place)["headers"])["authorization"] == wanted
    door.chat(chat("own/x"))
    assert "authorization" not in dict(last(place)["headers"])


def test_a_pinned_request_stays_there_even_when_it_fails(place: Site, door: Door) -> None:
    place.sim.reset()
    answer = door.chat(chat("wild-x+503"), headers={"x-provider": "own"})
    assert answer.status_code == 502
    assert {one["backend"] for one in door.record(answer)["attempts"]} == {"own"}
    assert door.chat(chat("wild-x+503")).headers["x-served-by"] == "other"


@pytest.mark.parametrize(
    ("model", "headers", "status", "word"),
    [
        ("nothing-like-it", {}, 404, "nothing-like-it"),
        ("nobody/model", {}, 404, "nobody/model"),
        ("house-shared", {}, 404, "other, own"),
        ("own/", {}, 404, "own/"),
        ("named", {"x-provider": "nobody"}, 400, "nobody"),
    ],
)
def test_what_cannot_be_placed_is_said_to_be(door: Door, model: str, headers: dict[str, str], status: int, word: str) -> None:
    answer = door.chat(chat(model, BRIEF), headers=headers)
    assert answer.status_code == status
    assert word in answer.json()["error"]["message"]
    assert door.record(answer)["attempts"] == []


@pytest.mark.parametrize(
    ("model", "headers", "status"),
    [
        ("named", {}, 200),
        ("alias-of-named", {}, 200),
        ("wild-cat", {}, 200),
        ("gpt-4o", {}, 403),
        ("own/named", {}, 403),
        ("named", {"x-provider": "own"}, 403),
        ("wild-cat", {"x-team": "search", "x-tier": "gold"}, 200),
    ],
)
def test_a_key_goes_only_where_it_may(door: Door, model: str, headers: dict[str, str], status: int) -> None:
    answer = door.chat(chat(model, BRIEF), headers=headers, key=BOUND_KEY)
    assert answer.status_code == status, answer.text
    if status == 403:
        assert answer.json()["error"]["type"] == "permission_error"
        record = door.record(answer)
        assert (record["tenant"], record["key"], record["attempts"]) == ("bound", "bound", [])
