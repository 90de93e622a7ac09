"""Makes appliance.pyz: one file that a machine with Python and nothing else runs. `make zipapp` for this machine, `make zipapps` for all.

The rule: the same commit, lock and tools give the same bytes, wherever and whenever. Files come from git's list and from wheels whose
hashes are locked, in sorted order, with one mode and the commit's time. Shiv packs the archive; added to it are `appliance_start.py`, which
starts in place of shiv's bootstrap (its docstring says why), and compiled modules, which shiv leaves out: they are there when the building
Python is of the target's minor version, and save the first start most of its time. Else each start compiles what it imports, once.

Beside each file: its bill of materials (CycloneDX), and SHA256SUMS of all.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from locked_wheels import GLIBC, MACHINES, MINORS, Target, Unbuildable, lay_out, wheels
from sbom import Build, bill
from shiv.bootstrap.environment import Environment
from shiv.builder import create_archive
from shiv.constants import BUILD_AT_TIMESTAMP_FORMAT

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
START, FIT = "appliance_start", "appliance_fit"
SHEBANG = "/usr/bin/env python3"
FILE_MODE = 0o100644 << 16
ZIP_EPOCH_S = 315_532_800
"""1980, before which a zip archive knows no time."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds the zipapp.")
    parser.add_argument("--all", action="store_true", help="for every minor version and machine, not this one alone")
    parser.add_argument("--target", metavar="cp311-x86_64", help="for this one")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--wheels", type=Path, default=ROOT / "build" / "wheels", help="where wheels are kept from build to build")
    asked = parser.parse_args()
    try:
        build_all(chosen(asked.all, asked.target), asked.out, asked.wheels)
    except Unbuildable as missing:
        sys.exit(f"zipapp: {missing}")


def chosen(every: bool, tag: str | None) -> list[Target]:
    known = [Target(minor, machine) for minor in MINORS for machine in MACHINES]
    if every:
        return known
    host = Target(sys.version_info.minor, platform.machine())
    wanted = [one for one in known if (one.tag == tag if tag else one == host)]
    if not wanted:
        raise Unbuildable(f"no build for {tag or host.tag}; there are {', '.join(one.tag for one in known)}")
    return wanted


def build_all(targets: list[Target], out: Path, kept: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("appliance*.pyz"), *out.glob("appliance*.cdx.json")):
        old.unlink()
    for target in targets:
        made = build_one(target, out, kept / target.tag)
        if target == Target(sys.version_info.minor, platform.machine()):
            shutil.copy(made, out / "appliance.pyz")
            shutil.copy(made.with_suffix(".cdx.json"), out / "appliance.cdx.json")
        print(f"{made}  {made.stat().st_size / 1e6:.1f} MB")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(out.glob("appliance*"))]
    (out / "SHA256SUMS").write_text("".join(sums))


def build_one(target: Target, out: Path, kept: Path) -> Path:
    parts = wheels(target, kept)
    number, commit, epoch_s = source_facts()
    with tempfile.TemporaryDirectory(prefix="zipapp-") as scratch:
        stage = Path(scratch, "stage")
        for part in parts:
            lay_out(part, stage)
        lay_out_ours(stage, {"version": number, "commit": commit, "target": target.tag, "committed": iso(epoch_s)})
        if target.minor == sys.version_info.minor:
            compile_modules(stage)
        build = Build(target, number, commit, epoch_s, digest(stage))
        packed = out / f"appliance-{number}-{target.tag}.pyz"
        pack(build, stage, packed)
    packed.with_suffix(".cdx.json").write_bytes(bill(build, parts, version("shiv")))
    return packed


def iso(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def git(*words: str) -> str:
    try:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unbuildable("git does not know this folder: build from a checkout, which says what belongs to it, and since when") from error


def source_facts() -> tuple[str, str, int]:
    """Version, commit and the commit's time. A build of uncommitted changes says so; where the commit here is none of the project's (files
    that were sent to a builder), SOURCE_COMMIT names it."""
    scope: dict[str, str] = {}
    exec((ROOT / "appliance" / "__init__.py").read_text(), scope)
    commit, when = git("log", "-1", "--format=%h %ct", "--abbrev=12").split()
    if git("status", "--porcelain", "--untracked-files=no").strip():
        commit += " with changes"
    return scope["__version__"], os.environ.get("SOURCE_COMMIT") or commit, max(int(os.environ.get("SOURCE_DATE_EPOCH", when)), ZIP_EPOCH_S)


def lay_out_ours(stage: Path, facts: dict[str, str]) -> None:
    for name in sorted(git("ls-files", "appliance", "LICENSE").splitlines()):
        path = stage / (name if name != "LICENSE" else "appliance/LICENSE")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((ROOT / name).read_bytes())
        path.chmod(0o644)
    (stage / "appliance" / "build.json").write_text(json.dumps(facts, indent=1) + "\n")


def compile_modules(stage: Path) -> None:
    """-S, -P and one hash seed: no other module is alive there than in any other build."""
    script = HERE / "compile_modules.py"
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-B", str(script), str(stage)], env={"PYTHONHASHSEED": "0"}, cwd="/", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise Unbuildable(f"a module does not compile: {done.stderr.strip().splitlines()[-1]}")


def digest(stage: Path) -> str:
    """Of all that is unpacked, and of what unpacks it."""
    whole = hashlib.sha256(b"".join((HERE / f"{name}.py").read_bytes() for name in (START, FIT)))
    for path in sorted(stage.rglob("*"), key=str):
        if path.is_file():
            content = path.read_bytes()
            whole.update(f"{path.relative_to(stage)}\0{len(content)}\0".encode())
            whole.update(content)
    return whole.hexdigest()


def pack(build: Build, stage: Path, packed: Path) -> None:
    environment = Environment(
        built_at=datetime.fromtimestamp(build.epoch_s, UTC).strftime(BUILD_AT_TIMESTAMP_FORMAT), build_id=build.digest,
        entry_point="appliance.cli:main", compile_pyc=False, shiv_version=version("shiv"), reproducible=True,
    )  # fmt: skip
    create_archive([stage], packed, SHEBANG, f"{START}:main", environment)
    when = datetime.fromtimestamp(build.epoch_s, UTC).timetuple()[:6]
    ours = {f"{name}.py": (HERE / f"{name}.py").read_bytes() for name in (START, FIT)}
    ours["appliance_facts.py"] = facts(build).encode()
    ours |= {f"site-packages/{path.relative_to(stage)}": path.read_bytes() for path in sorted(stage.rglob("*.pyc"), key=str)}
    with ZipFile(packed, "a", compression=ZIP_DEFLATED) as archive:
        for name, content in ours.items():
            archive.writestr(ZipInfo(name, when), content, compress_type=ZIP_DEFLATED)
        for entry in archive.infolist():  # written at the end: the builder's umask shows nowhere
            entry.external_attr = FILE_MODE


def facts(build: Build) -> str:
    """What the start has to know before it may import anything."""
    values = {
        "VERSION": build.version, "DIGEST": build.digest, "MINOR": build.target.minor, "MACHINE": build.target.machine,
        "SUFFIX": build.target.suffix, "GLIBC": GLIBC, "MINORS": MINORS,
    }  # fmt: skip
    return '"""Of this build; see build_zipapp.py."""\n' + "".join(f"{name} = {value!r}\n" for name, value in values.items())


if __name__ == "__main__":
    main()
