"""Where the zipapp unpacks to, and that nothing half, foreign or old is ever run from there."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from zipfile import ZipFile

import pytest
from rig import eventually, free_port
from zipapp_rig import BARE, BASE, NOBODY, Target, answers, as_nobody, python_for_all, refused, root_only, run, said, small, started

MARK = "whole-since-boot"


def builds(root: Path) -> list[Path]:
    return sorted(root.glob("appliance-*"))


def leftovers(root: Path) -> list[Path]:
    return list(root.glob(".part-*"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """An archive that is quickly unpacked and says that it ran."""
    return small(tmp_path, Target(sys.version_info.minor, os.uname().machine))


@pytest.fixture
def filled(tiny: Path, root: Path) -> Path:
    """The folder of a build that was unpacked there."""
    said(run(tiny, APPLIANCE_ROOT=str(root)))
    (folder,) = builds(root)
    return folder


def test_what_is_unpacked_is_private(pyz: Path, root: Path) -> None:
    umask = os.umask(0)
    try:
        said(run(pyz, "--version", APPLIANCE_ROOT=str(root)))
    finally:
        os.umask(umask)
    (folder,) = builds(root)
    for path in (root, folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_twenty_first_starts_at_once_unpack_once(pyz: Path, root: Path) -> None:
    env = BARE | {"APPLIANCE_ROOT": str(root)}
    starts = [
        subprocess.Popen([BASE, str(pyz), "version"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(20)
    ]
    inodes = set()
    while any(start.poll() is None for start in starts):
        inodes |= {folder.stat().st_ino for folder in builds(root)}
        time.sleep(0.01)
    for start in starts:
        out, err = start.communicate()
        assert (start.returncode, err) == (0, "")
        assert "commit" in out
    assert len(inodes) == 1
    assert not leftovers(root)


@pytest.mark.parametrize("files", [1, 400])
def test_an_unpacking_that_was_killed_is_never_used(pyz: Path, root: Path, files: int) -> None:
    start = subprocess.Popen([BASE, str(pyz), "--version"], env=BARE | {"APPLIANCE_ROOT": str(root)}, stdout=subprocess.DEVNULL)
    while start.poll() is None and sum(len(names) for one in leftovers(root) for _, _, names in os.walk(one)) < files:
        time.sleep(0.0005)
    start.kill()
    start.wait()
    if builds(root):
        pytest.skip("it was quicker than this test")
    assert leftovers(root)
    assert "version" in said(run(pyz, "--version", APPLIANCE_ROOT=str(root)))
    assert not leftovers(root)
    assert len(builds(root)) == 1


def test_a_folder_that_was_not_finished_is_filled_anew(tiny: Path, filled: Path, root: Path) -> None:
    (filled / MARK).unlink()
    (filled / "site-packages" / "appliance" / "cli" / "__init__.py").write_text("raise SystemExit('half')\n")
    (filled / "left").touch()
    assert said(run(tiny, APPLIANCE_ROOT=str(root))) == "ran\n"
    assert not (filled / "left").exists()
    assert not leftovers(root)


def test_a_damaged_archive_is_told_in_one_line_and_leaves_nothing(tiny: Path, root: Path) -> None:
    whole = tiny.read_bytes()
    with ZipFile(tiny) as archive:
        at = archive.getinfo("site-packages/appliance/cli/__init__.py").header_offset
    at = whole.index(b"__init__.py", at) + len("__init__.py")
    for damage in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00"):
        tiny.write_bytes(whole[: at + 4] + damage + whole[at + 8 :])
        assert "is damaged" in refused(run(tiny, APPLIANCE_ROOT=str(root)))
        assert builds(root) == leftovers(root) == []
    tiny.write_bytes(whole)
    assert said(run(tiny, APPLIANCE_ROOT=str(root))) == "ran\n"


def test_a_module_that_the_build_lacks_comes_from_nowhere_else(tmp_path: Path, root: Path) -> None:
    """An optional one of the machine's is none that was built."""
    from_elsewhere = tmp_path / "elsewhere"
    from_elsewhere.mkdir()
    (from_elsewhere / "optional.py").write_text("")
    asks = "import importlib.util, ssl, json\n\n\ndef main():\n    print(importlib.util.find_spec('optional'))\n"
    pyz = small(tmp_path, Target(sys.version_info.minor, os.uname().machine), program=asks)
    assert said(run(pyz, APPLIANCE_ROOT=str(root), PYTHONPATH=str(from_elsewhere))) == "None\n"


