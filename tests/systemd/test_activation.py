"""Socket activation: listeners are inherited by name, and a restart under load, with the socket held by somebody else, loses nothing."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_reader import ledger_rows
from notify_socket import NotifySocket
from raw_client import RawClient, events
from rig import KEY, KEY_SHA256, LAUNCHER, Simulator, call, chat, eventually, free_port, get_json, one_backend, running


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    one = Simulator(tmp_path_factory.mktemp("activation"))
    with running(one):
        yield one


def configured(folder: Path, simulator: Simulator, listen: str, head: str = "") -> Path:
    path = folder / "config.toml"
    path.write_text(
        f'[server]\nlisten = {listen}\n{head}\n[admin]\nlisten = "127.0.0.1:{free_port()}"\n[store]\npath = "{folder}/store.db"\n'
        f'[tenants.test]\nkeys = [ {{ id = "test", sha256 = "{KEY_SHA256}" }} ]\n' + one_backend(simulator)
    )
    return path


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="needs systemd-socket-activate (Debian package systemd)")
def test_listeners_that_systemd_opened_are_served_by_their_names(simulator: Simulator, tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    config = configured(tmp_path, simulator, '["fd:http", { address = "fd:other", engine = "hypercorn" }]')
    with NotifySocket(tmp_path) as told, (tmp_path / "serve.log").open("wb") as log:
        command = ["systemd-socket-activate", *(f"--listen=127.0.0.1:{port}" for port in ports), "--fdname=http:other"]
        command += [f"--setenv=NOTIFY_SOCKET={told.path}", f"--setenv=PATH={Path(sys.executable).parent}"]
        command += [sys.executable, "-m", "appliance", "serve", "-c", str(config)]
        with subprocess.Popen(command, stdout=log, stderr=log) as served:
            try:
                with eventually(lambda: socket.create_connection(("127.0.0.1", ports[0]))):  # the first connection starts it
                    for port in ports:
                        assert call(f"http://127.0.0.1:{port}/v1/chat/completions", chat("sim"))[0] == 200
                    told.wait("READY")
            finally:
                served.send_signal(signal.SIGTERM)
                assert served.wait(15) == 0, (tmp_path / "serve.log").read_text()
        assert told.values("STOPPING") == ["1"]


class Generation:
    """One run of the gateway on a listening socket that the test holds, as systemd does."""

    def __init__(self, listener: socket.socket, folder: Path, config: Path, number: int) -> None:
        (folder / str(number)).mkdir()
        self.told = NotifySocket(folder / str(number))
        self.log = folder / f"serve-{number}.log"
        command = [sys.executable, "-c", LAUNCHER, str(listener.fileno()), "http", "serve", "-c", str(config)]

        with self.log.open("wb") as sink:
            self.popen = subprocess.Popen(
                command, pass_fds=(listener.fileno(),), stdout=sink, stderr=sink, env={**os.environ, **self.told.env}
            )

    def end(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        status = self.popen.wait(60)
        self.told.__exit__()
        return status


class Load:
    """Asks without a pause, each time on a new connection, whole and streamed, until stopped. What went wrong, and what was answered."""

    def __init__(self, url: str, threads: int = 8, key: str = KEY) -> None:
        self.url, self.key, self.wrong, self.answered = url, key, [], []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            name, stream = f"load-{number}-{count}", count % 2 == 0
            count += 1
            try:
                with RawClient(self.url) as client:
                    client.sock.settimeout(60)  # a restart on a busy machine
                    body = chat("sim@tps=200" if stream else "sim", "[[tokens=20]]", stream=stream)
                    client.ask(body, x_request_id=name, authorization=f"Bearer {self.key}")
                    status, headers = client.read_head()
                    body = client.read_body(headers)
            except (OSError, EOFError, ValueError) as error:
                self.wrong.append((name, repr(error)))
                continue
            if status != 200 or (stream and events(body)[-1] != "[DONE]"):
                self.wrong.append((name, status, body[-300:]))
            self.answered.append(name)


@pytest.mark.parametrize("engine", ["builtin", "hypercorn"])
def test_restarts_under_load_with_the_socket_held_refuse_and_lose_nothing(simulator: Simulator, tmp_path: Path, engine: str) -> None:
    """Four runs one after the other, each begun when the one before has ended, as systemd does it."""
    config = configured(tmp_path, simulator, f'[{{ address = "fd:http", engine = "{engine}" }}]')
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        one = Generation(listener, tmp_path, config, 0)
        try:
            one.told.wait("READY")
            gaps = []
            with Load(url) as load:
                for number in range(1, 4):
                    before = len(load.answered)
                    eventually(lambda before=before: len(load.answered) >= before + 40 or load.wrong, 60)
                    at = time.monotonic()
                    assert one.end() == 0, one.log.read_text()
                    one = Generation(listener, tmp_path, config, number)
                    one.told.wait("READY")
                    gaps.append(time.monotonic() - at)
                before = len(load.answered)
                eventually(lambda: len(load.answered) >= before + 40 or load.wrong, 60)
        finally:
            assert one.end() == 0
    took = ", ".join(f"{gap:.1f}" for gap in gaps)
    print(f"{engine}: {len(load.answered)} answered over 3 restarts of {took} s; {len(load.wrong)} refused or lost")
    assert load.wrong == []
    rows = [row["request_id"] for row in ledger_rows(tmp_path / "store.db")]
    assert sorted(rows) == sorted(load.answered), "each is in the ledger once"
    for number in range(4):
        assert "Traceback" not in (tmp_path / f"serve-{number}.log").read_text()
    eventually(lambda: get_json(f"{simulator.url}/sim/stats?last=1")["in_flight"] == 0)
