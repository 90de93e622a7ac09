"""Stands in for systemctl and systemd-run where no systemd runs: starts the installed unit in its sandbox, on a socket that it is given.

    systemctl start|restart|stop|enable|... UNIT...        systemd-run --property=... COMMAND...

The rule: what the unit says is read from the unit; of what systemd does, this does what `install.sh` and the guide need: one service, no
dependencies, no restarts by itself. Calls are written to CALLS. The listening socket is the descriptor in $HELD_FD.
"""

import contextlib
import grp
import itertools
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import sandbox

UNITS = Path("/etc/systemd/system")
STATE, CACHE, CREDENTIALS = Path("/var/lib/appliance"), Path("/var/cache/appliance"), Path("/var/lib/stand-in-credentials")
CALLS, LOG, PID, PLAN = (Path("/var/lib/stand-in") / name for name in ("calls", "log", "pid", "plan.json"))
READY_S = 60.0


def main(name: str, arguments: list[str]) -> int:
    CALLS.parent.mkdir(exist_ok=True)
    with CALLS.open("a") as calls:
        calls.write(shlex.join([name, *arguments]) + "\n")
    if name == "systemd-run":
        options = list(itertools.takewhile(lambda one: one.startswith("--"), arguments))
        return run_as_service(arguments[len(options) :], options)
    verb, units = arguments[0], arguments[1:]
    if any(unit.startswith("appliance.service") or unit == "appliance" for unit in units):
        if verb in ("stop", "restart") or "--now" in units:
            stop()
        if verb in ("start", "restart"):
            return start()
    return 0


def prepare(environ: dict[str, str], held: int = -1) -> list[str]:
    """Folders and credentials as systemd makes them, and the beginning of a command in the sandbox."""
    for folder in (STATE, CACHE):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != sandbox.UID:  # the folder alone is looked at, as systemd.exec(5) says
            subprocess.run(["chown", "-R", f"{sandbox.UID}:{sandbox.UID}", folder], check=True)
    subprocess.run(["rm", "-rf", CREDENTIALS], check=True)
    CREDENTIALS.mkdir(mode=0o700)
    for one in Path("/etc/appliance/credentials").iterdir():
        copy = CREDENTIALS / f"key_{one.name}"
        copy.write_bytes(one.read_bytes())
        copy.chmod(0o400)
        os.chown(copy, sandbox.UID, sandbox.UID)
    os.chown(CREDENTIALS, sandbox.UID, sandbox.UID)
    group = grp.getgrnam(sandbox.settings(UNITS / "appliance.service")["SupplementaryGroups"][-1])
    given = sandbox.plan(UNITS / "appliance.service", [STATE, CACHE], CREDENTIALS, (group.gr_gid,), environ, held)
    PLAN.write_text(json.dumps(given))
    return ["unshare", "--mount", "--ipc", "--uts", "--propagation", "private", "/usr/bin/python3", "-I", sandbox.__file__, str(PLAN)]


def run_as_service(command: list[str], options: list[str]) -> int:
    config = [one.removeprefix("--setenv=") for one in options if one.startswith("--setenv=")]
    return subprocess.run([*prepare(dict(one.split("=", 1) for one in config)), *command], check=False).returncode


def start() -> int:
    unit = sandbox.settings(UNITS / "appliance.service")
    with LOG.open("ab") as log:
        if subprocess.run([*prepare({}), *shlex.split(unit["ExecStartPre"][-1])], stdout=log, stderr=log, check=False).returncode:
            return 1
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = f"appliance-stand-in-{os.getpid()}"
        told.bind("\0" + address)
        held = int(os.environ["HELD_FD"])
        lines = (UNITS / "appliance.socket").read_text().splitlines()
        names = next(line.partition("=")[2] for line in lines if line.startswith("FileDescriptorName="))
        environ = {"NOTIFY_SOCKET": f"@{address}", "LISTEN_FDNAMES": names}
        command = [*prepare(environ, held), *shlex.split(unit["ExecStart"][-1])]
        served = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(held,), start_new_session=True)
        PID.write_text(str(served.pid))
        return 0 if is_ready(told, served) else 1


def is_ready(told: socket.socket, served: "subprocess.Popen[bytes]") -> bool:
    told.settimeout(0.2)
    end = time.monotonic() + READY_S
    while time.monotonic() < end and served.poll() is None:
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in told.recv(65536).split(b"\n"):
                return True
    return False


def stop() -> None:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pid = int(PID.read_text())
        os.kill(pid, signal.SIGTERM)
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.02)
    PID.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
