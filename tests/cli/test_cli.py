"""The commands as their users run them: processes with arguments, exit codes, and one clear line for whatever a user can get wrong."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig import KEY_SHA256, Gateway, Process, Simulator, call, chat, eventually, free_port, get_json, one_backend, running

COMMANDS = (
    "serve", "demo", "check", "init", "simulate", "key", "tenant", "usage", "experiments", "store", "status", "explain", "prices", "config",
    "healthcheck", "container", "version",
)  # fmt: skip
FIVE_MISTAKES = """
[server]
listen = ["127.0.0.1:99999"]
drain_s = "long"
[backends.one]
provider = "opnai"
[backends.two]
provider = "custom"
base_url = "http://127.0.0.1:9/v1"
max_concurency = 5
[[routes]]
name = "r"
targets = [ { backend = "three" } ]
"""
CLOUDS = """
[backends.half]
provider = "bedrock"
region = "us-east-1"
access_key_id = "AKID-hush"
[backends.nowhere]
provider = "bedrock"
[backends.nobody]
provider = "vertex"
[backends.key]
provider = "vertex"
service_account = { file = "key.json" }
[backends.two]
provider = "bedrock"
region = "us-east-1"
api_key = "hush"
access_key_id = "AKID-hush"
"""
SOUND = """
[backends.one]
provider = "custom"
base_url = "http://127.0.0.1:9/v1"   # a comment that stays
[[routes]]
name = "r"
targets = [ { backend = "one" } ]
"""


COMMAND_S = 120.0  # for a command to end: only one that hangs takes so long


def run(*arguments: str, cwd: Path | None = None, timeout_s: float = COMMAND_S, **env: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments], capture_output=True, text=True, timeout=timeout_s, cwd=cwd, check=False,
        env={**known, **env}, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Ended with that code, one clear account on stderr and nothing else."""
    assert done.returncode == code, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("cli")
    sim = Simulator(folder)
    with running(sim):
        second = f'[backends.spare]\nprovider = "custom"\nbase_url = "{sim.url}/v1"\n'
        served = Gateway(folder, second + one_backend(sim, 'fallback = [ { backend = "spare", model = "rescue" } ]'))
        with running(served):
            yield served


def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name}\s+\S", done.stdout, re.MULTILINE), name
    assert run("-h").stdout == done.stdout


def test_every_command_explains_itself() -> None:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    asked = {name: subprocess.Popen([sys.executable, "-m", "appliance", name, "--help"], **pipes) for name in COMMANDS}
    for name, process in asked.items():
        said, complaint = process.communicate(timeout=COMMAND_S)
        assert (process.returncode, complaint) == (0, ""), name
        assert len(said.splitlines()) > 4, name


def test_version_names_what_runs() -> None:
    done = run("version")
    assert done.returncode == 0
    for word in ("appliance", "Python", "trio", "hypercorn", "httptools", "commit"):
        assert word in done.stdout
    assert "missing" not in done.stdout
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    (shown,) = re.findall(r"^commit +(.+)$", done.stdout, re.MULTILINE)
    assert head.startswith(shown) or (not head and "unknown" in shown)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",), ("serve", "--colour"), ("explain", "one", "two"), ("config", "get"), ("check", "too", "many"),
        ("simulate", "--listen"),
    ],
)  # fmt: skip
def test_a_wrong_use_is_a_64_with_the_right_one(arguments: tuple[str, ...]) -> None:
    refused(run(*arguments), 64, "Error: ")


