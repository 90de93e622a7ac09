"""The zipapp as a machine without anything of ours meets it: a Python, a file, an environment that is written down."""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "packaging"))
from build_zipapp import pack  # noqa: E402  (the build is no package)
from locked_wheels import Target  # noqa: E402
from sbom import Build  # noqa: E402

WHEELS = ROOT / "build" / "wheels"
BASE = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
"""The interpreter without the virtual environment's packages."""
NOBODY = 65534
RUN_S = 120.0
"""No command takes a tenth of this on a quiet machine."""
BARE = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
"""The variable keeps runs of an unpacked build from adding files to it, where it has no compiled ones."""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: changes users or namespaces")


def build(source: Path, out: Path, *words: str, env: dict[str, str] | None = None) -> None:
    """Builds a checkout; the test is skipped where wheels cannot be had."""
    script = source / "packaging" / "build_zipapp.py"
    done = subprocess.run(
        [sys.executable, str(script), "--out", str(out), "--wheels", str(WHEELS), *words], capture_output=True, text=True, check=False,
        env=env, cwd=source,
    )  # fmt: skip
    if done.returncode and ("cannot be fetched" in done.stderr or "git does not know" in done.stderr):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


def checkout(folder: Path) -> Path:
    """The working tree as it is, in another folder and with other times."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    for name in listed:
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
            os.utime(folder / name, (1_000_000_000, 1_000_000_000))
    subprocess.run(["git", "-C", str(folder), "add", "--all"], check=True)
    return folder


SAYS_RAN = "from appliance.cli.words import RAN\n\n\ndef main():\n    print(RAN)\n"


def small(folder: Path, target: Target, name: str = "1", program: str = SAYS_RAN) -> Path:
    """A real archive for a target, with nothing in it but the start and two modules."""
    stage = folder / f"stage-{target.tag}-{name}"
    (stage / "appliance" / "cli").mkdir(parents=True)
    (stage / "appliance" / "cli" / "__init__.py").write_text(program)
    (stage / "appliance" / "cli" / "words.py").write_text("RAN = 'ran'\n")
    packed = folder / f"{target.tag}-{name}.pyz"
    pack(Build(target, name, "none", 1_700_000_000, name.ljust(64, "0")), stage, packed)
    return packed


def as_version(pyz: Path, number: str, made: Path) -> None:
    """The same program, as another version."""
    ours = "site-packages/appliance/"
    with ZipFile(pyz) as source, made.open("wb") as out:
        out.write(b"#!/usr/bin/env python3\n")
        with ZipFile(out, "w") as archive:
            for entry in source.infolist():
                content = source.read(entry)
                if entry.filename == f"{ours}__init__.py":
                    content = f"__version__ = {number!r}\n".encode()
                elif entry.filename == "appliance_facts.py":
                    content += f"VERSION = {number!r}\nDIGEST = {64 * 'f'!r}\n".encode()
                if not entry.filename.startswith(f"{ours}__pycache__/__init__"):
                    archive.writestr(entry, content)


def once(folder: Path, make: Any) -> Path:
    """Made by whichever worker comes first; the others wait for it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make(folder)
    return folder


def run(pyz: Path, *words: str, python: str = BASE, cwd: str | Path = "/", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, str(pyz), *words], capture_output=True, text=True, timeout=RUN_S, env=BARE | env, cwd=cwd, stdin=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done
    return done.stdout


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """One line and exit 78."""
    assert done.returncode == 78, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("appliance: ")
    return line


@contextlib.contextmanager
def started(pyz: Path, *words: str, log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as sink:
        process = subprocess.Popen([BASE, str(pyz), *words], stdout=sink, stderr=subprocess.STDOUT, env=BARE | env, cwd="/")
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def python_for_all() -> str:
    """One of the build's minor version that another user can run."""
    for path in (BASE, f"/usr/bin/python3.{sys.version_info.minor}", f"/usr/local/bin/python3.{sys.version_info.minor}"):
        tried = subprocess.run([*as_nobody(), path, "-c", ""], capture_output=True, check=False) if os.path.exists(path) else None
        if tried is not None and tried.returncode == 0:
            return path
    pytest.skip("no Python of this version that another user may run")


def as_nobody() -> list[str]:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv")
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
