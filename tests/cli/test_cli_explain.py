"""`appliance explain` against running gateways: faults, a fallback, refusals, unknown ids, a wrong token, and after a restart."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from cli.test_cli import refused, run
from rig import Gateway, Simulator, call, chat, eventually, free_port, running

PROMPT = "canary-prompt-words"
CALLERS = {"poor": "poor-secret", "slow": "slow-secret"}
CONFIG = """
[aliases]
fast = "sim-small"
[backends.sim]
provider = "custom"
base_url = "{sim}/v1"
api_key = "canary-upstream-key"
breaker = {{ consecutive_failures = 3, open_s = 60 }}
[backends.spare]
provider = "custom"
base_url = "{sim}/v1"
[[routes]]
name = "team"
models = ["sim*"]
match = {{ headers = {{ x-team = "blue" }} }}
targets = [ {{ backend = "spare", model = "blue" }} ]
[[routes]]
name = "main"
models = ["sim*"]
targets = [ {{ backend = "sim" }} ]
fallback = [ {{ backend = "spare", model = "rescue" }} ]
retry = {{ attempts = 3, backoff_s = 0.01, backoff_max_s = 0.02 }}
[[routes]]
name = "kept"
models = ["kept"]
targets = [ {{ backend = "spare", model = "rescue" }} ]
cache = {{ ttl_s = 600, when = "always" }}
[[routes]]
name = "tried"
models = ["tried"]
targets = [ {{ backend = "spare" }} ]
[[routes]]
name = "balanced"
models = ["balanced"]
strategy = "cheapest"
targets = [ {{ backend = "spare", model = "dear" }}, {{ backend = "spare", model = "rescue" }} ]
[[experiments]]
name = "trial"
route = "tried"
control = {{ backend = "spare", model = "old" }}
treatment = {{ backend = "spare", model = "new" }}
percent = 100
[prices.models.dear]
input_usd_per_mtok = 100.0
output_usd_per_mtok = 100.0
[prices.models.rescue]
input_usd_per_mtok = 1.0
output_usd_per_mtok = 2.0
[tenants.poor]
budget = {{ usd = 0.000001, period = "day" }}
keys = [ {{ id = "p", sha256 = "{poor}" }} ]
[tenants.slow]
rpm = 1
keys = [ {{ id = "s", sha256 = "{slow}" }} ]
"""


@attrs.frozen
class Place:
    sim: Simulator
    gateway: Gateway

    def ask(self, model: str, request_id: str, key: str = "", **headers: str) -> int:
        """The status; the record is there when this returns."""
        more = {"authorization": f"Bearer {CALLERS[key]}"} if key else {}
        status, _, _ = call(f"{self.gateway.url}/v1/chat/completions", chat(model, PROMPT), X_Request_Id=request_id, **more, **headers)
        self.gateway.settle()
        return status

    def explain(self, *arguments: str) -> str:
        done = run("explain", *arguments, "-c", str(self.gateway.config_path))
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout


def config(sim: Simulator) -> str:
    return CONFIG.format(sim=sim.url, **{name: hashlib.sha256(secret.encode()).hexdigest() for name, secret in CALLERS.items()})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("explain")
    sim = Simulator(folder)
    with running(sim):
        gateway = Gateway(folder, config(sim))
        with running(gateway):
            yield Place(sim, gateway)


def test_a_fault_and_its_fallback_are_a_story_in_the_order_of_time(place: Place) -> None:
    call(f"{place.gateway.admin_url}/admin/backends/sim/reset-breaker", {})
    assert place.ask("sim+503", "fell-back") == 200
    text = place.explain("fell-back")
    wanted = (
        "route", "main: the first whose models (sim*) and conditions fit", "1 sim (sim+503), weight 1", "2 spare (rescue), fallback",
        "attempt 1 sim (sim+503) asked", "attempt 1 sim failed 503 overloaded", "next is spare: it was not asked yet",
        "attempt 2 spare (rescue) asked", "attempt 2 spare answered 200", "answered 200", "spare: $0.0",
        "by your [prices]: input 1, output 2",
    )  # fmt: skip
    places = [text.index(words) for words in wanted]
    assert places == sorted(places)
    record = json.loads(place.explain("fell-back", "--json"))
    assert [one["do"] for one in record["plan"]["steps"]] == ["try"]
    assert record["attempts"][1]["price_usd"] == {"input": "1", "output": "2"}


def test_a_retry_tells_how_long_it_paused_and_why_it_gave_up(place: Place) -> None:
    call(f"{place.gateway.admin_url}/admin/backends/sim/reset-breaker", {})
    place.sim.fault("rescue", "500")
    try:
        assert place.ask("sim+500", "gave-up") == 502
    finally:
        place.sim.reset()
    record = place.gateway.admin("/admin/requests/gave-up")
    assert [one["do"] for one in record["plan"]["steps"]] == ["try", "pause", "give_up"]
    assert 4 <= record["plan"]["steps"][1]["pause_ms"] <= 20
    text = place.explain("gave-up")
    assert "again: back-off: every candidate was asked" in text
    assert "no further attempt: 3 attempts were made, as many as the route allows" in text
    assert "answered 502 server_error" in text


def test_who_was_passed_over_is_told_with_the_reason(place: Place) -> None:
    call(f"{place.gateway.admin_url}/admin/backends/sim/drain", {})
    try:
        assert place.ask("sim", "passed") == 200
    finally:
        call(f"{place.gateway.admin_url}/admin/backends/sim/resume", {})
    text = place.explain("passed")
    assert "passed over  sim: taken out by an operator (drain)" in text
    assert "attempt 1 spare" in text


def test_an_alias_a_condition_and_a_pin_are_told(place: Place) -> None:
    call(f"{place.gateway.admin_url}/admin/backends/sim/reset-breaker", {})
    place.ask("fast", "aliased")
    assert "the alias stands for sim-small" in place.explain("aliased")
    place.ask("sim", "of-blue", X_Team="blue")
    text = place.explain("of-blue")
    assert "team: the first whose models (sim*) and conditions fit" in text
    assert "condition headers = x-team: blue" in text
    place.ask("sim", "pinned", X_Provider="spare")
    assert "X-Provider: only spare" in place.explain("pinned")
    place.ask("spare/anything", "direct")
    assert "the name says which backend" in place.explain("direct")


def test_an_experiment_and_what_a_strategy_saw_are_told(place: Place) -> None:
    place.ask("tried", "on-trial")
    text = place.explain("on-trial")
    assert "trial: treatment" in text
    assert "1 spare (new)" in text
    place.ask("balanced", "cheapest")
    text = place.explain("cheapest")
    assert "cheapest" in text
    assert "expected cost (USD): spare 0.0" in text
    assert text.index("1 spare (rescue)") < text.index("2 spare (dear)")


def test_a_hit_tells_how_old_the_answer_is_and_what_it_had_cost(place: Place) -> None:
    place.ask("kept", "miss")
    place.ask("kept", "hit")
    assert place.gateway.admin("/admin/requests/miss")["cache"] == "miss"
    record = place.gateway.admin("/admin/requests/hit")
    assert (record["cache"], record["attempts"], record["cost_usd"]) == ("hit", [], 0)
    assert record["plan"]["cached"]["had_cost_usd"] > 0
    text = place.explain("hit")
    assert "answered 200 from the cache" in text
    assert "cache" in text
    assert " s ago, which had cost $0.0" in text
    assert "kept: the first whose models (kept)" in text


def test_refusals_are_told_with_whose_limit_or_budget_and_their_figures(place: Place) -> None:
    assert place.ask("sim", "too-dear", "poor") in (200, 402)
    place.ask("spare/rescue", "too-dear-2", "poor")
    record = place.gateway.admin("/admin/requests/too-dear-2")
    assert (record["status"], record["limit_type"]) == (402, "budget")
    assert record["verdict"]["scope"] == "tenant:poor"
    assert "budget     tenant:poor has $0.000001:" in place.explain("too-dear-2")
    for number in range(2):
        place.ask("sim", f"too-many-{number}", "slow")
    text = place.explain("too-many-1")
    assert "limit      tenant slow has 1 requests per minute; free again in" in text
    assert "no backend was asked" in text
    assert "main: the first whose models (sim*)" in text


def test_of_equal_request_ids_the_latest_is_told_and_the_others_are_named(place: Place) -> None:
    for model in ("sim", "spare/one", "spare/two"):
        place.ask(model, "shared")
    eventually(lambda: place.gateway.admin("/admin/requests/shared")["model"] == "two")
    record = json.loads(place.explain("shared", "--json"))
    assert [one["model"] for one in record["others"]] == ["one", "sim"]
    text = place.explain("shared")
    assert "2 more carry this X-Request-Id" in text
    other = record["others"][0]["id"]
    assert other in text
    assert "attempt 1 spare (one)" in place.explain(other)


def test_no_prompt_no_answer_and_no_secret_is_in_it(place: Place) -> None:
    place.ask("sim+400", "harmless")
    for text in (place.explain("harmless"), place.explain("harmless", "--json"), json.dumps(place.gateway.admin("/admin/requests"))):
        assert PROMPT not in text
        assert "canary" not in text


def test_an_id_that_nobody_knows_is_one_line(place: Place) -> None:
    done = run("explain", "never-heard-of", "-c", str(place.gateway.config_path))
    refused(done, 1, "no such request", "nor in the store")
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_token_is_told_and_the_store_is_not_read_behind_it(tmp_path: Path) -> None:
    sim = Simulator(tmp_path)
    with running(sim):
        served = Gateway(tmp_path, config(sim), admin='token = { env = "THE_TOKEN" }', env={"THE_TOKEN": "right-token"})
        with running(served):
            options = ("explain", "some", "-c", str(served.config_path))
            refused(run(*options, THE_TOKEN="wrong-token"), 1, "admin token")
            refused(run(*options, THE_TOKEN="right-token"), 1, "no such request")


@attrs.frozen
class Ended:
    """A gateway that has ended, and the record of a request that had fallen back."""

    gateway: Gateway
    config: str
    record: dict[str, Any]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    folder = tmp_path_factory.mktemp("ended")
    sim = Simulator(folder)
    with running(sim):
        one = Gateway(folder, config(sim), store="journal_segment_bytes = 1048576\n[store.explain]\nsample = 0")
        with running(one):
            here = Place(sim, one)
            here.ask("sim+503", "before-the-end")
            here.ask("spare/well", "went-well")
            record = one.admin("/admin/requests/before-the-end")
        yield Ended(one, config(sim), record)


def as_kept(record: dict[str, Any]) -> dict[str, Any]:
    """What the store has of a record in memory: all of it but a backend's own words for an error."""
    attempts = [{**one, "detail": one["detail"].partition(": ")[0]} for one in record["attempts"]]
    return {**record, "attempts": attempts, "kept_in": "store"}