def test_after_a_power_cut_files_are_compared_and_filled_anew(tiny: Path, filled: Path, root: Path) -> None:
    (filled / MARK).write_text("another run of this machine\n")
    victim = filled / "site-packages" / "appliance" / "cli" / "words.py"
    content = victim.read_bytes()
    victim.write_bytes(b"\0" * len(content))
    assert said(run(tiny, APPLIANCE_ROOT=str(root))) == "ran\n"
    assert victim.read_bytes() == content


def test_after_a_boot_a_whole_folder_is_kept_and_known_again(tiny: Path, filled: Path, root: Path) -> None:
    known = (filled / MARK).read_text()
    (filled / MARK).write_text("another run of this machine\n")
    (filled / "left").touch()
    said(run(tiny, APPLIANCE_ROOT=str(root)))
    assert (filled / "left").exists()
    assert (filled / MARK).read_text() == known


def test_in_a_temporary_folder_a_file_that_was_removed_is_missed(tiny: Path, tmp_path: Path) -> None:
    env = {"HOME": "/dev/null", "TMPDIR": str(tmp_path)}
    said(run(tiny, **env))
    (folder,) = builds(tmp_path / f"appliance-{os.geteuid()}")
    victim = folder / "site-packages" / "appliance" / "cli" / "words.py"
    victim.unlink()
    said(run(tiny, **env))
    assert victim.exists()


def test_two_versions_run_side_by_side_from_one_root(pyz: Path, other_version: Path, root: Path, tmp_path: Path) -> None:
    env = {"APPLIANCE_ROOT": str(root)}
    ports = [free_port(), free_port()]
    words = [("simulate", "--listen", f"127.0.0.1:{port}") for port in ports]
    with started(pyz, *words[0], log=tmp_path / "one", **env) as one, started(other_version, *words[1], log=tmp_path / "two", **env) as two:
        for port in ports:
            eventually(lambda port=port: answers(port), 30)
        assert (one.poll(), two.poll()) == (None, None)
        older, newer = said(run(pyz, "--version", **env)), said(run(other_version, "--version", **env))
    assert "version 99." in newer
    assert "version 99." not in older
    assert len(builds(root)) == 2


def test_old_builds_go_but_for_the_last_three_and_those_that_run(tiny: Path, root: Path) -> None:
    root.mkdir(mode=0o700)
    for age in range(6):
        folder = root / f"appliance-0.0.{age}-old"
        folder.mkdir()
        (folder / MARK).write_text("")
        at = time.time() - 1000 * (age + 1)
        os.utime(folder, (at, at))
    (root / ".part-left").mkdir()
    runs = os.open(root / "appliance-0.0.5-old", os.O_RDONLY)
    fcntl.flock(runs, fcntl.LOCK_SH)
    try:
        said(run(tiny, APPLIANCE_ROOT=str(root)))
    finally:
        os.close(runs)
    kept = {folder.name for folder in builds(root) if folder.name.endswith("-old")}
    assert kept == {f"appliance-0.0.{age}-old" for age in (0, 1, 2, 5)}
    assert not leftovers(root)


def test_folders_that_an_operator_named_likewise_are_left_alone(tiny: Path, root: Path) -> None:
    kept = [root / f"appliance-{name}" for name in ("backups", "docs", "old", "data", "site")]
    for folder in kept:
        folder.mkdir(parents=True, mode=0o755)
        (folder / "file").write_text("an operator's\n")
    root.chmod(0o755)
    assert said(run(tiny, APPLIANCE_ROOT=str(root))) == "ran\n"
    assert all((folder / "file").exists() for folder in kept)


def test_a_running_build_holds_its_folder(pyz: Path, root: Path, tmp_path: Path) -> None:
    port = free_port()
    with started(pyz, "simulate", "--listen", f"127.0.0.1:{port}", log=tmp_path / "log", APPLIANCE_ROOT=str(root)):
        eventually(lambda: answers(port), 30)
        (folder,) = builds(root)
        held = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(held)


def test_the_place_is_systemd_s_then_the_user_s_then_a_temporary_one(tiny: Path, tmp_path: Path) -> None:
    home, cache, temporary = tmp_path / "home", tmp_path / "cache", tmp_path / "tmp"
    for folder in (home, cache, temporary):
        folder.mkdir(mode=0o700)
    env = {"HOME": str(home), "TMPDIR": str(temporary)}
    said(run(tiny, **env, CACHE_DIRECTORY=f"{cache}/unit:{cache}/second", XDG_CACHE_HOME=str(cache)))
    assert builds(cache / "unit")
    said(run(tiny, **env, XDG_CACHE_HOME=str(cache)))
    assert builds(cache / "appliance")
    said(run(tiny, **env, XDG_CACHE_HOME="not/absolute"))
    assert builds(home / ".cache" / "appliance")
    said(run(tiny, HOME="/dev/null", TMPDIR=str(temporary)))
    assert builds(temporary / f"appliance-{os.geteuid()}")


