"""Experiments, as callers and operators see them: who gets which target, that it stays so, and that every answer says it."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from doors import Door, Site
from rig import KEY, Gateway, Simulator, call, chat, eventually, running

from appliance.core.experiment import place_of, steps

BRIEF = "[[tokens=2]]"
PERCENT = 30
CONFIG = """
[backends.main]
provider = "custom"
base_url = "{sim}"
[backends.tried]
provider = "custom"
base_url = "{sim}"
breaker = { consecutive_failures = 1000, failure_ratio = 1.0, min_requests = 1000 }
[backends.rescue]
provider = "custom"
base_url = "{sim}"
[[routes]]
name = "chat"
models = ["chat"]
targets = [ { backend = "rescue", model = "never-asked" } ]
fallback = [ { backend = "rescue", model = "rescue" } ]
retry = { attempts = 2, backoff_s = 0.01 }
[[routes]]
name = "broken"
models = ["broken"]
targets = [ { backend = "main" } ]
fallback = [ { backend = "rescue", model = "rescue" } ]
retry = { attempts = 2, backoff_s = 0.01 }
[[routes]]
name = "hopeless"
models = ["hopeless"]
targets = [ { backend = "main" } ]
retry = { attempts = 1 }
[[routes]]
name = "patient"
models = ["patient"]
targets = [ { backend = "main" } ]
keepalive_s = 0.1
[[routes]]
name = "rest"
models = ["*"]
targets = [ { backend = "main" } ]
[[experiments]]
name = "trial"
route = "chat"
control = { backend = "main", model = "old" }
treatment = { backend = "tried", model = "new" }
percent = 30
[[experiments]]
name = "fragile"
route = "broken"
control = { backend = "main", model = "old" }
treatment = { backend = "tried", model = "new+503" }
percent = 100
[[experiments]]
name = "doomed"
route = "hopeless"
control = { backend = "main", model = "old" }
treatment = { backend = "tried", model = "new+503" }
percent = 100
[[experiments]]
name = "slow"
route = "patient"
control = { backend = "main", model = "old" }
treatment = { backend = "tried", model = "new@ttft=2s" }
percent = 100
"""


def variant_of(user: str, experiment: str = "trial", percent: float = PERCENT) -> str:
    return "treatment" if place_of(user, experiment) < steps(percent) else "control"


def ask(door: Door, user: str | None = None, model: str = "chat", **fields: Any) -> httpx.Response:
    return door.chat(chat(model, BRIEF, **fields), headers={"x-user-id": user} if user is not None else {})


def told(answer: httpx.Response) -> tuple[str | None, str | None]:
    return answer.headers.get("x-experiment"), answer.headers.get("x-variant")


@pytest.mark.parametrize("stream", [False, True])
def test_a_users_variant_answers_and_the_answer_says_which(place: Site, door: Door, stream: bool) -> None:
    seen = set()
    for user in (f"user-{number}" for number in range(12)):
        answer = ask(door, user, stream=stream)
        variant = variant_of(user)
        seen.add(variant)
        assert answer.status_code == 200, answer.text
        assert told(answer) == ("trial", variant)
        assert answer.headers["x-served-by"] == {"control": "main", "treatment": "tried"}[variant]
        record = door.record(answer)
        assert (record["experiment"], record["variant"], record["route"]) == ("trial", variant, "chat")
        assert f"experiment trial: only the target of its {variant}" in record["plan"]["narrowed"][0]
        assert record["attempts"][0]["model"] == {"control": "old", "treatment": "new"}[variant]
    assert seen == {"control", "treatment"}


def test_without_a_user_the_key_decides(door: Door) -> None:
    assert {told(ask(door)) for _ in range(3)} == {("trial", variant_of("test"))}


def test_users_that_share_a_connection_keep_their_own_variants(door: Door) -> None:
    users = [f"user-{number}" for number in (0, 1, 2, 3, 0, 3, 1, 2)]
    with door.http() as client:
        for user in users:
            headers = {"authorization": f"Bearer {KEY}", "x-user-id": user}
            for _ in range(2):
                answer = client.post("/v1/chat/completions", json=chat("chat", BRIEF), headers=headers)
                assert told(answer) == ("trial", variant_of(user))


def test_a_route_without_an_experiment_says_nothing(door: Door) -> None:
    assert told(ask(door, "user-1", model="anything")) == (None, None)


def test_a_pinned_request_takes_part_in_nothing(door: Door) -> None:
    answer = door.chat(chat("chat", BRIEF), headers={"x-user-id": "user-1", "x-provider": "rescue"})
    assert told(answer) == (None, None)
    assert answer.headers["x-served-by"] == "rescue"


@pytest.mark.parametrize("stream", [False, True])
def test_behind_a_failing_treatment_stands_the_routes_fallback(door: Door, stream: bool) -> None:
    answer = ask(door, "anybody", model="broken", stream=stream)
    assert answer.status_code == 200, answer.text
    assert told(answer) == ("fragile", "treatment")
    assert answer.headers["x-served-by"] == "rescue"
    assert [one["backend"] for one in door.record(answer)["attempts"]] == ["tried", "rescue"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_says_the_variant_too(door: Door, stream: bool) -> None:
    answer = ask(door, "anybody", model="hopeless", stream=stream)
    assert answer.status_code == 502
    assert told(answer) == ("doomed", "treatment")


def test_a_stream_that_begins_with_a_keep_alive_says_the_variant(door: Door) -> None:
    answer = ask(door, "anybody", model="patient", stream=True)
    assert answer.text.startswith(":"), "its head has left before the first event"
    assert told(answer) == ("slow", "treatment")


def test_assignments_are_counted_from_zero_on(place: Site, door: Door) -> None:
    families = "inference_gateway_experiment_assignments_total"
    text = place.gateway.metrics_text()
    for experiment in ("trial", "fragile", "doomed"):
        for variant in ("control", "treatment"):
            assert f'{families}{{experiment="{experiment}",variant="{variant}"}}' in text
    series = f'{families}{{experiment="trial",variant="{variant_of("user-5")}"}}'
    before = place.gateway.metric(series)
    ask(door, "user-5")
    eventually(lambda: place.gateway.metric(series) == before + 1)


def population(gateway: Gateway, users: int) -> list[str | None]:
    """Everybody's variant, over one connection."""
    found = []
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client:
        for number in range(users):
            headers = {"authorization": f"Bearer {KEY}", "x-user-id": f"user-{number}"}
            found.append(client.post("/v1/chat/completions", json=chat("chat", BRIEF), headers=headers).headers.get("x-variant"))
    return found


