"""The metrics' doors: who may read them where, in which format, and which vocabularies."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from rig import Gateway, Simulator, call, chat, free_port, one_backend, running

METRICS_TOKEN, ADMIN_TOKEN = "metrics-token-1", "admin-token-2"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("metrics")
    sim = Simulator(folder)
    with running(sim):
        served = Gateway(folder, one_backend(sim))
        with running(served):
            assert call(f"{served.url}/v1/chat/completions", chat("sim"))[0] == 200
            yield served


def scrape(gateway: Gateway, query: str = "", accept: str = "*/*") -> httpx.Response:
    return httpx.get(f"{gateway.admin_url}/metrics{query}", headers={"accept": accept}, trust_env=False)


def test_metrics_come_in_the_format_that_was_asked_for(gateway: Gateway) -> None:
    plain = scrape(gateway)
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# EOF" not in plain.text
    scraper = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    opened = scrape(gateway, accept=scraper)
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert opened.text.endswith("# EOF\n")
    head = httpx.head(f"{gateway.admin_url}/metrics", trust_env=False)
    assert (head.status_code, head.content) == (200, b"")


def test_one_scrape_may_ask_for_some_vocabularies(gateway: Gateway) -> None:

    def families(query: str) -> set[str]:
        return {line.split()[2] for line in scrape(gateway, query).text.splitlines() if line.startswith("# TYPE")}

    only = families("?vocabulary=model")
    assert only
    assert all(name.startswith("model_") for name in only)
    two = families("?vocabulary=model&vocabulary=aigateway")
    assert two > only
    assert all(name.startswith(("model_", "aigateway_")) for name in two)
    assert families("") > two


@pytest.mark.parametrize(
    ("setting", "address", "tokens", "without", "given"),
    [
        ("auto", "127.0.0.1", False, 200, 200),
        ("auto", "127.0.0.1", True, 401, 200),
        ("auto", "0.0.0.0", True, 401, 200),
        ("auto", "0.0.0.0", False, 401, 401),
        ("open", "0.0.0.0", True, 200, 200),
        ("off", "127.0.0.1", True, 404, 404),
    ],
)
def test_public_metrics_are_open_on_loopback_only_unless_told_otherwise(
    tmp_path: Path, setting: str, address: str, tokens: bool, without: int, given: int
) -> None:
    port = free_port()
    admin = f'metrics_token = "{METRICS_TOKEN}"\ntoken = "{ADMIN_TOKEN}"' if tokens else ""
    gateway = Gateway(tmp_path, "", head=f'metrics = "{setting}"', admin=admin, listen=(f"{address}:{port}",))
    with running(gateway):
        gateway.wait_port(port)
        for bearer, wanted in (("", without), ("wrong", without), (METRICS_TOKEN, given), (ADMIN_TOKEN, given)):
            headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
            assert httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers, trust_env=False).status_code == wanted