def test_a_place_that_cannot_be_used_is_told_in_one_line(tiny: Path, root: Path) -> None:
    assert "APPLIANCE_ROOT" in refused(run(tiny, APPLIANCE_ROOT="/dev/null/below"))
    gone = f'cd "$(mktemp -d)" && rmdir "$PWD" && exec "{BASE}" "{tiny}"'
    refused(subprocess.run(["sh", "-c", gone], env=BARE | {"APPLIANCE_ROOT": "relative"}, capture_output=True, text=True, check=False))
    root.mkdir()
    root.chmod(0o777)
    assert "can be written by other users" in refused(run(tiny, APPLIANCE_ROOT=str(root)))
    assert "is in other users' hands" in refused(run(tiny, APPLIANCE_ROOT=str(root / "below")))
    assert not (root / "below").exists()


@root_only
def test_another_user_s_folder_is_not_trusted(tiny: Path, root: Path) -> None:
    root.mkdir(mode=0o700)
    os.chown(root, NOBODY - 1, NOBODY - 1)
    assert "belongs to another user" in refused(run(tiny, APPLIANCE_ROOT=str(root)))
    assert "is in other users' hands" in refused(run(tiny, APPLIANCE_ROOT=str(root / "below")))


@root_only
def test_a_link_that_another_user_put_into_a_temporary_folder_is_not_followed(tiny: Path, tmp_path: Path) -> None:
    """It may lead to a folder that is ours: nothing is written there, and nothing taken away."""
    temporary, ours = tmp_path / "temporary", tmp_path / "ours"
    temporary.mkdir()
    temporary.chmod(0o1777)
    ours.mkdir()
    link = temporary / f"appliance-{os.geteuid()}"
    link.symlink_to(ours)
    os.lchown(link, 1234, 1234)
    run(tiny, HOME="/dev/null", TMPDIR=str(temporary))
    assert list(ours.iterdir()) == []
    assert "another user's link" in refused(run(tiny, APPLIANCE_ROOT=str(link)))
    assert list(ours.iterdir()) == []


@root_only
def test_a_place_mounted_noexec_is_told(tiny: Path, root: Path) -> None:
    root.mkdir(mode=0o700)
    mount = f'mount -t tmpfs -o noexec,mode=700 none "{root}" || exit 99; exec "{BASE}" "{tiny}"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount], env=BARE | {"APPLIANCE_ROOT": str(root)}, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 78):
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    assert "is mounted noexec" in refused(done)


@root_only
def test_another_user_with_a_read_only_home_runs_it_from_a_private_temporary_folder(pyz: Path, open_folder: Path) -> None:
    home, temporary, copy = open_folder / "home", open_folder / "tmp", open_folder / "appliance.pyz"
    home.mkdir(mode=0o555)
    temporary.mkdir()
    temporary.chmod(0o1777)
    copy.write_bytes(pyz.read_bytes())
    copy.chmod(0o755)
    python = python_for_all()
    for _ in range(2):
        done = subprocess.run(
            [*as_nobody(), python, str(copy), "version"], env=BARE | {"HOME": str(home), "TMPDIR": str(temporary)}, capture_output=True,
            text=True, cwd="/", check=False,
        )  # fmt: skip
        assert "commit" in said(done)
    place = temporary / f"appliance-{NOBODY}"
    assert (place.stat().st_uid, place.stat().st_mode & 0o777) == (NOBODY, 0o700)
    assert len(builds(place)) == 1
    assert not list(home.iterdir())


@root_only
def test_what_root_has_unpacked_for_all_is_run_by_others(tiny: Path, open_folder: Path) -> None:
    """As in an image: readable for everybody, writable for nobody, and made on another machine."""
    place, copy = open_folder / "unpacked", open_folder / "appliance.pyz"
    copy.write_bytes(tiny.read_bytes())
    said(run(copy, APPLIANCE_ROOT=str(place)))
    (folder,) = builds(place)
    (folder / MARK).write_text("another machine\n")
    subprocess.run(["chmod", "-R", "a+rX,go-w", str(place)], check=True)
    words = [*as_nobody(), python_for_all(), "-I", str(copy)]
    done = subprocess.run(words, env=BARE | {"APPLIANCE_ROOT": str(place)}, capture_output=True, text=True, cwd="/", check=False)
    assert said(done) == "ran\n"
    assert (folder / MARK).read_text() == "another machine\n"