def test_check_accepts_a_sound_file(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(SOUND)
    done = run("check", "-c", str(tmp_path / "good.toml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 backend" in done.stdout
    assert run("check", str(tmp_path / "good.toml")).stdout == done.stdout
    refused(run("check", str(tmp_path / "good.toml"), "-c", str(tmp_path / "good.toml")), 64, "named twice")


def test_check_names_five_mistakes_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(FIVE_MISTAKES)
    done = run("check", "-c", str(path))
    places = ("server.listen[0]", "server.drain_s", "backends.one.provider", "backends.two.max_concurency", "routes[0].targets[0].backend")
    refused(done, 78, *places)
    assert done.stderr.count("did you mean") >= 2
    assert '"openai"' in done.stderr
    assert "max_concurrency" in done.stderr


def test_check_names_what_an_account_lacks_and_what_was_expected(tmp_path: Path) -> None:
    path = tmp_path / "clouds.toml"
    path.write_text(CLOUDS)
    (tmp_path / "key.json").write_text('{"type":"service_account","project_id":"p","client_email":"me@p"}')
    done = run("check", "-c", str(path), AWS_REGION="", AWS_DEFAULT_REGION="", GOOGLE_CLOUD_PROJECT="", GOOGLE_APPLICATION_CREDENTIALS="")
    refused(
        done, 78, "backends.half.secret_access_key is missing beside access_key_id", "backends.nowhere.region is missing",
        "backends.nobody.project is missing", "backends.key.service_account lacks private_key: expected client_email, private_key",
        "backends.two.api_key is set beside access_key_id",
    )  # fmt: skip
    assert "hush" not in done.stderr


def test_serve_refuses_what_check_refuses(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(FIVE_MISTAKES)
    checked = run("check", "-c", str(path))
    served = run("serve", "-c", str(path))
    refused(served, 78)
    assert served.stderr == checked.stderr


@pytest.mark.parametrize("command", ["serve", "check", "status"])
def test_without_a_configuration_there_is_one_line_that_helps(tmp_path: Path, command: str) -> None:
    done = run(command, cwd=tmp_path, PYTHONPATH=os.getcwd())
    refused(done, 78, "appliance init")
    assert len(done.stderr.splitlines()) == 1
    missing = run(command, "-c", str(tmp_path / "nowhere.toml"))
    refused(missing, 78, "nowhere.toml")


def test_a_file_that_is_no_toml_is_a_78_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text('[server]\nlisten = ["127.0.0.1:0"\n[x')
    refused(run("serve", "-c", str(path)), 78, "line 3")


def test_the_configuration_may_come_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text(SOUND)
    assert run("check", APPLIANCE_CONFIG=str(tmp_path / "elsewhere.toml")).returncode == 0
    (tmp_path / "config.toml").write_text(SOUND)
    assert run("check", cwd=tmp_path, PYTHONPATH=os.getcwd()).returncode == 0


def test_a_secret_that_is_not_there_is_named_but_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "secret.toml"
    path.write_text(SOUND.replace('provider = "custom"', 'provider = "custom"\napi_key = { env = "NO_SUCH_KEY_HERE" }'))
    refused(run("check", "-c", str(path)), 78, "NO_SUCH_KEY_HERE")
    done = run("config", "get", "backends.one.api_key", "-c", str(path), NO_SUCH_KEY_HERE="sk-canary-123")
    assert done.returncode == 0
    assert "canary" not in done.stdout + done.stderr


def test_init_writes_a_file_that_serves_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    done = run("init", str(path))
    assert done.returncode == 0
    written = path.read_text()
    assert run("check", "-c", str(path), OPENAI_API_KEY="sk-x").returncode == 0
    path.write_text(written + "# mine\n")
    refused(run("init", str(path)), 1, "new.toml")
    assert path.read_text().endswith("# mine\n")
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("which", ["public", "admin"])
def test_a_taken_port_is_one_line_and_a_1(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, free = taken.getsockname()[1], free_port()
        public, admin = (port, free) if which == "public" else (free, port)
        path = tmp_path / "c.toml"
        path.write_text(f'[server]\nlisten = ["127.0.0.1:{public}"]\n[admin]\nlisten = "127.0.0.1:{admin}"\n{SOUND}')
        done = run("serve", "-c", str(path))
    refused(done, 1, str(port), "in use")
    assert len(done.stderr.splitlines()) == 1


def test_without_keys_an_open_address_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f'[server]\nlisten = ["0.0.0.0:{free_port()}"]\n{SOUND}')
    refused(run("serve", "-c", str(path)), 78, "server.listen", "auth")


def test_serve_says_when_it_is_ready_and_ends_well(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    path = tmp_path / "c.toml"
    path.write_text(f'[server]\nlisten = ["127.0.0.1:{port}"]\n[admin]\nlisten = "127.0.0.1:{admin}"\n{SOUND}')
    served = Process(["serve", "-c", str(path)], tmp_path / "serve.log")
    with running(served):
        served.wait_port(port)
        (started,) = eventually(lambda: [one for one in served.events() if one["event"] == "started"])
        assert started["listen"] == [f"http://127.0.0.1:{port}"]
        assert started["admin"] == [f"http://127.0.0.1:{admin}"]
        served.signal(signal.SIGINT)
        assert served.popen.wait(60) == 0
    assert "Traceback" not in served.log


def test_status_is_a_table_and_exits_1_when_a_backend_is_down(gateway: Gateway) -> None:
    def status(*more: str) -> subprocess.CompletedProcess[str]:
        return run("status", "--admin", gateway.admin_url, *more)

    up = status()
    assert up.returncode == 0
    heading, *rows = up.stdout.splitlines()
    assert [row.split()[:3] for row in rows] == [["spare", "custom", "up"], ["sim", "custom", "up"]]
    for word in ("backend", "health", "breaker", "in flight", "errors"):
        assert word in heading
    assert rows[0].index("up") == rows[1].index("up") == heading.index("health")
    call(f"{gateway.admin_url}/admin/backends/sim/drain", {})
    down = status()
    assert down.returncode == 1
    assert "DOWN" in down.stdout
    assert [one["name"] for one in json.loads(status("--json").stdout)] == ["spare", "sim"]
    call(f"{gateway.admin_url}/admin/backends/sim/resume", {})
    assert run("status", "-c", str(gateway.config_path)).returncode == 0


def test_where_nobody_answers_is_one_line() -> None:
    done = run("status", "--admin", f"http://127.0.0.1:{free_port()}")
    refused(done, 1, "is it running?")
    assert len(done.stderr.splitlines()) == 1


def test_what_is_no_gateway_is_said_to_be_none(gateway: Gateway) -> None:
    refused(run("status", "--admin", gateway.url), 1, "nothing at")
    refused(run("status", "--admin", "not a url"), 1)


def test_explain_tells_the_story_and_gives_the_record(gateway: Gateway) -> None:
    _, headers, _ = call(f"{gateway.url}/v1/chat/completions", chat("sim+503"), X_Request_Id="to-explain")
    assert headers["x-served-by"] == "spare"
    gateway.record("to-explain")
    told = run("explain", "to-explain", "--admin", gateway.admin_url)
    assert told.returncode == 0
    for word in ("to-explain", "attempt 1 sim (sim+503)", "503", "attempt 2 spare (rescue)", "route", "all", "200", "tokens"):
        assert word in told.stdout
    shown = run("explain", "to-explain", "-c", str(gateway.config_path), "--json")
    record = json.loads(shown.stdout)
    assert set(record) >= {
        "id", "request_id", "tenant", "key", "route", "model", "dialect", "stream", "attempts", "status", "usage", "cost_usd",
        "overhead_ms", "ttft_ms", "duration_ms", "dropped_fields", "experiment", "cache",
    }  # fmt: skip
    assert [one["backend"] for one in record["attempts"]] == ["sim", "spare"]
    assert record["usage"]["source"] == "provider"
    by_id = run("explain", record["id"], "--admin", gateway.admin_url, "--json")
    assert json.loads(by_id.stdout) == record
    refused(run("explain", "no/such", "--admin", gateway.admin_url), 1, "no such request")


def test_explain_without_an_id_lists_the_latest(gateway: Gateway) -> None:
    call(f"{gateway.url}/v1/chat/completions", chat("sim"), X_Request_Id="went-well")
    call(f"{gateway.url}/v1/chat/completions", b"{", X_Request_Id="went-wrong")
    well, wrong = gateway.record("went-well"), gateway.record("went-wrong")
    heading, first, *others = run("explain", "--admin", gateway.admin_url).stdout.splitlines()
    for word in ("time (UTC)", "id", "tenant", "model", "backend", "status", "took", "error"):
        assert word in heading
    assert (first[heading.index("id") :].split()[0], first.split()[-1]) == (wrong["id"], wrong["error_type"])
    assert [line for line in others if well["id"] in line and " sim " in line and " 200 " in line]
    failed = run("explain", "--failed", "--admin", gateway.admin_url).stdout
    assert (wrong["id"] in failed, well["id"] in failed) == (True, False)
    listed = json.loads(run("explain", "--latest", "2", "-c", str(gateway.config_path), "--json").stdout)
    assert [one["id"] for one in listed] == [wrong["id"], well["id"]]
    refused(run("explain", "went-well", "--failed", "--admin", gateway.admin_url), 64, "leave REQUEST_ID out")


def test_explain_tells_of_a_refusal(gateway: Gateway) -> None:
    call(f"{gateway.url}/v1/chat/completions", b"{", X_Request_Id="refused-one")
    gateway.record("refused-one")
    told = run("explain", "refused-one", "--admin", gateway.admin_url)
    assert "none" in told.stdout
    assert "400" in told.stdout


def test_config_get_and_set_keep_the_rest_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(SOUND)
    assert run("config", "get", "backends.one.base_url", "-c", str(path)).stdout == "http://127.0.0.1:9/v1\n"
    assert run("config", "get", "backends.one.timeouts.connect_s", "-c", str(path)).stdout == "5.0\n"
    done = run("config", "set", "backends.one.timeouts.connect_s", "2.5", "-c", str(path))
    assert done.returncode == 0
    assert "SIGHUP" in done.stdout
    assert run("config", "get", "backends.one.timeouts.connect_s", "-c", str(path)).stdout == "2.5\n"
    assert "# a comment that stays" in path.read_text()
    before = path.read_text()
    refused(run("config", "set", "backends.one.timeouts.connect_s", "soon", "-c", str(path)), 78, "connect_s")
    refused(run("config", "get", "backends.one.timeuots", "-c", str(path)), 1, "timeouts")
    assert path.read_text() == before


def test_config_diff_tells_file_from_running(gateway: Gateway) -> None:
    options = ("-c", str(gateway.config_path))
    assert run("config", "diff", *options).stdout == "the file and the running gateway agree\n"
    before = gateway.config_path.read_text()
    gateway.config_path.write_text(before.replace('name = "all"', 'name = "every"'))
    done = run("config", "diff", *options)
    gateway.config_path.write_text(before.replace("[[routes]]", '[[routes]]\nstrategy = "priority"'))
    inner = run("config", "diff", *options)
    gateway.config_path.write_text(before)
    assert '"all"' in done.stdout
    assert '"every"' in done.stdout
    assert 'routes[all].strategy: "weighted" → "priority"\n' in inner.stdout


def test_simulate_says_where_it_is_and_ends_quietly(tmp_path: Path) -> None:
    port = free_port()
    sim = Process(["simulate", "--listen", f"127.0.0.1:{port}", "--require-key", "sk-only"], tmp_path / "sim.log")
    with running(sim):
        sim.wait_port(port)
        eventually(lambda: f"http://127.0.0.1:{port}/v1" in sim.log)
        answer = httpx.get(f"http://127.0.0.1:{port}/v1/models", trust_env=False)
        assert answer.status_code == 401
        sim.signal(signal.SIGINT)
        assert sim.popen.wait(60) == 0
    assert "Traceback" not in sim.log
    refused(run("simulate", "--listen", "nonsense"), 1, "nonsense")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused(run("simulate", "--listen", f"127.0.0.1:{taken.getsockname()[1]}"), 1, "in use")


def test_the_demo_runs_prints_a_call_that_works_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    demo = Process(["demo", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}"], tmp_path / "demo.log")
    with running(demo):
        line = eventually(lambda: next(line for line in demo.log.splitlines() if line.startswith("curl ")))
        assert f"http://127.0.0.1:{port}/v1" in demo.log
        assert f"http://127.0.0.1:{admin}" in demo.log
        assert re.search(r"sk-demo-[0-9a-f]{24}", demo.log)
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=COMMAND_S, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["choices"][0]["message"]["content"]
        # Its own traffic fills the metrics, failover included.
        admin_url = f"http://127.0.0.1:{admin}/admin"
        eventually(lambda: [one for one in get_json(f"{admin_url}/requests")["requests"] if one["fallbacks"]], seconds=60)
        assert all(one["status"] == 200 for one in get_json(f"{admin_url}/requests")["requests"])
        assert get_json(f"{admin_url}/stats")["total"]["succeeded"] >= 4
        begun = time.monotonic()
        demo.signal(signal.SIGINT)
        assert demo.popen.wait(60) == 0
        assert time.monotonic() - begun < 25, "it does not wait out drain_s"
    assert "Traceback" not in demo.log


def test_the_demo_says_how_to_use_other_ports_when_its_own_are_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("demo", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--admin", f"127.0.0.1:{free_port()}")
    refused(done, 1, "in use", "--listen")


def test_output_into_a_closed_pipe_is_no_failure() -> None:
    command = f"{sys.executable} -m appliance check --help | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=COMMAND_S, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_a_key_of_the_file_works_and_its_hash_does_not(gateway: Gateway) -> None:
    assert call(f"{gateway.url}/v1/chat/completions", chat("sim"))[0] == 200
    assert call(f"{gateway.url}/v1/chat/completions", chat("sim"), authorization=f"Bearer {KEY_SHA256}")[0] == 401


@pytest.mark.parametrize("arguments", [("status",), ("explain", "no-such"), ("config", "diff"), ("config", "get", "admin.listen")])
def test_what_asks_a_running_gateway_needs_no_backends_secret(gateway: Gateway, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = tmp_path / "c.toml"
    locked = '[backends.spare]\napi_key = { env = "NO_SUCH_KEY_HERE" }\n[backends.sim]\nheaders = { x = { credential = "none" } }\n'
    path.write_text(gateway.config_path.read_text())
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "secrets.toml").write_text(locked)
    assert run("check", "-c", str(path)).returncode == 78
    done = run(*arguments, "-c", str(path))
    assert "NO_SUCH_KEY_HERE" not in done.stderr
    if arguments[0] == "explain":
        refused(done, 1, "no such request")
    else:
        assert (done.returncode, done.stderr) == (0, "")


def test_a_secret_unread_shows_as_the_mask_and_a_wrong_one_is_still_told(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(SOUND.replace('provider = "custom"', 'provider = "custom"\napi_key = { env = "NO_SUCH_KEY_HERE" }'))
    shown = run("config", "get", "backends.one.api_key", "-c", str(path))
    known = run("config", "get", "backends.one.api_key", "-c", str(path), NO_SUCH_KEY_HERE="sk-canary-123")
    assert (shown.returncode, shown.stdout) == (0, known.stdout)
    path.write_text(path.read_text().replace("env =", "evn ="))
    refused(run("config", "get", "backends.one.base_url", "-c", str(path)), 78, "evn")


def test_status_needs_no_file_with_an_address_and_a_token(tmp_path: Path) -> None:
    sim = Simulator(tmp_path)
    with running(sim):
        served = Gateway(tmp_path, one_backend(sim), admin='token = "canary-token"')
        with running(served):
            alone = tmp_path / "alone"
            alone.mkdir()
            options = ("status", "--admin", served.admin_url)
            done = run(*options, cwd=alone, PYTHONPATH=os.getcwd(), APPLIANCE_ADMIN_TOKEN="canary-token")
            assert (done.returncode, done.stderr) == (0, "")
            refused(run(*options, cwd=alone, PYTHONPATH=os.getcwd()), 1)
            bad = run(*options, cwd=alone, PYTHONPATH=os.getcwd(), APPLIANCE_ADMIN_TOKEN="canary\ntoken")
            refused(bad, 1, "admin token")
            assert "canary" not in bad.stderr
            # A service's credential is never there for an operator: the variable serves instead, and without it one line says so.
            path = alone / "c.toml"
            listen = served.admin_url.removeprefix("http://")
            path.write_text(f'[admin]\nlisten = "{listen}"\ntoken = {{ credential = "admin" }}\n{SOUND}')
            assert run("status", "-c", str(path), APPLIANCE_ADMIN_TOKEN="canary-token").returncode == 0
            refused(run("status", "-c", str(path)), 78, "admin.token", "APPLIANCE_ADMIN_TOKEN")


@pytest.mark.parametrize("listen", ["7", '"nowhere"', '["127.0.0.1:1"]'])
def test_a_wrong_admin_listen_is_told_by_its_place(tmp_path: Path, listen: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f"[admin]\nlisten = {listen}\n{SOUND}")
    refused(run("status", "-c", str(path)), 78, "admin.listen")


def test_recordings_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    locked = tmp_path / "rec"
    locked.mkdir(mode=0o000)
    for folder in (locked, Path("/proc/1/fd")):  # root may read the first, but in a container rarely the second
        try:
            os.listdir(folder)
        except PermissionError:
            break
    else:
        pytest.skip("this user can read any folder")
    done = run("simulate", "--listen", f"127.0.0.1:{free_port()}", "--recordings", str(folder))
    refused(done, 1, str(folder))
    assert len(done.stderr.splitlines()) == 1
