"""The bill of materials of a build, as CycloneDX 1.6 JSON: what is in the file, each part's version, digest, licence and needs.

The rule: it is read off what went in (the wheels and the metadata within them), never off what was asked for; and the same build has the
same bill to the byte, serial number and time too. What a compiled wheel has linked in (Rust crates, OpenSSL) is that wheel's own bill to
tell: where it carries one, it is in the file (`dist-info/sboms`).
"""

import json
import tomllib
import uuid
from datetime import UTC, datetime
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import attrs
from locked_wheels import Target, Wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CLASSIFIER = "License :: "
LICENCE_NAME_MAX = 60
"""In older metadata `License` may hold a name or a whole text; a text is no name."""


@attrs.frozen
class Build:
    """What a build is of."""

    target: Target
    version: str
    commit: str
    epoch_s: int
    digest: str


def bill(build: Build, wheels: list[Wheel], tool: str) -> bytes:
    """The document. tool: shiv's version."""
    references = {wheel.locked.name: reference(wheel) for wheel in wheels}
    own = f"appliance@{build.version}"
    prices = price_table()
    said = {wheel.locked.name: metadata(wheel) for wheel in wheels}
    dependencies = [{"ref": own, "dependsOn": sorted({*needed(own_requirements(), references, build.target), prices["bom-ref"]})}]
    for name, message in said.items():
        needs = needed(message.get_all("Requires-Dist") or [], references, build.target)
        dependencies.append({"ref": references[name], "dependsOn": sorted(needs - {references[name]})})
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, build.digest)}", "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(build.epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [{"type": "application", "name": "shiv", "version": tool}]},
            "component": {
                "type": "application", "bom-ref": own, "name": "appliance", "version": build.version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "properties": [
                    {"name": "appliance:commit", "value": build.commit}, {"name": "appliance:target", "value": build.target.tag},
                    {"name": "appliance:digest", "value": build.digest},
                ],
            },
        },
        "components": [*(component(wheel, said[wheel.locked.name]) for wheel in wheels), prices],
        "dependencies": [*dependencies, {"ref": prices["bom-ref"]}],
    }  # fmt: skip
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def reference(wheel: Wheel) -> str:
    return f"pkg:pypi/{wheel.locked.name}@{wheel.locked.version}"


def metadata(wheel: Wheel) -> Message:
    with ZipFile(wheel.path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1]
        return HeaderParser().parsestr(archive.read(name).decode())


def component(wheel: Wheel, said: Message) -> dict[str, Any]:
    one: dict[str, Any] = {
        "type": "library", "bom-ref": reference(wheel), "name": wheel.locked.name, "version": wheel.locked.version,
        "purl": reference(wheel), "hashes": [{"alg": "SHA-256", "content": wheel.sha256}], "licenses": licences(said),
        "properties": [{"name": "appliance:wheel", "value": wheel.path.name}],
    }  # fmt: skip
    if summary := said.get("Summary"):
        one["description"] = " ".join(str(summary).split())
    return one


def licences(said: Message) -> list[dict[str, Any]]:
    """An SPDX expression (PEP 639), else the names that older metadata has."""
    if expression := said.get("License-Expression"):
        return [{"expression": str(expression)}]
    listed = [str(one) for one in said.get_all("Classifier") or []]
    names = [one.rsplit(" :: ", 1)[-1] for one in listed if one.startswith(CLASSIFIER)]
    written = str(said.get("License") or "").strip()
    if 0 < len(written) <= LICENCE_NAME_MAX and "\n" not in written:
        names = [written]
    return [{"license": {"name": name}} for name in names]


def own_requirements() -> list[str]:
    listed: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return listed


def needed(requirements: list[str], references: dict[str, str], target: Target) -> set[str]:
    """Those that are in the build. An extra that nobody asked for brings nothing in, so whichever extra names a part is right."""
    found = set()
    for text in requirements:
        one = Requirement(text)
        extras = {"", *(word.strip("'\"") for word in str(one.marker or "").split() if word[0] in "'\"")}
        holds = one.marker is None or any(one.marker.evaluate({**target.markers(), "extra": extra}) for extra in extras)
        if holds and canonicalize_name(one.name) in references:
            found.add(references[canonicalize_name(one.name)])
    return found


def price_table() -> dict[str, Any]:
    """The bundled prices are somebody's work too."""
    with (ROOT / "appliance" / "prices" / "table.jsonl").open() as table:
        header = json.loads(table.readline())
    return {
        "type": "data", "bom-ref": f"{header['source']}@{header['version']}", "name": header["source"], "version": header["version"],
        "description": f"prices of {header['date']}", "licenses": [{"license": {"id": header["license"]}}],
        "copyright": header["copyright"], "externalReferences": [{"type": "website", "url": header["url"]}],
    }  # fmt: skip
