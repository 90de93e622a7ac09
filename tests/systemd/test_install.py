"""install.sh on a folder that stands for a machine: it changes nothing twice, keeps what an operator wrote, and goes back."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "systemd"
SYSTEM_PYTHON = Path("/usr/bin/python3")

if not SYSTEM_PYTHON.exists() or not shutil.which("systemd-sysusers"):
    pytest.skip("needs /usr/bin/python3 and systemd-sysusers", allow_module_level=True)
if subprocess.run([SYSTEM_PYTHON, "-c", "import tomllib"], capture_output=True, check=False).returncode:
    pytest.skip("needs a /usr/bin/python3 of 3.11 or newer, as the service does", allow_module_level=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    return root


def build(folder: Path, version: str) -> Path:
    """Something that runs and says its version, with its checksum; the real file has tests of its own."""
    inside = folder / f"inside-{version}"
    inside.mkdir(parents=True)
    (inside / "__main__.py").write_text(f'print("appliance  {version}")\n')
    target = folder / version / "appliance.pyz"
    target.parent.mkdir()
    zipapp.create_archive(inside, target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    (target.parent / "SHA256SUMS").write_text(f"{'0' * 64}  other.pyz\n{digest}  appliance.pyz\n")
    return target


def install(*arguments: str | Path, code: int = 0) -> str:
    """What install.sh said."""
    done = subprocess.run(
        ["sh", SOURCE / "install.sh", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def tree(root: Path) -> dict[str, tuple[int, str]]:
    """Every path below it with mode and content, or where a link leads."""
    found = {}
    for path in sorted(root.rglob("*")):
        held = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(root))] = (path.lstat().st_mode, held)
    return found


def current(root: Path) -> str:
    return os.readlink(root / "opt/appliance/current").removeprefix("releases/").split("-")[0]


def test_a_first_install_puts_everything_in_place_and_a_second_changes_nothing(root: Path, tmp_path: Path) -> None:
    file = build(tmp_path, "1.0.0")
    said = install("install", file, "--root", root)
    assert "appliance key create" in said
    assert (root / "opt/appliance/current/appliance.pyz").read_bytes() == file.read_bytes()
    assert (root / "etc/systemd/system/appliance.service").read_text() == (SOURCE / "appliance.service").read_text()
    assert (root / "etc/systemd/system/appliance.socket").read_text() == (SOURCE / "appliance.socket").read_text()
    assert os.readlink(root / "etc/appliance/state") == "/var/lib/appliance"
    assert (root / "etc/appliance/credentials").stat().st_mode & 0o777 == 0o700
    assert (root / "etc/appliance/config.toml").stat().st_mode & 0o777 == 0o640
    assert "appliance-config" in (root / "etc/group").read_text()
    assert os.access(root / "usr/local/bin/appliance", os.X_OK)
    before = tree(root)
    assert "nothing to do" in install("install", file, "--root", root)
    assert tree(root) == before


def test_a_dry_run_says_every_step_and_changes_nothing(root: Path, tmp_path: Path) -> None:
    file = build(tmp_path, "1.0.0")
    before = tree(root)
    said = install("install", file, "--root", root, "--dry-run")
    assert tree(root) == before
    assert f"would: install -m 0755 {file}" in said
    assert "would: ln -s /var/lib/appliance" in said
    install("install", file, "--root", root)
    newer, before = build(tmp_path, "1.1.0"), tree(root)
    for command in (["upgrade", newer], ["uninstall"], ["uninstall", "--purge"]):
        assert "would: " in install(*command, "--root", root, "--dry-run")
        assert tree(root) == before


def test_an_upgrade_keeps_the_version_before_and_a_rollback_goes_there_and_back(root: Path, tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        install("install" if version == "1.0.0" else "upgrade", build(tmp_path, version), "--root", root)
        assert current(root) == version
    assert sorted(one.name.split("-")[0] for one in (root / "opt/appliance/releases").iterdir()) == ["1.1.0", "1.2.0"]
    assert "went back from 1.2.0" in install("rollback", "--root", root)
    assert current(root) == "1.1.0"
    install("rollback", "--root", root)
    assert current(root) == "1.2.0"


def test_a_rollback_brings_that_versions_units_back(root: Path, tmp_path: Path) -> None:
    install("install", build(tmp_path, "1.0.0"), "--root", root)
    release = (root / "opt/appliance/current").resolve()
    (release / "appliance.service").write_text("[Service]\n# of another version\n")
    install("upgrade", build(tmp_path, "1.1.0"), "--root", root)
    install("rollback", "--root", root)
    assert "of another version" in (root / "etc/systemd/system/appliance.service").read_text()


def test_what_an_operator_wrote_is_never_changed(root: Path, tmp_path: Path) -> None:
    install("install", build(tmp_path, "1.0.0"), "--root", root)
    etc, drop_in = root / "etc/appliance", root / "etc/systemd/system/appliance.service.d/own.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nMemoryMax=4G\n")
    (etc / "config.toml").write_text('[server]\nlisten = ["fd:http"]\n')
    (etc / "credentials/openai").write_text("sk-1")
    theirs = ("etc/appliance", "etc/systemd/system/appliance.service.d")
    before = {name: held for name, held in tree(root).items() if name.startswith(theirs)}
    install("upgrade", build(tmp_path, "1.1.0"), "--root", root)
    install("rollback", "--root", root)
    said = install("uninstall", "--root", root)
    after = tree(root)
    assert {name: after.get(name) for name in before} == before
    assert "kept" in said
    assert not (root / "opt/appliance").exists()
    assert not (root / "etc/systemd/system/appliance.service").exists()
    install("uninstall", "--root", root)
    install("uninstall", "--purge", "--root", root)
    assert not etc.exists()
    assert not drop_in.exists()


@pytest.mark.parametrize("spoilt", ["content", "unnamed", "missing"])
def test_a_file_that_is_not_what_its_checksum_says_is_refused(root: Path, tmp_path: Path, spoilt: str) -> None:
    file = build(tmp_path, "1.0.0")
    sums = file.parent / "SHA256SUMS"
    if spoilt == "content":
        file.write_bytes(file.read_bytes() + b"\0")
    elif spoilt == "unnamed":
        sums.write_text(f"{'0' * 64}  other.pyz\n")
    else:
        sums.unlink()
    before = tree(root)
    assert "SHA256SUMS" in install("install", file, "--root", root, code=1)
    assert tree(root) == before


def test_a_file_that_does_not_run_here_is_refused(root: Path, tmp_path: Path) -> None:
    file = build(tmp_path, "1.0.0")
    zipapp.create_archive(_broken(tmp_path), file)
    (file.parent / "SHA256SUMS").write_text(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  appliance.pyz\n")
    assert "this file is for another Python" in install("install", file, "--root", root, code=1)
    assert not (root / "opt").exists()


def _broken(folder: Path) -> Path:
    inside = folder / "broken"
    inside.mkdir()
    (inside / "__main__.py").write_text('import sys\nsys.exit("this file is for another Python")\n')
    return inside


def test_a_store_that_lay_beside_an_old_configuration_is_found_again(root: Path, tmp_path: Path) -> None:
    etc = root / "etc/appliance"
    (etc / "state").mkdir(parents=True)
    (etc / "state/appliance.db").write_bytes(b"the ledger")
    (etc / "state/appliance.db.lock").touch()
    (etc / "config.toml").write_text('[server]\nlisten = ["127.0.0.1:8080"]\n')  # its store is state/appliance.db, beside it
    said = install("install", build(tmp_path, "1.0.0"), "--root", root)
    assert "/var/lib/appliance" in said
    assert (root / "var/lib/appliance/appliance.db").read_bytes() == b"the ledger"
    assert os.readlink(etc / "state") == "/var/lib/appliance"
    assert (etc / "config.toml").read_text() == '[server]\nlisten = ["127.0.0.1:8080"]\n'


def test_a_store_that_has_no_room_in_its_new_place_stays_whole_in_the_old(root: Path, tmp_path: Path) -> None:
    old, new = root / "etc/appliance/state", root / "var/lib/appliance"
    old.mkdir(parents=True)
    new.mkdir(parents=True)
    (old / "appliance.db").write_bytes(b"l" * 700_000)
    (old / "appliance.db-wal").write_bytes(b"w" * 700_000)
    (root / "etc/appliance/config.toml").write_text("")
    file, before = build(tmp_path, "1.0.0"), tree(old)
    small = f'mount -t tmpfs -o size=1m none "{new}" || exit 99; exec sh "{SOURCE}/install.sh" install "{file}" --root "{root}"'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", small], capture_output=True, text=True, check=False)
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    assert done.returncode == 1
    assert tree(old) == before
    assert "it is where it was" in done.stderr
    install("install", file, "--root", root)
    assert tree(new) == before


def test_a_move_of_the_store_that_was_cut_short_is_done_again(root: Path, tmp_path: Path) -> None:
    """As a power cut leaves it: one file has arrived, the other has not, and the old place has both."""
    old, new = root / "etc/appliance/state", root / "var/lib/appliance"
    old.mkdir(parents=True)
    (new / ".arriving").mkdir(parents=True)
    for name in ("appliance.db", "appliance.db-wal"):
        (old / name).write_text(name)
    (new / "appliance.db").write_text("appliance.db")
    (new / ".arriving/appliance.db-wal").write_text("")
    (root / "etc/appliance/config.toml").write_text("")
    before = tree(old)
    install("install", build(tmp_path, "1.0.0"), "--root", root)
    assert tree(new) == before
    assert os.readlink(old) == "/var/lib/appliance"


def test_a_release_that_a_power_cut_left_empty_is_copied_again(root: Path, tmp_path: Path) -> None:
    file = build(tmp_path, "1.0.0")
    install("install", file, "--root", root)
    before = tree(root)
    (root / "opt/appliance/current/appliance.pyz").write_bytes(b"")
    (root / "opt/appliance/current/appliance.service").write_bytes(b"")
    assert "copied again" in install("install", file, "--root", root)
    assert tree(root) == before


def test_a_file_may_have_spaces_in_its_name_and_its_checksums_come_from_another_system(root: Path, tmp_path: Path) -> None:
    file = build(tmp_path, "1.0.0")
    spaced = file.rename(file.with_name("the appliance.pyz"))
    (file.parent / "SHA256SUMS").write_bytes(hashlib.sha256(spaced.read_bytes()).hexdigest().encode() + b" *the appliance.pyz\r\n")
    install("install", spaced, "--root", root)
    assert current(root) == "1.0.0"


def test_a_temporary_folder_that_runs_no_programs_is_no_hindrance(root: Path, tmp_path: Path) -> None:
    hardened, file = tmp_path / "hardened", build(tmp_path, "1.0.0")
    hardened.mkdir()
    inside = tmp_path / "inside-1.0.0"
    (inside / "__main__.py").write_text(
        'import os\nflags = os.statvfs(os.environ["APPLIANCE_ROOT"]).f_flag\n'
        'assert not flags & os.ST_NOEXEC, "is mounted noexec"\nprint("appliance  1.0.0")\n'
    )
    zipapp.create_archive(inside, file)
    (file.parent / "SHA256SUMS").write_text(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  appliance.pyz\n")
    run = f'mount -t tmpfs -o noexec none "{hardened}" || exit 99; exec sh "{SOURCE}/install.sh" install "{file}" --root "{root}"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", run], capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(hardened)}
    )
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert current(root) == "1.0.0"


def test_a_fresh_configuration_below_a_root_can_be_read_by_the_service(root: Path, tmp_path: Path) -> None:
    """The group has its number in that root alone."""
    assert "note:" not in install("install", build(tmp_path, "1.0.0"), "--root", root)
    (root / "etc/appliance/config.toml").chmod(0o600)
    assert "note: the service cannot read" in install("install", tmp_path / "1.0.0/appliance.pyz", "--root", root)


def test_a_store_in_use_is_not_moved(root: Path, tmp_path: Path) -> None:
    etc = root / "etc/appliance"
    (etc / "state").mkdir(parents=True)
    (etc / "state/appliance.db").write_bytes(b"the ledger")
    (etc / "config.toml").write_text("")
    lock = etc / "state/appliance.db.lock"
    lock.touch()
    code = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert "stop it first" in install("install", build(tmp_path, "1.0.0"), "--root", root, code=1)
        assert holder.stdin is not None
        holder.stdin.close()
    assert (etc / "state/appliance.db").read_bytes() == b"the ledger"


def test_two_stores_are_the_operators_to_choose_between(root: Path, tmp_path: Path) -> None:
    for folder in ("etc/appliance/state", "var/lib/appliance"):
        (root / folder).mkdir(parents=True)
        (root / folder / "appliance.db").write_text(folder)
    (root / "etc/appliance/config.toml").write_text("")
    before = tree(root)
    assert "two stores" in install("install", build(tmp_path, "1.0.0"), "--root", root, code=1)
    assert tree(root) == before


@pytest.mark.parametrize(
    ("config", "fragment", "fits"),
    [
        ('path = "/var/lib/appliance/gateway.db"', "", True), ('path = "state/other.db"', "", True), ("", "", True),
        ('path = "/srv/ledger/appliance.db"', "", False), ('path = "appliance.db"', "", False),
        ("", '[store]\npath = "/srv/ledger/appliance.db"\n', False), ('path = "../../var/lib/appliance/a.db"', "", True),
    ],
)  # fmt: skip
def test_a_store_where_the_service_may_not_write_stops_the_install_before_anything_is_changed(
    root: Path, tmp_path: Path, config: str, fragment: str, fits: bool
) -> None:
    etc = root / "etc/appliance"
    (etc / "conf.d").mkdir(parents=True)
    (etc / "config.toml").write_text(f"[store]\n{config}\n")
    (etc / "conf.d/10.toml").write_text(fragment)
    before = tree(root)
    said = install("install", build(tmp_path, "1.0.0"), "--root", root, code=0 if fits else 1)
    if not fits:
        assert "nothing was changed" in said
        assert tree(root) == before
        drop_in = root / "etc/systemd/system/appliance.service.d/store.conf"  # as README.md shows it
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text("[Service]\nReadWritePaths=/srv/ledger\n")
        install("install", tmp_path / "1.0.0/appliance.pyz", "--root", root)
    assert (etc / "config.toml").read_text() == f"[store]\n{config}\n"


def test_a_store_that_a_link_of_the_operator_leads_elsewhere_is_told_before_anything_is_changed(root: Path, tmp_path: Path) -> None:
    etc, file = root / "etc/appliance", build(tmp_path, "1.0.0")
    etc.mkdir()
    (etc / "config.toml").write_text("")
    (etc / "state").symlink_to("/srv/ledger")
    before = tree(root)
    assert "store.path is /srv/ledger/appliance.db" in install("install", file, "--root", root, code=1)
    assert tree(root) == before


def test_two_installations_at_once_do_not_disturb_each_other(root: Path, tmp_path: Path) -> None:
    file = build(tmp_path, "1.0.0")
    held = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        before = tree(root)
        assert "another install.sh is at work" in install("install", file, "--root", root, code=1)
        assert "another install.sh is at work" in install("uninstall", "--root", root, code=1)
        assert tree(root) == before
    finally:
        os.close(held)
    install("install", file, "--root", root)


def test_a_wrong_command_is_told_with_the_right_ones() -> None:
    for arguments in (["instal"], [], ["install", "--rot", "/x"], ["rollback", "file"], ["install", "upgrade"], ["install", "--root"]):
        assert "install.sh rollback" in install(*arguments, code=64)
    assert "--purge belongs to uninstall" in install("upgrade", "--purge", code=64)
