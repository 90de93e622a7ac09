"""Settings of a tenant or a key that come from elsewhere than the file: from the admin API, the command line or the store.

The rule: they are held to what the file is held to, by the same structure and the same rules; every problem at once, each with its path
below what was given (`budget.usd`).
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

import attrs
from cattrs import Converter

from appliance.config.document import read_bounded
from appliance.config.problem import Finding, Problem, Refusal, Steps
from appliance.config.rules.scene import Scene
from appliance.config.rules.tenancy import RULES
from appliance.config.schema import Config
from appliance.config.secret import Secret
from appliance.config.structure import strict_converter, structure
from appliance.config.tenancy import Key, Tenant

NO_HASH = "0" * 64
"""Stands for the SHA-256 of a key whose secret is not made yet."""

Checked = tuple[Problem, ...]
"""What is wrong; never empty."""


def tenant_of(name: str, given: Mapping[str, Any], config: Config) -> Tenant | Checked:
    """The tenant that `given` describes, without keys.

    Args:
        config: the one in force; its routes are what route globs are about.
    """
    if "keys" in given:
        return (Problem("keys", "is not a setting of a tenant here", hint="keys are made one by one, each for its tenant"),)
    at: Steps = ("tenants", name)
    found = _checked({"tenants": {name: _given(given)}}, at, config)
    return found if isinstance(found, tuple) else found.tenants[name]


def key_of(tenant: str, key_id: str, given: Mapping[str, Any], config: Config, sha256: str = NO_HASH) -> Key | Checked:
    """The key that `given` describes (all of `config.tenancy.Key` but for `id` and `sha256`)."""
    strange = [Problem(name, "is not a setting of a key here") for name in ("id", "sha256") if name in given]
    if strange:
        return tuple(strange)
    fields = _given(given)
    if isinstance(fields.get("expires"), str):
        moment = _moment(fields["expires"])
        if moment is None:
            fields.pop("expires")
            strange = [Problem("expires", "is no date", 'ISO 8601, like "2027-01-31" or "2027-01-31T12:00:00Z"')]
        else:
            fields["expires"] = moment
    at: Steps = ("tenants", tenant, "keys", 0)
    found = _checked({"tenants": {tenant: {"keys": [{**fields, "id": key_id, "sha256": sha256}]}}}, at, config)
    if isinstance(found, tuple):
        return (*strange, *found)
    return tuple(strange) if strange else found.tenants[tenant].keys[0]


def settings_of(holder: Tenant | Key) -> dict[str, Any]:
    """The settings that differ from their defaults, JSON-ready: what is kept, so that a default stays the program's to change."""
    apart = {"keys", "id", "sha256", "expires"}
    return {
        field.name: _plain(getattr(holder, field.name))
        for field in attrs.fields(type(holder))
        if field.name not in apart and getattr(holder, field.name) != field.default
    }


def shown(holder: Tenant | Key) -> dict[str, Any]:
    """Every setting with its value in force, JSON-ready."""
    apart = {"keys", "id", "sha256", "expires"}
    return {field.name: _plain(getattr(holder, field.name)) for field in attrs.fields(type(holder)) if field.name not in apart}


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    return list(value) if isinstance(value, tuple) else value


def _given(given: Mapping[str, Any]) -> dict[str, Any]:
    """Without nulls, which TOML does not have: in JSON they stand for what is not set."""
    return {
        name: _given(value) if isinstance(value, dict) else value for name, value in given.items() if value is not None
    }


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _checked(table: dict[str, Any], at: Steps, config: Config) -> Config | Checked:
    structured = structure(table, _converter())
    broken = tuple(finding.steps for finding in structured.findings)
    whole = attrs.evolve(config, tenants=structured.config.tenants)
    scene = Scene(config=whole, providers={}, read_file=read_bounded, broken=broken)
    findings = [*structured.findings, *(found for rule in RULES for found in rule(scene) if not scene.doubts(found.steps))]
    grave = tuple(_below(finding, at) for finding in findings if finding.grave)
    return grave or whole


def _below(finding: Finding, at: Steps) -> Problem:
    """What is wrong with the tenant's own name is not below what was given: it is `name` of a tenant, `tenant` of a key."""
    steps = finding.steps[len(at) :] or (("name",) if len(at) == 2 else ("tenant",))
    return attrs.evolve(finding, steps=steps).placed({})


@cache
def _converter() -> Converter:
    def resolve(_: Any) -> Secret:
        raise Refusal("is no secret's place")

    return strict_converter(resolve)
