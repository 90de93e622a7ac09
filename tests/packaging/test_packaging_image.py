"""The image's files, as far as they can be judged without a container daemon: linted, of one mind with each other and with the program."""

import json
import re
import subprocess
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from appliance.cli import COMMANDS
from appliance.config.schema import Config

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "packaging" / "Dockerfile"
ENTRY = (ROOT / "packaging" / "appliance-in-container").read_text()
RAILWAY: dict[str, Any] = tomllib.loads((ROOT / "railway.toml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "packaging" / "compose.yaml").read_text())
DRAIN_S = Config().server.drain_s
LINTER = Path(sysconfig.get_path("scripts"), "hadolint")


def instructions(name: str) -> list[str]:
    """What follows an instruction, continuation lines joined."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return [line.removeprefix(name).strip() for line in text.splitlines() if line.startswith(name + " ")]


@pytest.mark.parametrize("file", [DOCKERFILE, *sorted((ROOT / "observability").rglob("Dockerfile"))], ids=lambda file: file.parent.name)
def test_the_linter_has_nothing_to_say(file: Path) -> None:
    done = subprocess.run([LINTER, "--failure-threshold", "style", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_say_it(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE.read_text().replace(":3.11.14-slim-bookworm", ":latest", 1))
    done = subprocess.run([LINTER, bad], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "DL3007" in done.stdout


def test_everything_that_git_has_is_sent_to_the_build_and_nothing_private() -> None:
    """The build's commit says "with changes" where a file of git's is missing. The patterns used are names, folders and **/*.END alone."""
    files = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=False).stdout.split("\n")
    if files == [""]:
        pytest.skip("no checkout")
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    sent = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    for pattern in patterns:
        anywhere, name = pattern.startswith("**/"), re.escape(pattern.removeprefix("**/").rstrip("/")).replace(r"\*", "[^/]*")
        ignored = re.compile(rf"{'(.*/)?' if anywhere else ''}{name}(/.*)?")
        assert {file for file in files if ignored.fullmatch(file)} <= sent, pattern
    assert {"config.toml", "conf.d/", "state/", ".env", "observability/secrets/*", "**/*.db"} <= set(patterns)


def test_every_image_is_pinned_to_one_version() -> None:
    images = [words.split(" ")[0] for words in instructions("FROM")]
    assert len(set(images)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", images[0])


def test_commands_are_executed_and_not_given_to_a_shell_that_would_swallow_sigterm() -> None:
    (entry,), (first,), (health,) = instructions("ENTRYPOINT"), instructions("CMD"), instructions("HEALTHCHECK")
    assert json.loads(entry) == ["appliance"]
    assert json.loads(first)[0] in COMMANDS
    command = json.loads(health[health.index("[") :])
    assert command[0] == "appliance"
    assert command[1] in COMMANDS
    assert ENTRY.splitlines()[-1].startswith("exec ")


def test_user_and_state_folder_are_the_same_everywhere() -> None:
    (volume,) = instructions("VOLUME")
    made = re.search(r"--user (\d+):(\d+) --own (\S+)", ENTRY)
    assert made is not None
    assert made[3] == volume == RAILWAY["deploy"]["requiredMountPath"] == COMPOSE["services"]["gateway"]["volumes"][1].split(":")[1]
    text = DOCKERFILE.read_text()
    assert f"groupadd --gid {made[2]}" in text
    assert f"useradd --uid {made[1]} --gid {made[2]}" in text
    assert f"--owner {made[1]} --group {made[2]} --mode 0755 {volume}" in text
    assert f"ln -s {volume}/state /etc/appliance/state" in text
    assert not instructions("USER"), "a root-owned volume could not be handed over"


def test_streams_have_time_to_finish() -> None:
    assert RAILWAY["deploy"]["drainingSeconds"] > DRAIN_S
    assert int(COMPOSE["services"]["gateway"]["stop_grace_period"].removesuffix("s")) > DRAIN_S


def test_railway_builds_this_file_and_asks_who_lives() -> None:
    assert (ROOT / RAILWAY["build"]["dockerfilePath"]) == DOCKERFILE
    deploy = RAILWAY["deploy"]
    assert deploy["healthcheckPath"] == "/livez"
    assert (deploy["numReplicas"], deploy["overlapSeconds"]) == (1, 0), "one store serves one gateway"
    assert all(isinstance(deploy[name], int) for name in ("drainingSeconds", "overlapSeconds", "healthcheckTimeout")), "texts are refused"


def test_compose_reads_its_file() -> None:
    schema = json.loads((ROOT / "tests" / "observability" / "schemas" / "compose-spec.json").read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(COMPOSE)] == []


def test_compose_leaves_the_capabilities_that_the_entry_point_needs_and_no_other() -> None:
    gateway = COMPOSE["services"]["gateway"]
    assert gateway["cap_drop"] == ["ALL"]
    assert set(gateway["cap_add"]) == {"CHOWN", "SETGID", "SETUID"}
    assert gateway["read_only"] is True
    assert gateway["security_opt"] == ["no-new-privileges:true"]
