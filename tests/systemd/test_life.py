"""A service's whole life on a machine of its own: first install, first key, upgrade under load, a bad upgrade, rollback, uninstall.

The machine is this one with /etc, /opt, /usr and /var overlaid in a mount namespace. systemctl and systemd-run are `stand_in`, which starts
what is installed in the unit's sandbox; install.sh, the units, the wrapper and the gateway are the real ones.
"""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import zipapp
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_reader import ledger_rows
from rig import Simulator, call, chat, eventually, free_port, one_backend, running
from test_activation import Load
from test_unit import why_no_sandbox

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "packaging"))
from zipapp_rig import build, once  # noqa: E402  (where these tests are is no package)

SOURCE = HERE.parents[1]
OVERLAID = ("etc", "opt", "usr", "var")
MAKE = """
set -e
mount -t tmpfs none "$1"
for one in etc opt usr var; do
    mkdir -p "$1/$one/upper" "$1/$one/work"
    mount -t overlay overlay -o "lowerdir=/$one,upperdir=$1/$one/upper,workdir=$1/$one/work" "/$one"
done
rm -rf /etc/appliance /opt/appliance /var/lib/appliance
echo made
exec sleep infinity
"""


class Machine:
    """`held` is the listening socket that its systemd holds; its files are seen below `files`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "overlays").mkdir()
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", MAKE, "sh", folder / "overlays"]
        self.holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != b"made\n":
            pytest.skip("this machine mounts no overlays")
        self.files = Path(f"/proc/{self.holder.pid}/root")
        self.held = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.url = f"http://127.0.0.1:{self.held.getsockname()[1]}"
        (folder / "bin").mkdir()
        for name in ("systemctl", "systemd-run"):
            tool = folder / "bin" / name
            tool.write_text(f'#!/bin/sh\nexec /usr/bin/python3 {HERE}/stand_in.py {name} "$@"\n')
            tool.chmod(0o755)

    def run(self, *command: str | Path, code: int = 0) -> str:
        """A command there, as root; what it said."""
        done = subprocess.run(
            ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", *map(str, command)], capture_output=True, text=True, timeout=120,
            check=False, pass_fds=(self.held.fileno(),), cwd="/",
            env={"PATH": f"{self.folder}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HELD_FD": str(self.held.fileno())},
        )  # fmt: skip
        log = self.files / "var/lib/stand-in/log"
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr, log.read_text()[-3000:] if log.exists() else "")
        return done.stdout + done.stderr

    def close(self) -> None:
        pid = self.files / "var/lib/stand-in/pid"
        if pid.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid.read_text()), signal.SIGKILL)
        self.holder.kill()
        self.holder.communicate()
        self.held.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if why_no_sandbox() or not shutil.which("nsenter"):
        pytest.skip(why_no_sandbox() or "needs nsenter")
    one = Machine(tmp_path)
    yield one
    one.close()


def version(folder: Path, name: str, *, serves: bool = True) -> Path:
    """A file that runs this tree, and is another one by its name."""
    packages = next(one for one in sys.path if one.endswith("site-packages"))
    inside, target = folder / f"inside-{name}", folder / name / "appliance.pyz"
    for one in (inside, target.parent):
        one.mkdir()
    refusal = "" if serves else 'if "serve" in sys.argv: sys.exit("this version is broken")\n'
    start = "sys.dont_write_bytecode = True\nfrom appliance.cli import main\nmain()\n"
    (inside / "__main__.py").write_text(f"# {name}\nimport sys\n{refusal}sys.path[:0] = [{str(SOURCE)!r}, {packages!r}]\n{start}")
    zipapp.create_archive(inside, target)
    (target.parent / "SHA256SUMS").write_text(f"{hashlib.sha256(target.read_bytes()).hexdigest()}  appliance.pyz\n")
    return target


@pytest.fixture
def first(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """The file as it is released, built once for all tests of a run; where its wheels cannot be had, one that runs this tree."""
    base = tmp_path_factory.getbasetemp()
    try:
        return once((base.parent if base.name.startswith("popen-") else base) / "zipapp", lambda out: build(SOURCE, out)) / "appliance.pyz"
    except pytest.skip.Exception as missing:
        print(f"not with the released file: {missing}")
        return version(tmp_path, "one")


def configure(machine: Machine, simulator: Simulator) -> None:
    """What an operator does after the first install: the first configuration, with another provider."""
    path = machine.files / "etc/appliance/config.toml"
    text = path.read_text()
    text = text[: text.index("# Who answers")].replace("127.0.0.1:9464", f"127.0.0.1:{free_port()}")
    path.write_text(text + one_backend(simulator, backend='api_key = { credential = "key_openai" }'))
    (machine.files / "etc/appliance/credentials/openai").write_text("sk-of-the-provider")


def test_from_the_first_install_to_the_last(machine: Machine, first: Path, tmp_path: Path) -> None:
    installer = SOURCE / "systemd/install.sh"
    simulator = Simulator(tmp_path)
    with running(simulator):
        assert "systemctl start appliance" in machine.run("sh", installer, "install", first)
        configure(machine, simulator)
        machine.run("systemctl", "start", "appliance", code=1)  # nobody could be told from anybody else
        assert "neither a tenant nor a key" in (machine.files / "var/lib/stand-in/log").read_text()
        machine.run("appliance", "tenant", "create", "team")
        (key,) = re.findall(r"sk-\S+", machine.run("appliance", "key", "create", "--tenant", "team"))
        assert "sound" in machine.run("appliance", "check")
        machine.run("systemctl", "start", "appliance")
        asked = [f"first-{number}" for number in range(3)]
        for name in asked:
            assert call(f"{machine.url}/v1/chat/completions", chat("sim"), authorization=f"Bearer {key}", x_request_id=name)[0] == 200
        with Load(machine.url, threads=4, key=key) as load:
            eventually(lambda: len(load.answered) >= 20 or load.wrong, 60)
            assert "runs " in machine.run("sh", installer, "upgrade", version(tmp_path, "two"))
            said = machine.run("sh", installer, "upgrade", version(tmp_path, "three", serves=False), code=1)
            assert "runs as before" in said
            before = len(load.answered)
            eventually(lambda: len(load.answered) >= before + 20 or load.wrong, 60)
            machine.run("sh", "/opt/appliance/current/install.sh", "rollback")
            before = len(load.answered)
            eventually(lambda: len(load.answered) >= before + 20 or load.wrong, 60)
        print(f"{len(load.answered)} answered over an upgrade, a failed one and a rollback; {len(load.wrong)} refused or lost")
        assert load.wrong == []
        assert "kept" in machine.run("sh", installer, "uninstall")
        assert not (machine.files / "var/lib/stand-in/pid").exists()
    shutil.copytree(machine.files / "var/lib/appliance", tmp_path / "state")  # SQLite takes no path through another root
    rows = [row["request_id"] for row in ledger_rows(tmp_path / "state/appliance.db")]
    assert sorted(rows) == sorted(asked + load.answered), "each is in the ledger once"
    assert (machine.files / "etc/appliance/credentials/openai").read_text() == "sk-of-the-provider"
    assert not (machine.files / "opt/appliance").exists()
