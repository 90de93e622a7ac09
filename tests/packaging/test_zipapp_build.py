"""What a build is: the same bytes anywhere, what the lock names and nothing else, and a refusal in one line where it cannot run."""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from email.parser import HeaderParser
from glob import glob
from pathlib import Path
from zipfile import ZipFile

import pytest
from build_zipapp import chosen, digest, source_facts
from locked_wheels import MINORS, Target, locked, present
from zipapp_rig import BASE, ROOT, build, checkout, refused, run, said, small

MACHINE = os.uname().machine


def test_built_twice_in_different_folders_and_times_the_bytes_are_the_same(dist: Path, elsewhere: Path, tmp_path: Path) -> None:
    time.sleep(2.1)  # a zip archive's times are even seconds
    umask = os.umask(0o027)
    try:
        build(elsewhere, tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"})
    finally:
        os.umask(umask)
    assert {path.name for path in tmp_path.glob("appliance*")} == {path.name for path in dist.glob("appliance*")}
    for path in dist.glob("appliance*"):
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256((tmp_path / path.name).read_bytes()).digest(), path.name


def test_a_changed_or_moved_file_has_another_digest(tmp_path: Path) -> None:
    digests = set()
    for name, text in (("a", "1"), ("a", "2"), ("b", "1")):
        stage = tmp_path / (name + text)
        stage.mkdir()
        (stage / name).write_text(text)
        digests.add(digest(stage))
    assert len(digests) == 3


def test_the_sums_are_those_of_the_files(dist: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert done.stdout.count(": OK") == len(list(dist.glob("appliance*"))) == 4


def test_the_bill_names_every_package_in_the_file_with_licence_and_a_locked_digest(dist: Path, pyz: Path) -> None:
    bill = json.loads((dist / "appliance.cdx.json").read_bytes())
    listed = {(one["name"], one["version"]): one for one in bill["components"] if one["type"] == "library"}
    with ZipFile(pyz) as archive:
        names = [name for name in archive.namelist() if re.fullmatch(r"site-packages/[^/]+\.dist-info/METADATA", name)]
        texts = [archive.read(name).decode() for name in names]
    inside = {HeaderParser().parsestr(text)["Name"].lower().replace("_", "-") for text in texts}
    assert {name for name, _ in listed} == inside
    hashes = {one.name: one.hashes for one in locked(Target(sys.version_info.minor, MACHINE))}
    assert set(hashes) == inside
    for (name, _), one in listed.items():
        assert one["hashes"][0]["content"] in hashes[name], name
        assert one["licenses"], name
    assert bill["specVersion"] == "1.6"
    named = {one["bom-ref"] for one in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    assert {one["ref"] for one in bill["dependencies"]} == named
    reached = {ref for one in bill["dependencies"] for ref in one.get("dependsOn", ())}
    assert named - reached == {bill["metadata"]["component"]["bom-ref"]}, "nothing is in the file that nothing needs"


def test_nothing_in_the_file_has_a_time_or_an_owner_of_the_build(pyz: Path) -> None:
    with ZipFile(pyz) as archive:
        entries = archive.infolist()
    assert len({entry.date_time for entry in entries}) == 1
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}
    assert len({entry.filename for entry in entries}) == len(entries)


def test_prices_and_the_build_s_facts_are_in_it(pyz: Path, unpacked: Path) -> None:
    shown = said(run(pyz, "version", APPLIANCE_ROOT=str(unpacked)))
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    (told,) = re.findall(r"^commit +([0-9a-f]{12,})", shown, re.MULTILINE)
    assert commit.startswith(told)
    assert "missing" not in shown
    assert "gpt-4o-mini" in said(run(pyz, "prices", "gpt-4o-mini", APPLIANCE_ROOT=str(unpacked)))


def test_files_that_were_sent_to_a_builder_may_have_their_commit_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_COMMIT", "0123abcd")
    assert source_facts()[1] == "0123abcd"


def test_a_wheel_that_is_not_the_locked_one_is_not_taken(tmp_path: Path) -> None:
    wanted = [one for one in locked(Target(11, "x86_64")) if one.name == "h11"]
    (tmp_path / f"h11-{wanted[0].version}-py3-none-any.whl").write_bytes(b"PK not this")
    assert present(wanted, tmp_path) == {}


def test_the_right_interpreter_is_let_in(tmp_path: Path) -> None:
    fits = small(tmp_path, Target(sys.version_info.minor, MACHINE))
    assert said(run(fits, APPLIANCE_ROOT=str(tmp_path / "root"))) == "ran\n"


@pytest.mark.parametrize("minor", [minor for minor in MINORS if minor != sys.version_info.minor])
def test_a_wrong_python_gets_one_line_that_says_which_is_right(tmp_path: Path, minor: int) -> None:
    line = refused(run(small(tmp_path, Target(minor, MACHINE)), APPLIANCE_ROOT=str(tmp_path / "root")))
    assert f"is for CPython 3.{minor} on {MACHINE}" in line
    assert f"cpython 3.{sys.version_info.minor} on {MACHINE}" in line
    assert f"Run it with python3.{minor}" in line
    assert not (tmp_path / "root").exists()


def test_a_wrong_machine_gets_one_line_that_says_which_is_right(tmp_path: Path) -> None:
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[MACHINE]
    line = refused(run(small(tmp_path, Target(sys.version_info.minor, other)), APPLIANCE_ROOT=str(tmp_path / "root")))
    assert f"on {other} with glibc" in line
    assert "named after this machine" in line


def test_an_old_python_can_read_what_refuses_it() -> None:
    for name in ("appliance_start.py", "appliance_fit.py"):
        ast.parse((ROOT / "packaging" / name).read_text(), feature_version=(3, 6))


def others() -> list[tuple[int, str]]:
    """(minor version, path) of other Pythons that are here and run, whichever way they were installed."""
    found = []
    for minor in (minor for minor in range(6, 16) if minor != sys.version_info.minor):
        for path in (shutil.which(f"python3.{minor}"), *glob(f"{Path.home()}/.pyenv/versions/3.{minor}.*/bin/python")):
            asked = subprocess.run([path, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True) if path else None
            if asked is not None and asked.stdout == f"{minor}\n":
                found.append((minor, str(path)))
    return found


def test_real_pythons_of_other_versions_are_refused_in_one_line(tmp_path: Path) -> None:
    packed = small(tmp_path, Target(sys.version_info.minor, MACHINE))
    if not (found := others()):
        pytest.skip("no Python of another version here")
    for _, python in found:
        line = refused(run(packed, python=python, APPLIANCE_ROOT=str(tmp_path / "root")))
        assert f"Run it with python3.{sys.version_info.minor}" in line, python


def test_a_build_for_another_python_runs_on_it(tmp_path: Path) -> None:
    found = [(minor, python) for minor, python in others() if minor in MINORS]
    if not found:
        pytest.skip("no other Python here that there is a build for")
    minor, python = found[0]
    build(ROOT, tmp_path, "--target", f"cp3{minor}-{MACHINE.replace('aarch64', 'arm64')}")
    (packed,) = tmp_path.glob("*.pyz")
    shown = said(run(packed, "version", python=python, APPLIANCE_ROOT=str(tmp_path / "root")))
    assert f"Python     3.{minor}." in shown
    assert "missing" not in shown


def test_every_target_has_its_name_and_modules_that_fit() -> None:
    assert [one.tag for one in chosen(True, None)] == [
        "cp311-x86_64", "cp311-arm64", "cp312-x86_64", "cp312-arm64", "cp313-x86_64", "cp313-arm64"
    ]  # fmt: skip


def test_a_build_for_another_machine_holds_that_machine_s_modules(tmp_path: Path) -> None:
    """ELF's e_machine is at byte 18: 183 is AArch64."""
    build(ROOT, tmp_path, "--target", "cp313-arm64")
    (packed,) = tmp_path.glob("*.pyz")
    assert re.fullmatch(r"appliance-.+-cp313-arm64\.pyz", packed.name)
    with ZipFile(packed) as archive:
        modules = {name: archive.read(name) for name in archive.namelist() if name.endswith(".so")}
    assert len(modules) > 4
    for name, content in modules.items():
        assert content[18] == 183, name
        assert re.search(r"\.(cpython-313-aarch64-linux-gnu|abi3)\.so$", name), name


def test_outside_a_checkout_the_build_says_what_it_needs(tmp_path: Path) -> None:
    source = checkout(tmp_path / "source")
    subprocess.run(["rm", "-rf", str(source / ".git")], check=True)
    done = subprocess.run(
        [sys.executable, str(source / "packaging" / "build_zipapp.py"), "--out", str(tmp_path / "out"), "--wheels",
         str(ROOT / "build" / "wheels")],
        capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot be fetched" in done.stderr or "build from a checkout" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_interpreter_of_these_tests_is_no_virtual_environment() -> None:
    asked = subprocess.run([BASE, "-c", "import sys; print(sys.prefix == sys.base_prefix)"], capture_output=True, text=True, check=True)
    assert asked.stdout == "True\n"
