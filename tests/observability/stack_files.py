"""The stack's files as its containers see them: what docker-compose.yml mounts where, laid out in a folder.

So a program of the stack can be run without a container, and what the compose file and the configurations say of each other is tried.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parent.parent.parent
STACK = ROOT / "observability"
COMPOSE = STACK / "docker-compose.yml"
SCHEMAS = Path(__file__).resolve().parent / "schemas"
SECRETS = "/run/secrets/"


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return read


def problems(schema: str, document: Any) -> list[str]:
    """What a document has against one of the schemas, each with its place."""
    validator = Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text()))
    return [f"{one.json_path}: {one.message[:300]}" for one in validator.iter_errors(document)]


@attrs.frozen
class Mount:
    """A file or folder of the repository and its place in the container."""

    source: Path
    target: str


def mounts(service: str) -> list[Mount]:
    """The bind mounts of a service, named volumes not."""
    found = []
    for line in compose()["services"][service]["volumes"]:
        source, target, *_ = line.split(":")
        if source.startswith("."):
            found.append(Mount((STACK / source).resolve(), target))
    return found


def lay_out(service: str, folder: Path, secrets: Mapping[str, str], changes: Mapping[str, str]) -> Path:
    """Copy what a service has mounted to FOLDER/its place, its secrets too; FOLDER stands for the container's root.

    changes: replaced in each .yml or .toml file that is copied, such as an address; each must be there, in one file at least. The place of
    secrets is made FOLDER's.
    """
    unused = set(changes)
    for mount in mounts(service):
        place = folder / mount.target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if mount.source.is_dir():
            shutil.copytree(mount.source, place)
            continue
        text = mount.source.read_text()
        if place.suffix in (".yml", ".toml"):
            unused -= {old for old in changes if old in text}
            for old, new in {**changes, SECRETS: f"{folder}{SECRETS}"}.items():
                text = text.replace(old, new)
        place.write_text(text)
    assert not unused, f"{service} has nothing like {unused}"
    kept = folder / SECRETS.strip("/")
    kept.mkdir(parents=True, exist_ok=True)
    for name in compose()["services"][service].get("secrets", ()):
        (kept / name).write_text(secrets[name])
    return folder


def command(service: str, folder: Path) -> list[str]:
    """The arguments of a service's program, with the container's paths made FOLDER's."""
    return [one.replace("=/", f"={folder}/") for one in compose()["services"][service]["command"]]
