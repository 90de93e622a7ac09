"""`make release` on checkouts of its own: what is no release is refused in one line, and what is one says what it holds."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from zipapp_rig import ROOT, checkout

from appliance import __version__
from appliance.store.schema import VERSION

WHO = ("-c", "user.name=test", "-c", "user.email=test@localhost")


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *WHO, "-C", str(folder), *words], check=True, capture_output=True)


def release(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    script = str(folder / "packaging" / "release.py")
    return subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False, timeout=120, cwd="/")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clean commit of the working tree."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    folder = checkout(tmp_path / "clone")
    git(folder, "commit", "--allow-empty", "-m", "as it is")
    for tag in subprocess.run(["git", "-C", folder, "tag"], capture_output=True, text=True, check=True).stdout.split():
        git(folder, "tag", "-d", tag)
    return folder


def test_a_dry_run_says_every_step_and_does_none(clone: Path) -> None:
    done = release(clone, "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(rf"release: {re.escape(__version__)} of [0-9a-f]{{12}}, store schema {VERSION}", lines[0])
    assert [line.split(" ")[1:3] for line in lines[1:]] == [["would", "run"], ["would", "run"], ["would", "write"]]
    assert "make test" in lines[1]
    assert lines[2].endswith("build_zipapp.py --out " + str(clone / "dist") + " --all")
    assert not (clone / "dist").exists()


@pytest.mark.parametrize("change", ["edit", "new file"])
def test_what_is_not_committed_is_no_release(clone: Path, change: str) -> None:
    (clone / ("README.md" if change == "edit" else "new.txt")).write_text("another")
    done = release(clone)
    assert done.returncode == 1
    assert "changes that are not committed" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_version_is_released_once(clone: Path) -> None:
    git(clone, "tag", f"v{__version__}")
    done = release(clone, "--dry-run")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"v{__version__} is released: give appliance/__init__.py a version above it" in done.stderr


@pytest.mark.parametrize("text", ["# Changes\n", "## 99.0.0\n\nfuture\n", f"## {__version__}\n\n", f"## {__version__}\n\nTODO\n"])
def test_a_release_says_what_changed(clone: Path, text: str) -> None:
    (clone / "CHANGELOG.md").write_text(text)
    git(clone, "commit", "-am", "notes")
    done = release(clone, "--dry-run")
    assert done.returncode == 1
    assert "CHANGELOG.md" in done.stderr


def test_the_notes_name_files_sums_changes_and_what_the_store_needs(clone: Path, dist: Path) -> None:
    """With a release before this one, whose store had one migration less. What is built is the build of the other tests."""
    schema = clone / "appliance" / "store" / "schema.py"
    whole = schema.read_text()
    schema.write_text(re.sub(r"^(MIGRATIONS: Final = \(.*), \w+\)$", r"\1)", whole, flags=re.MULTILINE))
    assert schema.read_text() != whole
    git(clone, "commit", "-am", "before")
    git(clone, "tag", "v0.0.9")
    schema.write_text(whole)
    git(clone, "commit", "-am", "now")
    builder = clone / "packaging" / "build_zipapp.py"
    builder.write_text(f"import shutil, sys\nshutil.copytree({str(dist)!r}, sys.argv[sys.argv.index('--out') + 1])\n")
    git(clone, "commit", "-am", "a quick build")
    done = release(clone, "--tested", "--target", "this")
    assert done.returncode == 0, done.stderr
    assert f"git tag -a v{__version__} -F" in done.stdout
    notes = (clone / "dist" / "RELEASE_NOTES.md").read_text()
    assert notes.startswith(f"# appliance {__version__}\n")
    for line in (dist / "SHA256SUMS").read_text().splitlines():
        assert line in notes
    assert f"Store schema {VERSION}. It was {VERSION - 1}: the first start brings the store forward" in notes
    assert "The first version." in notes
    assert not re.search(r"\{\w+\}", notes)
    shutil.rmtree(clone)


def test_a_failing_step_ends_it(clone: Path) -> None:
    (clone / "packaging" / "build_zipapp.py").write_text("raise SystemExit(3)\n")
    git(clone, "commit", "-am", "broken")
    done = release(clone, "--tested")
    assert done.returncode == 1
    assert "nothing is released" in done.stderr
    assert not (clone / "dist" / "RELEASE_NOTES.md").exists()