def test_a_population_stays_where_it_is_over_restarts_and_reloads(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    config = CONFIG.replace("{sim}", simulator.url + "/v1")
    with running(simulator):
        first = Gateway(tmp_path, config, "one")
        with running(first):
            split = population(first, 300)
            assert split == [variant_of(f"user-{number}") for number in range(300)]
            # Another route, another experiment's share, another target of this one's route: none of it is this experiment's affair.
            changed = config.replace('name = "rest"', 'name = "others"').replace("percent = 100", "percent = 50")
            first.write_config(changed.replace('model = "never-asked"', 'model = "another"'))
            first.signal(1)
            eventually(lambda: [event for event in first.events() if event.get("event") == "reloaded"])
            assert population(first, 100) == split[:100]
            first.write_config(config.replace("percent = 30", "percent = 60"))
            first.signal(1)
            eventually(lambda: len([event for event in first.events() if event.get("event") == "reloaded"]) == 2)
            grown = population(first, 100)
            assert all(after == "treatment" for before, after in zip(split[:100], grown, strict=True) if before == "treatment")
            assert grown.count("treatment") > split[:100].count("treatment")
        second = Gateway(tmp_path, config, "two")
        with running(second):
            assert population(second, 100) == split[:100]


def test_two_experiments_on_one_route_are_refused(tmp_path: Path, place: Site) -> None:
    twice = CONFIG.replace('route = "broken"', 'route = "chat"')
    place.gateway.write_config(twice.replace("{sim}", place.sim.url + "/v1"))
    status, _, body = call(place.gateway.admin_url + "/admin/reload", {})
    place.gateway.write_config(CONFIG.replace("{sim}", place.sim.url + "/v1"))
    assert status == 422
    assert any("experiments[1].route" in problem for problem in json.loads(body)["problems"])
