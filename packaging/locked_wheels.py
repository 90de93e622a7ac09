"""The wheels that go into a build, as the lock names them: fetched for a target that need not be this machine, and laid out as a folder of
packages.

The rule: what goes in is one wheel a requirement, and its SHA-256 stands in packaging/requirements.txt. Wheels are taken apart here rather
than installed, since an installer writes down where and by which Python it did so.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import attrs
from packaging.markers import Marker
from packaging.utils import canonicalize_name, parse_wheel_filename

LOCK = Path(__file__).resolve().parent / "requirements.txt"
GLIBC = (2, 28)
"""Debian 10, RHEL 8 and Ubuntu 20.04 have it or a newer one; wheels for older ones are no longer made by all of our dependencies."""
MINORS = (11, 12, 13)
MACHINES = ("x86_64", "aarch64")
FILE_NAMES = {"aarch64": "arm64"}
"""How a machine is named in a file's name where that is another word."""
NEEDLESS = re.compile(r"/(_?tests|testing_resources)/|\.(pyi|pyx|pxd|c|h)$")
"""Not needed to run: packages' own tests, and what compilers and type checkers read."""
DATA = re.compile(r"^[^/]+\.data/(purelib|platlib)/")
SCRIPTS = re.compile(r"^[^/]+\.data/")


class Unbuildable(Exception):
    """One line: what is missing or wrong, and what to do."""


@attrs.frozen
class Target:
    """What a build runs on."""

    minor: int
    machine: str

    @property
    def tag(self) -> str:
        return f"cp3{self.minor}-{FILE_NAMES.get(self.machine, self.machine)}"

    @property
    def suffix(self) -> str:
        """How CPython's compiled modules end there (SOABI)."""
        return f".cpython-3{self.minor}-{self.machine}-linux-gnu.so"

    def markers(self) -> dict[str, str]:
        return {
            "python_version": f"3.{self.minor}", "python_full_version": f"3.{self.minor}.0", "platform_machine": self.machine,
            "sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "implementation_name": "cpython",
            "platform_python_implementation": "CPython", "extra": "",
        }  # fmt: skip

    def platforms(self) -> list[str]:
        """Wheel platforms that run there (PEP 600 and its forerunners), newest first."""
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in range(GLIBC[1], 4, -1)]
        return [*names, *(f"{old}_{self.machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1"))]


@attrs.frozen
class Locked:
    """One line of the lock."""

    name: str
    version: str
    hashes: frozenset[str]


@attrs.frozen
class Wheel:
    """A file, checked against its lock line."""

    locked: Locked
    path: Path
    sha256: str


def locked(target: Target) -> list[Locked]:
    """Of the lock's lines those that hold for the target, by name."""
    found = []
    for text in re.sub(r"\\\n", " ", LOCK.read_text()).splitlines():
        head, *hashes = re.split(r"\s+--hash=sha256:", text.strip())
        name, _, rest = head.partition("==")
        version, _, marker = rest.partition(";")
        if version and (not marker.strip() or Marker(marker.strip()).evaluate(target.markers())):
            found.append(Locked(canonicalize_name(name.strip()), version.strip(), frozenset(one.strip() for one in hashes)))
    return sorted(found, key=lambda one: one.name)


def wheels(target: Target, folder: Path) -> list[Wheel]:
    """One a lock line; fetched into the folder where they are not there already.

    Raises:
        Unbuildable: one cannot be had, or is not what the lock says.
    """
    wanted = locked(target)
    folder.mkdir(parents=True, exist_ok=True)
    if len(present(wanted, folder)) != len(wanted):
        fetch(target, wanted, folder)
    found = present(wanted, folder)
    missing = [f"{one.name} {one.version}" for one in wanted if one.name not in found]
    if missing:
        raise Unbuildable(f"no wheel for {target.tag} with a hash of {LOCK.name}: {', '.join(missing)}")
    return [found[one.name] for one in wanted]


def present(wanted: list[Locked], folder: Path) -> dict[str, Wheel]:
    found = {}
    by_name = {one.name: one for one in wanted}
    for path in sorted(folder.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(path.name)
        one = by_name.get(name)
        if one is not None and one.version == str(version):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest in one.hashes:
                found[one.name] = Wheel(one, path, digest)
    return found


def fetch(target: Target, wanted: list[Locked], folder: Path) -> None:
    """By pip, which is given the target's lines alone: it reads markers as its own interpreter would."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as lines:
        for one in wanted:
            lines.write(f"{one.name}=={one.version} {' '.join(f'--hash=sha256:{each}' for each in sorted(one.hashes))}\n")
        lines.flush()
        platforms = [word for name in target.platforms() for word in ("--platform", name)]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
             "--only-binary=:all:", "--implementation", "cp", "--python-version", f"3.{target.minor}", "--abi", f"cp3{target.minor}",
             *platforms, "--dest", str(folder), "--requirement", lines.name],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        last = ([line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"])[-1]
        raise Unbuildable(f"the wheels for {target.tag} cannot be fetched: {last}")


def lay_out(wheel: Wheel, folder: Path) -> None:
    """A wheel's packages and its metadata, with the same modes everywhere; no scripts."""
    with ZipFile(wheel.path) as archive:
        for name, content in kept(archive):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o644)


def kept(archive: ZipFile) -> Iterator[tuple[str, bytes]]:
    for entry in archive.infolist():
        name = DATA.sub("", entry.filename)
        if not entry.is_dir() and not SCRIPTS.match(name) and not NEEDLESS.search(name):
            yield name, archive.read(entry)
