"""SIGHUP under load loses nothing: requests go on, a bad file changes nothing and says why, what was not changed keeps what it learnt."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_client import RawClient, events, request_bytes
from rig import Gateway, Simulator, call, chat, eventually, running

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, Simulator]]:
    folder = tmp_path_factory.mktemp("sighup")
    pair = Simulator(folder, "one"), Simulator(folder, "two")
    with running(*pair):
        yield pair


@pytest.fixture(autouse=True)
def _afresh(simulators: tuple[Simulator, Simulator]) -> None:
    for one in simulators:
        one.reset()


def config(one: Simulator, two: Simulator | None, weight: int = 1, more: str = "", retry: str = "") -> str:
    backends = f'[backends.one]\nprovider = "custom"\nbase_url = "{one.url}/v1"\n{more}\n'
    targets = f'{{ backend = "one", weight = {weight} }}'
    if two is not None:
        backends += f'[backends.two]\nprovider = "custom"\nbase_url = "{two.url}/v1"\n'
        targets += ', { backend = "two", weight = 1 }'
    return f'{backends}[[routes]]\nname = "all"\nmodels = ["sim*"]\ntargets = [ {targets} ]\n{retry}\n'


@pytest.fixture
def gateway(simulators: tuple[Simulator, Simulator], tmp_path: Path) -> Iterator[Gateway]:
    one = Gateway(tmp_path, config(*simulators))
    with running(one):
        yield one


def reload(gateway: Gateway, text: str) -> dict[str, object]:
    """Put a file in force with SIGHUP; the log line that says what came of it."""
    known = len(outcomes(gateway))
    gateway.write_config(text)
    gateway.signal(signal.SIGHUP)
    return eventually(lambda: outcomes(gateway)[known:])[0]


def outcomes(gateway: Gateway) -> list[dict[str, object]]:
    return [event for event in gateway.events() if event.get("event") in ("reloaded", "reload_refused")]


class Load:
    """Keeps asking, whole and streamed, on both engines, until stopped; remembers what went wrong."""

    def __init__(self, gateway: Gateway, tasks: int = 6) -> None:
        self.gateway = gateway
        self.answers = 0
        self.wrong: list[object] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(tasks)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        url = self.gateway.hypercorn_url if number % 3 == 2 else self.gateway.url
        with RawClient(url) as client:  # one kept-alive connection each
            while not self._stop.is_set():
                stream = number % 2 == 0
                try:
                    client.ask(chat("sim@tps=0", stream=stream))
                    status, headers = client.read_head()
                    body = client.read_body(headers)
                except (OSError, EOFError) as error:
                    self.wrong.append(error)
                    return
                if status != 200 or (stream and events(body)[-1] != "[DONE]"):
                    self.wrong.append((status, body[-300:]))
                self.answers += 1


def test_no_request_fails_while_the_file_changes_ten_times(gateway: Gateway, simulators: tuple[Simulator, Simulator]) -> None:
    one, two = simulators
    files = [
        config(one, two, weight=3), config(one, None), config(one, two, more="max_concurrency = 50"), "this is no TOML [",
        config(one, two, weight=5), config(one, two).replace('"custom"', '"nobody"'), config(two, one), config(one, two, weight=9),
        config(one, None, more="timeouts = { connect_s = 3 }"), config(one, two),
    ]  # fmt: skip
    with Load(gateway) as load:
        for text in files:
            before = load.answers
            reload(gateway, text)
            eventually(lambda before=before: load.answers - before >= 25 or load.wrong)
    print(f"{load.answers} answers over {len(files)} reloads")
    assert load.wrong == []
    assert load.answers >= 200
    assert [event["event"] for event in outcomes(gateway)].count("reload_refused") == 2
    assert gateway.metric('appliance_config_reloads_total{result="ok"}') == 8
    assert gateway.metric('appliance_config_reloads_total{result="failed"}') == 2
    assert all(event["status"] == 200 for event in gateway.requests())
    assert "Traceback" not in gateway.log


def test_a_running_stream_finishes_on_the_backend_that_a_reload_removed(gateway: Gateway, simulators: tuple[Simulator, Simulator]) -> None:
    one, two = simulators
    reload(gateway, config(one, None))
    with RawClient(gateway.url) as client:
        client.ask(chat("sim@tps=20", stream=True))
        _, headers = client.read_head()
        assert headers["x-served-by"] == "one"
        first = client.read_chunk()
        reload(gateway, config(two, None).replace("backends.one", "backends.new").replace('"one"', '"new"'))
        status, fresh, _ = call(gateway.url + CHAT, chat("sim"))
        assert (status, fresh["x-served-by"]) == (200, "new")
        time.sleep(1.1)  # past the moment at which unused backends are closed
        assert events(first + client.read_body(headers))[-1] == "[DONE]"
    eventually(lambda: one.connections() == 0)
    assert [backend["name"] for backend in gateway.admin("/admin/providers")["providers"]] == ["new"]


def test_a_request_that_waits_keeps_its_backend_through_a_reload(gateway: Gateway, simulators: tuple[Simulator, Simulator]) -> None:
    """In a retry pause, and before its body is complete, a request holds no connection; the backend it will use must stay open."""
    one, two = simulators
    reload(gateway, config(one, None, retry="retry = { attempts = 2, backoff_s = 2.5, backoff_max_s = 2.5 }"))
    with RawClient(gateway.url) as paused, RawClient(gateway.url) as slow:
        paused.ask(chat("sim+500;first=1"))
        whole = request_bytes(chat("sim"))
        slow.send(whole[:-10])
        eventually(lambda: one.stats()["requests"] >= 1 and gateway.metric("appliance_in_flight_requests") == 2)
        reload(gateway, config(two, None).replace("backends.one", "backends.new").replace('"one"', '"new"'))
        time.sleep(1.3)
        slow.send(whole[-10:])
        for client in (slow, paused):
            status, headers = client.read_head()
            assert (status, headers.get("x-served-by")) == (200, "one" if client is paused else "new"), client.read_body(headers)
            client.read_body(headers)
    eventually(lambda: one.connections() == 0)


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ("not TOML at all [", "syntax error"),
        ("", "no backend"),
        ('[backends.one]\nprovider = "custom"\nbase_url = "http://127.0.0.1:1/v1"\nmax_concurency = 3\n', "max_concurrency"),
        ('[backends.one]\nprovider = "custom"\nbase_url = "http://127.0.0.1:1/v1"\nca = "/nowhere.pem"\n', "ca"),
    ],
)
def test_a_bad_file_changes_nothing_and_says_why(
    gateway: Gateway, simulators: tuple[Simulator, Simulator], broken: str, named: str
) -> None:
    before = gateway.admin("/admin/config")
    refused = reload(gateway, broken)
    assert refused["event"] == "reload_refused"
    assert named in " ".join(refused["problems"])
    status, _, body = call(f"{gateway.admin_url}/admin/reload", b"")
    assert status == 422
    assert named in body.decode()
    assert gateway.admin("/admin/config") == before
    assert call(gateway.url + CHAT, chat("sim"))[0] == 200
    gateway.config_path.unlink()
    assert call(f"{gateway.admin_url}/admin/reload", b"")[0] == 422
    assert call(gateway.url + CHAT, chat("sim"))[0] == 200


def test_an_unchanged_backend_keeps_its_connections_and_its_breaker(gateway: Gateway, simulators: tuple[Simulator, Simulator]) -> None:
    one, two = simulators
    policy = "breaker = { consecutive_failures = 2, open_s = 300 }"
    retry = "retry = { attempts = 1 }"
    other = f'[backends.steady]\nprovider = "custom"\nbase_url = "{two.url}/v1"\n'
    reload(gateway, config(one, None, more=policy, retry=retry) + other)
    for _ in range(2):
        assert call(gateway.url + CHAT, chat("sim+500"))[0] == 502
    assert call(gateway.url + CHAT, chat("steady/sim"))[0] == 200
    assert gateway.provider("one")["breaker"] == "open"
    steady = eventually(lambda: (one := gateway.provider("steady"))["in_flight"] == 0 and one["connections"]["idle"] == 1 and one)
    result = reload(gateway, config(one, None, weight=7, more=policy, retry=retry) + other)
    assert any("weight" in change for change in result["changes"]), result
    assert gateway.provider("one")["breaker"] == "open"
    assert gateway.provider("steady") == steady
    call(gateway.url + CHAT, chat("steady/sim"), x_request_id="again")
    assert gateway.record("again")["attempts"][0]["reused_connection"] is True
    # A changed one starts afresh: its operator may have mended what was wrong.
    reload(gateway, config(one, None, more=policy + "\nmax_concurrency = 7", retry=retry))
    assert gateway.provider("one")["breaker"] == "closed"
    eventually(lambda: two.connections() == 0)


def test_reload_over_the_admin_api_says_what_changed(gateway: Gateway, simulators: tuple[Simulator, Simulator]) -> None:
    gateway.write_config(config(*simulators, weight=4))
    status, _, body = call(f"{gateway.admin_url}/admin/reload", b"")
    assert status == 200
    assert b"weight" in body
    assert call(f"{gateway.admin_url}/admin/reload", b"")[2].replace(b" ", b"").replace(b"\n", b"") == b'{"changes":[],"problems":[]}'
    assert gateway.metric('appliance_config_reloads_total{result="ok"}') == 2


def test_many_reloads_leave_nothing_behind(gateway: Gateway, simulators: tuple[Simulator, Simulator]) -> None:
    """Each makes a backend anew; neither descriptors nor metric series may grow with them."""

    def series() -> set[str]:
        return {line.rsplit(" ", 1)[0] for line in gateway.metrics_text().splitlines() if line.startswith("appliance_service_restarts")}

    for number in range(3):
        reload(gateway, config(*simulators, more=f"max_concurrency = {100 + number}"))
        call(gateway.url + CHAT, chat("sim"))
    eventually(lambda: len({line for line in series() if "pool" in line}) <= 2)
    fds, before = gateway.open_fds(), series()
    for number in range(10):
        reload(gateway, config(*simulators, more=f"max_concurrency = {200 + number}"))
        call(gateway.url + CHAT, chat("sim"))
    assert series() == before
    eventually(lambda: gateway.open_fds() <= fds + 4)
