"""The ledger of a real gateway: killed at any moment, its disk full, its file locked or damaged; backed up and checked beside it.

`LEDGER_KILL_ROUNDS=50` kills more often (`make kill`).
"""

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from ledger_reader import ledger_rows, store_of
from raw_client import RawClient
from rig import Gateway, Process, Simulator, call, chat, eventually, get_json, one_backend, running

ROUNDS = int(os.environ.get("LEDGER_KILL_ROUNDS", "3"))
SEED = int(os.environ.get("LEDGER_KILL_SEED", str(random.randrange(2**32))))
CLIENTS = 8
SAID_S = 30.0
"""How long a state of the ledger's is waited for: it takes two seconds to find out that a file is locked, and one more to try again."""


@attrs.define
class Crowd:
    """Clients that ask as fast as they are answered, until told to stop. answered: what each request was told of its usage, by its id."""

    url: str
    name: str
    draw: random.Random
    answered: dict[str, tuple[int, int]] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)
    over: bool = False

    def start(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def _ask(self, client: int) -> None:
        number = 0
        while not self.over:
            number += 1
            request_id = f"{self.name}-{client}-{number}"
            self.asked.append(request_id)
            speed = self.draw.choice(("tps=0", "tps=0", "ttft=5ms,tps=500"))
            with suppress(OSError, urllib.error.URLError, ValueError):
                body = chat(f"sim@{speed}", user=request_id, text=f"[[tokens={self.draw.randrange(1, 60)}]]")
                status, _, answer = call(f"{self.url}/v1/chat/completions", body, x_request_id=request_id)
                if status == 200:
                    self.answered[request_id] = usage_of(answer)


def usage_of(answer: bytes) -> tuple[int, int]:
    import json

    usage = json.loads(answer)["usage"]
    return usage["prompt_tokens"], usage["completion_tokens"]


def billed_by(simulator: Simulator) -> dict[str, tuple[int, int]]:
    """What the provider counted for each request that it answered in full or in part, by the request's id."""
    import json

    found = {}
    for one in simulator.stats(5000)["last"]:
        if one["body"] and one["completion_tokens"]:
            found[json.loads(one["body"])["user"]] = (one["prompt_tokens"], one["completion_tokens"])
    return found


def test_whenever_it_is_killed_every_request_is_in_the_ledger_once(tmp_path, simulator):
    draw = random.Random(SEED)
    print(f"LEDGER_KILL_SEED={SEED}")
    asked: set[str] = set()
    answered: dict[str, tuple[int, int]] = {}
    billed: dict[str, tuple[int, int]] = {}
    for number in range(ROUNDS):
        simulator.reset()
        gateway = Gateway(tmp_path, one_backend(simulator), store='journal_segment_bytes = 131072\ncommit_interval_s = 0.05')
        with waiting(gateway, simulator, f"round{number}-waiting"):
            crowd = Crowd(gateway.url, f"round{number}", draw)
            threads = crowd.start()
            eventually(lambda crowd=crowd: len(crowd.answered) > 20, 60)
            time.sleep(draw.uniform(0, 0.3))
            gateway.popen.send_signal(signal.SIGKILL)
            gateway.popen.wait()
            crowd.over = True
            for thread in threads:
                thread.join()
        asked |= {f"round{number}-waiting", *crowd.asked}
        answered |= crowd.answered
        billed |= billed_by(simulator)
    gateway = Gateway(tmp_path, one_backend(simulator))
    rows = ledger_rows(store_of(gateway))
    call(f"{gateway.url}/v1/chat/completions", b"{")
    assert gateway.stop() == 0
    assert "ledger_recovered" in gateway.log
    assert_explained(rows, asked, answered, billed)
    assert_sums(store_of(gateway), rows)


@contextmanager
def waiting(gateway: Gateway, simulator: Simulator, request_id: str) -> Iterator[None]:
    """A request that has no answer yet, so that a kill always finds one."""
    with RawClient(gateway.url) as client:
        client.ask(chat("sim@ttft=500s", user=request_id), x_request_id=request_id)
        eventually(lambda: simulator.stats()["requests"] == 1)
        yield


def assert_explained(rows: list[dict[str, Any]], asked: set[str], answered: dict[str, Any], billed: dict[str, Any]) -> None:
    counts = Counter(row["request_id"] for row in rows)
    assert max(counts.values()) == 1, [one for one, count in counts.items() if count > 1]
    assert set(counts) <= asked
    assert set(answered) <= set(counts), "answered, and not in the ledger"
    assert set(billed) <= set(counts), "billed, and not in the ledger"
    for row in rows:
        exact = (row["input_tokens"], row["output_tokens"])
        if row["usage_source"] == "provider":
            assert exact == billed[row["request_id"]]
            assert row["status"] == 200
        else:
            assert (row["usage_source"], row["status"], row["error_type"]) == ("estimated", 0, "recovered"), row
    sources = Counter(row["usage_source"] for row in rows)
    print(f"{len(asked)} asked, {len(answered)} answered, {len(billed)} billed; rows: {dict(sources)}")
    assert ROUNDS <= sources["estimated"] <= ROUNDS * (CLIENTS + 1)
    assert sources["provider"] >= len(answered) - ROUNDS * CLIENTS


def assert_sums(path: Path, rows: list[dict[str, Any]]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT sum(requests), sum(estimated_requests), sum(input_tokens), sum(output_tokens) FROM daily"
        sums = connection.execute(query).fetchone()
    estimated = sum(row["usage_source"] == "estimated" for row in rows)
    assert sums == (len(rows), estimated, sum(row["input_tokens"] for row in rows), sum(row["output_tokens"] for row in rows))


def test_power_too_leaves_every_request_once_and_its_answers_wait_for_the_disk(tmp_path, simulator):
    gateway = Gateway(tmp_path, one_backend(simulator), store='durability = "power"')
    with running(gateway):
        crowd = Crowd(gateway.url, "power", random.Random(1))
        threads = crowd.start()
        eventually(lambda: len(crowd.answered) > 50, 60)
        crowd.over = True
        for thread in threads:
            thread.join()
    assert "service_failed" not in gateway.log
    rows = ledger_rows(store_of(gateway))
    assert {row["request_id"] for row in rows} == set(crowd.answered)
    assert {row["usage_source"] for row in rows} == {"provider"}


def test_a_locked_file_refuses_requests_says_so_and_is_over_by_itself(tmp_path, simulator):
    gateway = Gateway(tmp_path, one_backend(simulator))
    with running(gateway):
        url = f"{gateway.url}/v1/chat/completions"
        assert call(url, chat("sim@tps=0"), x_request_id="before")[0] == 200
        eventually(lambda: ledger_rows(store_of(gateway), "before"))
        with closing(sqlite3.connect(store_of(gateway), isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            assert call(url, chat("sim@tps=0"), x_request_id="during")[0] == 200, "nobody knows yet"
            _, headers, body = eventually(lambda: (found := call(url, chat("sim@tps=0")))[0] == 503 and found, SAID_S)
            assert b"ledger_unavailable" in body
            assert str(tmp_path).encode() not in body
            assert int(headers["retry-after"]) >= 1
            with pytest.raises(urllib.error.HTTPError) as unready:
                get_json(f"{gateway.url}/readyz")
            assert unready.value.code == 503
            assert b"ledger: locked" in unready.value.read()
            assert get_json(f"{gateway.url}/livez")
            assert gateway.metric("appliance_ledger_errors_total") >= 1
            assert gateway.metric("appliance_ledger_queued_rows") >= 1
        eventually(lambda: get_json(f"{gateway.url}/readyz")["status"] == "ready", SAID_S)
        eventually(lambda: ledger_rows(store_of(gateway), "during"), SAID_S)
        assert call(url, chat("sim@tps=0"))[0] == 200
        eventually(lambda: gateway.metric("appliance_ledger_queued_rows") == 0, SAID_S)
        eventually(lambda: "ledger_works_again" in gateway.log)
        assert gateway.log.count('"event":"ledger_') == 2
        assert "Traceback" not in gateway.log


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a small file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(ballast: Path) -> None:
    """Take all room there is, whoever else takes some of it meanwhile."""
    with ballast.open("wb", buffering=0) as sink, suppress(OSError):
        while True:
            sink.write(bytes(4096))


def test_a_full_disk_refuses_requests_and_everything_that_was_answered_is_in_the_ledger_when_there_is_room(small_disk, simulator):
    gateway = Gateway(small_disk, one_backend(simulator))
    with running(gateway):
        answered = []

        def ask() -> int:
            request_id = f"full-{len(answered)}"
            status = call(f"{gateway.url}/v1/chat/completions", chat("sim@tps=0"), x_request_id=request_id)[0]
            if status == 200:
                answered.append(request_id)
            return int(status)

        assert ask() == 200
        ballast = small_disk / "ballast"
        fill(ballast)
        eventually(lambda: ask() == 503, SAID_S)
        with pytest.raises(urllib.error.HTTPError) as unready:
            get_json(f"{gateway.url}/readyz")
        assert b"ledger: full" in unready.value.read()
        ballast.unlink()
        eventually(lambda: ask() == 200, SAID_S)
        eventually(lambda: gateway.metric("appliance_ledger_queued_rows") == 0, SAID_S)
        assert get_json(f"{gateway.url}/readyz") == {"status": "ready"}
        assert [row["request_id"] for row in ledger_rows(store_of(gateway))] == answered


def test_with_serve_requests_are_answered_though_nothing_can_be_written(tmp_path, simulator):
    gateway = Gateway(tmp_path, one_backend(simulator), store='on_failure = "serve"')
    with running(gateway):
        url = f"{gateway.url}/v1/chat/completions"
        with closing(sqlite3.connect(store_of(gateway), isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            assert call(url, chat("sim@tps=0"), x_request_id="first")[0] == 200
            ready = eventually(lambda: (found := get_json(f"{gateway.url}/readyz")).get("warnings") and found, SAID_S)
            assert ready == {"status": "ready", "warnings": ["ledger: locked"]}
            assert call(url, chat("sim@tps=0"), x_request_id="second")[0] == 200
        for request_id in ("first", "second"):
            eventually(lambda request_id=request_id: ledger_rows(store_of(gateway), request_id), SAID_S)
        eventually(lambda: get_json(f"{gateway.url}/readyz") == {"status": "ready"}, SAID_S)


@pytest.mark.parametrize("on_failure", ["refuse", "serve"])
def test_a_damaged_file_is_never_taken_for_a_new_one(tmp_path, simulator, on_failure):
    damaged = os.urandom(20_000)
    (tmp_path / "gateway.db").write_bytes(damaged)
    store = f'on_failure = "{on_failure}"'
    if on_failure == "refuse":
        with pytest.raises(AssertionError, match=r"store.path: .*gateway.db is damaged"):
            Gateway(tmp_path, one_backend(simulator), store=store)
        assert (tmp_path / "gateway.db").read_bytes() == damaged
        log = (tmp_path / "gateway.log").read_text()
        assert "appliance store check" in log
        assert "Traceback" not in log
        return
    gateway = Gateway(tmp_path, one_backend(simulator), store=store)
    with running(gateway):
        (kept,) = tmp_path.glob("gateway.db.corrupt-*")
        assert kept.read_bytes() == damaged
        (said,) = eventually(lambda: [event for event in gateway.events() if event["event"] == "ledger_corrupt"])
        assert said["kept"] == str(kept)
        assert call(f"{gateway.url}/v1/chat/completions", chat("sim@tps=0"), x_request_id="later")[0] == 200
        eventually(lambda: ledger_rows(store_of(gateway), "later"))


def test_two_gateways_do_not_share_a_store(tmp_path, simulator):
    first = Gateway(tmp_path, one_backend(simulator))
    with running(first):
        with pytest.raises(AssertionError, match="in use by another gateway"):
            Gateway(tmp_path, one_backend(simulator))
        assert "server.listen" not in first.log
        config = first.config_path.read_text()
        taken = tmp_path / "taken.toml"  # of the same store, on addresses that the first one has
        taken.write_text(config.replace(config.split('"127.0.0.1:')[1].split('"')[0], str(first.port)))
        second = Process(["serve", "-c", str(taken)], tmp_path / "second.log")
        assert second.popen.wait(20) == 1
        assert "in use by another gateway" in second.log
        assert "server.listen" not in second.log, "no door opens before the store is taken"
        assert first.popen.poll() is None, first.log
        assert call(f"{first.url}/v1/chat/completions", chat("sim@tps=0"))[0] == 200
