"""Real processes for tests: a simulated provider and a gateway, each started as its user would start it, on ports of their own.

Each port is given out once (ports.py), so that tests can run side by side; a process that does not come up fails with its own words.
"""

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ports import free_port

START_S = 60.0
PATIENCE_S = 30.0
"""How long is waited for what must come: only where nothing comes does a test take so long, however busy the machine is."""

KEY = "sk-test-0123456789abcdef"
KEY_SHA256 = hashlib.sha256(KEY.encode()).hexdigest()


LAUNCHER = """
import os, sys
number, name, *command = sys.argv[1:]
os.dup2(int(number), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES=name)
os.execv(sys.executable, [sys.executable, "-m", "appliance", *command])
"""
"""Hands over a listening socket as systemd does, which says the process's own number."""


class Process:
    """A running command of ours. `log` is what it wrote so far. `door`: a listening socket that it is handed, for the address `fd:door`."""

    def __init__(self, arguments: list[str], log: Path, env: dict[str, str] | None = None, door: socket.socket | None = None) -> None:
        self.log_path = log
        start = ["-m", "appliance"] if door is None else ["-c", LAUNCHER, str(door.fileno()), "door"]
        with log.open("wb") as sink:
            self.popen = subprocess.Popen(
                [sys.executable, *start, *arguments], stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})},
                pass_fds=() if door is None else (door.fileno(),), start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def events(self) -> list[dict[str, Any]]:
        """The JSON lines of the log."""
        found = []
        for line in self.log.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found

    def requests(self) -> list[dict[str, Any]]:
        return [event for event in self.events() if event.get("event") == "request"]

    def wait_port(self, port: int) -> None:
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.popen.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        self.popen.kill()  # whoever was to stop it never gets it
        raise AssertionError(f"nothing listens on {port}; the process said:\n{self.log[-3000:]}")

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def rss_kb(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def cpu_s(self) -> float:
        """Seconds of a CPU that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_fds(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stop(self) -> int:
        """SIGTERM, and the exit status; SIGKILL when it does not end."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        return self.popen.returncode


class Simulator(Process):
    """A simulated provider, with its /sim/ interface."""

    def __init__(self, folder: Path, name: str = "simulator", extra: tuple[str, ...] = ()) -> None:
        self.port = free_port()
        super().__init__(["simulate", "--listen", f"127.0.0.1:{self.port}", *extra], folder / f"{name}.log")
        self.wait_port(self.port)
        self.url = f"http://127.0.0.1:{self.port}"

    def stats(self, last: int = 20) -> dict[str, Any]:
        return get_json(f"{self.url}/sim/stats?last={last}")

    def fault(self, model: str, fault: str, **more: Any) -> None:
        """Set a standing fault; an empty one clears it."""
        body = {"model": model, **({"fault": fault} if fault else {}), **more}
        call(f"{self.url}/sim/faults", body)

    def reset(self) -> None:
        call(f"{self.url}/sim/reset", {})

    def connections(self) -> int:
        """Open upstream connections, not counting the one that asks."""
        return int(self.stats()["connections_open"]) - 1


class Gateway(Process):
    """A gateway on its own ports. `{listen}`, `{hypercorn}` and `{admin}` in the configuration's head are filled in here."""

    def __init__(
        self, folder: Path, config: str, name: str = "gateway", head: str = "", env: dict[str, str] | None = None,
        tls: tuple[Path, Path] | None = None, admin: str = "", listen: tuple[str, ...] = (), store: str = "",
        door: socket.socket | None = None,
    ) -> None:  # fmt: skip
        """`tls`: certificate and key of one more listener, `tls_url`, which speaks HTTP/2 too. `listen`: more addresses. `door`: one more
        listener, open. `head`, `admin` and `store` are more lines for [server], [admin] and [store]."""
        self.port, self.hypercorn_port, self.admin_port, self.tls_port = free_port(), free_port(), free_port(), free_port()
        self.config_path = folder / f"{name}.toml"
        listeners = f'"127.0.0.1:{self.port}", {{ address = "127.0.0.1:{self.hypercorn_port}", engine = "hypercorn" }}'
        if tls is not None:
            listeners += f', {{ address = "127.0.0.1:{self.tls_port}", tls_cert = "{tls[0]}", tls_key = "{tls[1]}" }}'
        listeners += "".join(f', "{address}"' for address in (*listen, *(["fd:door"] if door is not None else [])))
        self.head = f"""
[server]
listen = [{listeners}]
{head}
[admin]
listen = "127.0.0.1:{self.admin_port}"
{admin}
[store]
path = "{name}.db"
{store or "journal_segment_bytes = 1048576"}
[tenants.test]
keys = [ {{ id = "test", sha256 = "{KEY_SHA256}" }} ]
"""
        self.write_config(config)
        super().__init__(["serve", "-c", str(self.config_path)], folder / f"{name}.log", env, door)
        for port in (self.port, self.hypercorn_port, self.admin_port, *([self.tls_port] if tls is not None else [])):
            self.wait_port(port)
        self.url = f"http://127.0.0.1:{self.port}"
        self.hypercorn_url = f"http://127.0.0.1:{self.hypercorn_port}"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        self.tls_url = f"https://127.0.0.1:{self.tls_port}"

    def rss_kb(self) -> int:
        """Once the languages are loaded, which happens beside the first requests: one in another language waits for that."""
        call(self.url + "/v1/messages", {})
        return super().rss_kb()

    def write_config(self, config: str) -> None:
        """Replace the file; SIGHUP brings it into force."""
        self.config_path.write_text(self.head + config)

    def admin(self, path: str) -> Any:
        return get_json(self.admin_url + path)

    def provider(self, name: str) -> dict[str, Any]:
        return next(one for one in self.admin("/admin/providers")["providers"] if one["name"] == name)

    def record(self, request_id: str) -> dict[str, Any]:
        """The record of a request, once it is written."""
        return eventually(lambda: get_json(f"{self.admin_url}/admin/requests/{request_id}"))

    def settle(self) -> None:
        """Wait until no request is in flight. An answer is with its caller a moment before it is counted, recorded and kept."""
        eventually(lambda: self.metric("appliance_in_flight_requests") == 0)

    def metrics_text(self) -> str:
        with urllib.request.urlopen(f"{self.admin_url}/metrics", timeout=PATIENCE_S) as answer:
            return str(answer.read().decode())

    def metric(self, text: str) -> float:
        """The value of one series, by its exact name and labels as exposed; 0.0 when absent."""
        for line in self.metrics_text().splitlines():
            if line.startswith(text + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def call(url: str, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """POST JSON with the test key; status, headers and body, whatever the status."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    wanted = {"content-type": "application/json", "authorization": f"Bearer {KEY}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    request = urllib.request.Request(url, data=data, method="POST", headers=wanted)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


def chat(model: str, text: str = "Hello!", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def eventually(look: Any, seconds: float = PATIENCE_S) -> Any:
    """The first truthy result of `look` within the time; what it raises meanwhile is not yet."""
    end = time.monotonic() + seconds
    last: Any = None
    while time.monotonic() < end:
        try:
            last = look()
            if last:
                return last
        except (OSError, http.client.HTTPException, StopIteration, AssertionError) as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s; last seen: {last!r}")


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else gets meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@contextlib.contextmanager
def running(*processes: Process) -> Iterator[None]:
    """Stops them at the end, whatever happened."""
    try:
        yield
    finally:
        for process in processes:
            process.stop()


def one_backend(simulator: Simulator, route: str = "", backend: str = "") -> str:
    """The smallest useful configuration: every model to one simulated provider."""
    return f"""
[backends.sim]
provider = "custom"
base_url = "{simulator.url}/v1"
{backend}
[[routes]]
name = "all"
models = ["*"]
targets = [ {{ backend = "sim" }} ]
{route}
"""
