"""Callers cannot make the metrics grow: ten thousand users and two thousand made-up models over real sockets, and a scrape stays small."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path

import pytest
from raw_client import RawClient, request_bytes
from rig import Gateway, Simulator, chat, running

USERS, UNKNOWN, MADE_UP = 10_000, 1_000, 1_000
USERS_MAX = 100
"""`telemetry.users_max` as it is unless told otherwise."""
SERIES_MAX = 20_000
"""`telemetry.series_max` as it is unless told otherwise."""
BATCH = 100
SHORT = "[[tokens=1]]"
CONFIG = """
[telemetry]
log = {{ access = false }}
[backends.sim]
provider = "custom"
base_url = "{sim}/v1"
[[routes]]
name = "anything"
models = ["any-*"]
targets = [ {{ backend = "sim" }} ]
[[routes]]
name = "chat"
models = ["sim"]
targets = [ {{ backend = "sim" }} ]
[tenants.limited]
rpm = 1
keys = [ {{ id = "limited", sha256 = "{limited}" }} ]
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    sim = Simulator(tmp_path)
    with running(sim):
        text = CONFIG.format(sim=sim.url, limited=sha256(b"limited").hexdigest())
        one = Gateway(tmp_path, text)
        with running(one):
            yield one


def fire(gateway: Gateway, requests: Iterator[bytes]) -> Counter[int]:
    """Statuses. One connection, a batch in one write: what is measured is not the client."""
    statuses: Counter[int] = Counter()
    with RawClient(gateway.url) as client:
        while batch := list(islice(requests, BATCH)):
            client.send(b"".join(batch))
            for _ in batch:
                status, headers = client.read_head()
                client.read_body(headers)
                statuses[status] += 1
    return statuses


def series(gateway: Gateway) -> set[str]:
    """Every series of a scrape, by name and labels."""
    return {line.rsplit(" ", 1)[0] for line in gateway.metrics_text().splitlines() if not line.startswith("#")}


def values(names: set[str], family: str, label: str) -> set[str]:
    return {found[1] for one in names if one.startswith(family) and (found := re.search(rf'{label}="([^"]*)"', one))}


def asked(model: Callable[[int], str], times: int, **headers: Callable[[int], str]) -> Iterator[bytes]:
    return (request_bytes(chat(model(at), SHORT), **{name: value(at) for name, value in headers.items()}) for at in range(times))


def test_ten_thousand_users_and_a_thousand_unknown_models_add_a_bounded_number_of_series(gateway: Gateway) -> None:
    fire(gateway, asked(lambda _: "sim", 2, authorization=lambda _: "Bearer limited", x_user_id=lambda _: "first"))
    fire(gateway, asked(lambda _: "not-there", 1))
    before = series(gateway)
    refused = fire(gateway, asked(lambda _: "sim", USERS, authorization=lambda _: "Bearer limited", x_user_id=lambda at: f"user-{at}"))
    users = series(gateway)
    assert refused == {429: USERS - refused[200], **({200: refused[200]} if refused[200] else {})}
    assert refused[200] <= 5, "a minute's one request, and time that a slow machine takes"
    assert len(values(users, "inference_gateway_rate_limit_hits_total", "user")) == USERS_MAX + 1
    assert len(users - before) <= USERS_MAX + 1
    unknown = fire(gateway, asked(lambda at: f"model-{at}", UNKNOWN))
    assert unknown == {404: UNKNOWN}
    assert series(gateway) == users, "a model that no route knows is `unknown`, and that was there"
    assert len(users) < SERIES_MAX
    told("10,000 users and 1,000 unknown models", before, series(gateway))


def test_a_thousand_made_up_models_that_a_route_serves_stay_under_series_max_and_no_request_is_lost(gateway: Gateway) -> None:
    before = series(gateway)
    served = fire(gateway, asked(lambda at: f"any-{at}", MADE_UP))
    assert served == {200: MADE_UP}
    after = series(gateway)
    assert len(after) < SERIES_MAX
    assert gateway.metric("appliance_metric_series") < SERIES_MAX
    assert gateway.metric("appliance_metric_series_dropped_total") > 0
    counts = [float(line.rsplit(" ", 1)[1]) for line in gateway.metrics_text().splitlines() if line.startswith("model_requests_total{")]
    assert sum(counts) == MADE_UP
    told("1,000 made-up models on a catch-all route", before, after)
    assert fire(gateway, asked(lambda at: f"any-more-{at}", MADE_UP // 10)) == {200: MADE_UP // 10}
    assert series(gateway) == after, "what is full stays as it is"


def told(what: str, before: set[str], after: set[str]) -> None:
    """For `pytest -s`."""
    print(json.dumps({"after": what, "series_before": len(before), "series": len(after)}))