def test_without_a_running_gateway_the_store_is_read_and_that_is_said(ended: Ended) -> None:
    done = run("explain", "before-the-end", "-c", str(ended.gateway.config_path), "--json")
    assert done.returncode == 0
    assert "no gateway answers" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert json.loads(done.stdout) == as_kept(ended.record)


def test_what_was_not_kept_is_told_as_far_as_the_ledger_knows(ended: Ended) -> None:
    done = run("explain", "went-well", "-c", str(ended.gateway.config_path))
    assert done.returncode == 0
    assert "only what the ledger has" in done.stdout
    assert "attempt 1 spare (well) answered 200" in done.stdout


def test_an_unknown_id_and_no_gateway_are_told_together(ended: Ended) -> None:
    refused(run("explain", "never", "-c", str(ended.gateway.config_path)), 1, "no gateway answers", "nor has")
    refused(run("explain", "never", "--admin", f"http://127.0.0.1:{free_port()}", cwd=ended.gateway.config_path.parent, PYTHONPATH="."), 1)


def test_after_a_restart_the_gateway_tells_what_the_store_kept(ended: Ended) -> None:
    folder = ended.gateway.config_path.parent
    again = Gateway(folder, ended.config)
    with running(again):
        assert again.admin("/admin/requests")["requests"] == []
        done = run("explain", "before-the-end", "-c", str(again.config_path), "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == as_kept(ended.record)


def test_a_sample_of_everything_is_kept_within_a_second_or_so(tmp_path: Path) -> None:
    sim = Simulator(tmp_path)
    with running(sim):
        one = Gateway(tmp_path, config(sim) + "[telemetry]\nrecent_max = 0\n", store="[store.explain]\nsample = 1.0\n")
        with running(one):
            call(f"{one.url}/v1/chat/completions", chat("spare/x", PROMPT), X_Request_Id="sampled")
            eventually(lambda: one.record("sampled")["kept_in"] == "store")
            assert one.record("sampled")["plan"]["matched"] == "prefix"
