"""The units: valid for the systemd that is here, as closed as promised, and with everything that the gateway needs.

There is no systemd as the first process on most machines that run tests, so its sandbox is made again from the unit's own text by
`sandbox`, which lists what that leaves out: control groups (memory, tasks, devices), mainly, and the user that comes and goes.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sandbox
from ledger_reader import ledger_rows
from rig import KEY_SHA256, Simulator, call, chat, eventually, free_port, get_json, one_backend, running

SOURCE = Path(__file__).resolve().parents[2]
SERVICE, SOCKET = SOURCE / "systemd/appliance.service", SOURCE / "systemd/appliance.socket"
EXPOSURE_MAX = 1.5
SYSTEM_PYTHON = "/usr/bin/python3"

needs_analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze (Debian package systemd)")


@needs_analyze
def test_the_units_are_valid() -> None:
    done = subprocess.run(["systemd-analyze", "verify", SERVICE, SOCKET], capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in done.stderr.splitlines() if "appliance." in line]
    print(f"systemd-analyze verify: exit {done.returncode}, {len(ours)} complaints")
    assert (done.returncode, ours) == (0, [])


@needs_analyze
def test_the_service_is_as_closed_as_promised() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", SERVICE], capture_output=True, text=True, timeout=60, check=False
    )
    (figure,) = re.findall(r"Overall exposure level for appliance\.service: ([0-9.]+)", done.stdout)
    print(f"systemd-analyze security: {figure} (at most {EXPOSURE_MAX})")
    assert float(figure) <= EXPOSURE_MAX


def test_times_and_exit_codes_in_the_unit_fit_the_gateways() -> None:
    from appliance.cli.exits import CONFIG, USAGE
    from appliance.config.doors import Server

    service = {name: values[-1] for name, values in sandbox.settings(SERVICE).items()}
    assert int(service["TimeoutStopSec"]) > Server().notice_s + Server().drain_s + 15
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == {CONFIG, USAGE}
    assert service["Type"] == "notify"
    assert len(sandbox.settings(SERVICE)["ExecStartPre"]) == 1, "systemd 252 gives credentials to the first alone"
    assert int(service["LimitNOFILE"]) > 2 * 4096 + 1024


def test_the_socket_has_the_name_that_the_first_configuration_listens_on() -> None:
    names = re.findall(r"^FileDescriptorName=(.+)$", SOCKET.read_text(), re.MULTILINE)
    assert f'listen = ["fd:{names[0]}"]' in (SOURCE / "systemd/config.toml").read_text()


# The sandbox


def test_every_setting_that_closes_the_service_is_tried_or_listed_as_not_tried() -> None:
    about_running = """
        Type NotifyAccess ExecStartPre ExecStart ExecReload KillMode TimeoutStartSec TimeoutStopSec WatchdogSec Restart RestartSec
        RestartPreventExitStatus LoadCredential User DynamicUser StateDirectory StateDirectoryMode CacheDirectory CacheDirectoryMode"""
    known = {*sandbox.DONE.split(), *sandbox.NOT_DONE.split()}
    assert known == set(sandbox.settings(SERVICE)) - set(about_running.split())


def why_no_sandbox() -> str:
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("systemd-analyze"):
        return "needs root, unshare and systemd-analyze"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "this machine lets nobody make a mount namespace"
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return "needs libseccomp"
    for needed in (SOURCE, Path(sys.prefix)):
        if any(needed.is_relative_to(hidden) for hidden in ("/tmp", "/var/tmp", "/home", "/root", "/run/user")):
            return f"the unit hides {needed}, where this checkout and its packages lie"
    version = subprocess.run([SYSTEM_PYTHON, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=False)
    if version.stdout.strip() != str(sys.version_info[:2]):
        return "needs a /usr/bin/python3 of the version whose packages are installed here"
    return ""


in_sandbox = pytest.mark.skipif(bool(why_no_sandbox()), reason=why_no_sandbox())


class Service:
    """Folders as systemd makes them, and commands run in the unit's sandbox. The configuration lies where the service can only read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state, self.cache, self.credentials = folder / "state", folder / "cache", folder / "credentials"
        for one in (self.state, self.cache, self.credentials):
            one.mkdir(parents=True)
            os.chown(one, sandbox.UID, sandbox.UID)
            one.chmod(0o700)
        self.plan = folder / "unit.json"
        self.plan.write_text(json.dumps(sandbox.plan(SERVICE, [self.state, self.cache], self.credentials)))

    def credential(self, name: str, text: str) -> None:
        path = self.credentials / name
        path.write_text(text)
        os.chown(path, sandbox.UID, sandbox.UID)
        path.chmod(0o400)

    def command(self, *arguments: str | Path) -> list[str]:
        namespaces = ["unshare", "--mount", "--ipc", "--uts", "--propagation", "private"]
        return [*namespaces, SYSTEM_PYTHON, "-I", sandbox.__file__, *map(str, (self.plan, SYSTEM_PYTHON, *arguments))]

    @property
    def environ(self) -> dict[str, str]:
        packages = next(one for one in sys.path if one.endswith("site-packages"))
        return {**os.environ, "PYTHONPATH": f"{SOURCE}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def service() -> Iterator[Service]:
    """Below /var/lib, as in life: what pytest gives lies in /tmp, of which the service has one of its own."""
    folder = Path(f"/var/lib/appliance-test-{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    yield Service(folder)
    shutil.rmtree(folder, ignore_errors=True)


TRIES = """
import ctypes, errno, json, mmap, os, socket, sys
said = {}
def attempt(name, act):
    try:
        act()
        said[name] = "done"
    except OSError as error:
        said[name] = errno.errorcode.get(error.errno, str(error))
libc = ctypes.CDLL(None, use_errno=True)
def syscall(*given):
    if libc.syscall(*given) < 0:
        raise OSError(ctypes.get_errno(), "")
attempt("write /etc", lambda: open("/etc/appliance-test", "w"))
attempt("write /usr", lambda: open("/usr/appliance-test", "w"))
attempt("write /proc/sys", lambda: open("/proc/sys/kernel/hostname", "w"))
attempt("list /root", lambda: os.listdir("/root"))
attempt("see init", lambda: os.stat("/proc/1"))
attempt("write and run memory", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
attempt("packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("netlink socket", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("mount", lambda: syscall(165, b"none", b"/mnt", b"tmpfs", 0, b""))
attempt("ptrace", lambda: syscall(101, 0, 0, 0, 0))
attempt("bpf", lambda: syscall(321, 0, 0, 0))
attempt("root", lambda: os.setuid(0))
attempt("priority", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))
attempt("state", lambda: open("made", "w"))
attempt("cache", lambda: open(os.environ["CACHE_DIRECTORY"] + "/made", "w"))
attempt("tmp", lambda: open("/tmp/made", "w"))
attempt("inet", lambda: socket.socket(socket.AF_INET6))
said["mode"] = oct(os.stat("made").st_mode & 0o777)
said["tmp holds"] = os.listdir("/tmp")
print(json.dumps(said))
"""


@in_sandbox
def test_the_sandbox_forbids_what_the_unit_says(service: Service) -> None:
    done = subprocess.run(
        service.command("-c", TRIES), capture_output=True, text=True, timeout=60, check=False, env=service.environ
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    print(said)
    may = {name for name, outcome in said.items() if outcome == "done"}
    assert may == {"state", "cache", "tmp", "inet"}
    assert said["write /etc"] == said["write /usr"] == "EROFS"
    assert said["write and run memory"] == "EPERM"
    assert said["packet socket"] == said["netlink socket"] == "EAFNOSUPPORT"
    assert said["mode"] == "0o600"
    assert said["tmp holds"] == ["made"]


@in_sandbox
def test_the_gateway_does_all_of_its_work_in_the_units_sandbox(service: Service, tmp_path: Path) -> None:
    """Every language, files, a name to resolve, a reload, a second store connection, and an orderly end."""
    sim = Simulator(tmp_path)
    port, admin = free_port(), free_port()
    config = service.folder / "config.toml"
    backend = one_backend(sim).replace("127.0.0.1", "localhost")
    backend += '[backends.other]\nprovider = "openai"\napi_key = { credential = "key_x" }\n'
    config.write_text(
        f'[server]\nlisten = ["127.0.0.1:{port}", "[::1]:{port}"]\n[admin]\nlisten = "127.0.0.1:{admin}"\n'
        f'[store]\npath = "{service.state}/appliance.db"\n[tenants.test]\nkeys = [ {{ id = "test", sha256 = "{KEY_SHA256}" }} ]\n{backend}'
    )
    service.credential("key_x", "sk-from-a-credential")
    url, log = f"http://127.0.0.1:{port}", tmp_path / "serve.log"
    with running(sim), log.open("wb") as sink:
        check = subprocess.run(
            service.command("-m", "appliance", "check", "-c", config), capture_output=True, text=True, timeout=60, check=False,
            env=service.environ,
        )  # fmt: skip
        assert check.returncode == 0, check.stderr
        command = service.command("-m", "appliance", "serve", "-c", config)
        with subprocess.Popen(command, stdout=sink, stderr=sink, env=service.environ) as served:
            try:
                eventually(lambda: get_json(f"{url}/livez") or served.poll() is not None, 60)
                assert served.poll() is None, log.read_text()
                confined(served.pid)
                talk(url, sim)
                served.send_signal(signal.SIGHUP)
                eventually(lambda: '"reloaded"' in log.read_text())
                assert call(f"{url}/v1/chat/completions", chat("sim"))[0] == 200
            finally:
                served.send_signal(signal.SIGTERM)
                assert served.wait(20) == 0, log.read_text()
    assert len(ledger_rows(service.state / "appliance.db")) >= 6
    assert all(stat.S_IMODE(one.stat().st_mode) & 0o077 == 0 for one in service.state.rglob("*"))
    said = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event for event in said if event["level"] in ("error", "critical")] == []


def confined(pid: int) -> None:
    """As the kernel tells it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert (status["NoNewPrivs"], status["Seccomp"], status["Groups"]) == ("1", "2", "")
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    assert status["Uid"].split() == [str(sandbox.UID)] * 4


def talk(url: str, sim: Simulator) -> None:
    for path, body in (
        ("/v1/chat/completions", chat("sim")), ("/v1/chat/completions", chat("sim", stream=True)),
        ("/v1/messages", {**chat("sim"), "max_tokens": 50}), ("/v1/responses", {"model": "sim", "input": "Hello"}),
        ("/v1beta/models/sim:generateContent", {"contents": [{"parts": [{"text": "Hello"}]}]}),
        ("/v1/embeddings", {"model": "sim", "input": "Hello"}),
    ):  # fmt: skip
        status, _, answer = call(url + path, body)
        assert status == 200, (path, answer)
    assert sim.stats()["requests"] >= 6
    time.sleep(0.1)


def test_commands_by_hand_run_as_the_service_does() -> None:
    """The wrapper's transient unit is the same user, with the same folders, groups and credentials."""
    properties = re.findall(r"--property=(\w+)=(\S+)", (SOURCE / "systemd/appliance.sh").read_text())
    assert dict(properties) == {name: sandbox.settings(SERVICE)[name][-1] for name, _ in properties}
    assert {"User", "DynamicUser", "StateDirectory", "CacheDirectory", "LoadCredential", "UMask"} <= {name for name, _ in properties}
