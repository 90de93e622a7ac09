"""The image's life, rehearsed without a daemon (see image_rehearsal): a root-owned volume, a read-only root, PORT, health, SIGTERM."""

import os
import subprocess
from pathlib import Path

import pytest
from image_rehearsal import instructions, may_rehearse, rehearse
from rig import KEY_SHA256, free_port

rehearsed = pytest.mark.skipif(not may_rehearse(), reason="needs root, mount namespaces and overlayfs")

CONFIG = f"""
[backends.one]
provider = "custom"
base_url = "http://127.0.0.1:9/v1"
[admin]
listen = "127.0.0.1:0"
[tenants.test]
keys = [ {{ id = "test", sha256 = "{KEY_SHA256}" }} ]
"""


@rehearsed
def test_it_serves_on_the_platforms_port_without_root_and_ends_at_sigterm(pyz: Path) -> None:
    done = rehearse(pyz, f"""
        export PORT={free_port()}
        export APPLIANCE_CONFIG_TOML='{CONFIG}'
        appliance serve 2>/tmp/log &
        for _ in $(seq 300); do appliance healthcheck 2>/dev/null && break; sleep 0.1; done
        grep '^Uid' /proc/$!/status
        tr '\\0' ' ' < /proc/$!/cmdline; echo
        stat -c '%n %u:%g' /var/lib/appliance /var/lib/appliance/state/appliance.db
        appliance key create --tenant test --id second >/dev/null
        stat -c '%n %u:%g' /var/lib/appliance/state/*
        touch /opt/appliance/x 2>/dev/null || echo read-only
        kill $!
        wait $! && echo ended with 0
        cat /tmp/log >&2
    """)  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("[::]:")
    assert lines[0].endswith(" answers 200")
    assert lines[1].split() == ["Uid:", *["10001"] * 4]
    assert lines[2].startswith("/usr/local/bin/python3 /opt/appliance/appliance.pyz container "), "PID 1 would be this, and no shell"
    assert {line.split()[1] for line in lines if line.startswith("/var/lib")} == {"10001:10001"}
    assert "read-only" in lines
    assert lines[-1] == "ended with 0"


@rehearsed
def test_a_relative_store_of_the_mounted_file_lies_in_the_volume(pyz: Path) -> None:
    lines = CONFIG.strip().replace("\n", "\\n")
    done = rehearse(pyz, f"""
        printf '{lines}\\n' > /tmp/config.toml
        mount --bind /tmp/config.toml /etc/appliance/config.toml
        appliance check
        appliance key create --tenant test --id second
        stat -c '%n %u:%g' /var/lib/appliance/state/appliance.db
    """)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "files      /etc/appliance/config.toml" in done.stdout
    assert done.stdout.endswith("/var/lib/appliance/state/appliance.db 10001:10001\n")


@pytest.mark.parametrize(
    ("variables", "checkout", "commit"),
    [
        ({}, False, "unknown"),
        ({"RAILWAY_GIT_COMMIT_SHA": "cafe"}, False, "cafe"),
        ({"SOURCE_COMMIT": "beef"}, False, "beef"),
        ({}, True, ""),
    ],
)
def test_files_that_come_without_git_are_built_as_the_platforms_commit(
    tmp_path: Path, variables: dict[str, str], checkout: bool, commit: str
) -> None:
    """The build stage's step, with a `make` that only says what it was told."""
    (step,) = [line.removeprefix("RUN ") for line in instructions()[0] if "make PYTHON=" in line]
    source, programs = tmp_path / "src", tmp_path / "bin"
    source.mkdir()
    programs.mkdir()
    (source / "README.md").write_text("ours")
    (programs / "make").write_text('#!/bin/sh\necho "$SOURCE_COMMIT|$*|$(git ls-files)|$(git status --porcelain)"\n')
    (programs / "make").chmod(0o755)
    environ = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path), "GIT_CEILING_DIRECTORIES": str(tmp_path), **variables}
    if checkout:
        who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        for words in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "--message", "one"]):
            subprocess.run(["git", *words], cwd=source, check=True, env=environ)
    arguments = {"SOURCE_COMMIT": "", "RAILWAY_GIT_COMMIT_SHA": "", **environ}  # as ARG has them
    done = subprocess.run(["sh", "-euc", step], cwd=source, capture_output=True, text=True, check=False, env=arguments)
    assert done.stdout == f"{commit}|PYTHON=/usr/local/bin/python3 zipapp|README.md|\n", done
