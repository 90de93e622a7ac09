"""`appliance config get`, `set` and `diff`."""

import json
import os
from typing import Any

import click

from appliance.cli.ask import admin_option, ask
from appliance.cli.exits import CONFIG, Stop
from appliance.cli.source import config_option, configured_text, load_or_stop, to_show
from appliance.config.edit import Edited, get_value, set_value
from appliance.config.loader import TEXT_VARIABLE, locate
from appliance.config.masked import masked_dict
from appliance.config.problem import Problem
from appliance.config.report import problem_text
from appliance.providers import PROVIDERS


@click.group("config")
def command() -> None:
    """Read and change the configuration, keeping comments and layout."""


@command.command("get")
@click.argument("setting", metavar="PATH")
@config_option
def get(setting: str, path: str | None) -> None:
    """The value in force at PATH, e.g. backends.openai.timeouts.connect_s. Secrets are masked."""
    value = get_value(load_or_stop(to_show(path)), setting)
    if isinstance(value, Problem):
        raise Stop(problem_text(value))
    click.echo(value if isinstance(value, str) else json.dumps(value, indent=2))


@command.command("set")
@click.argument("setting", metavar="PATH")
@click.argument("value")
@config_option
def set_(setting: str, value: str, path: str | None) -> None:
    """Set PATH to VALUE (TOML, or plain text). Refused when the file would not load afterwards."""
    if configured_text(path):
        raise Stop(f"the configuration is the text in ${TEXT_VARIABLE}: change the variable, or give -c FILE", CONFIG)
    file = locate(path, os.environ)
    if file is None:
        raise Stop("there is no configuration file: give -c FILE", CONFIG)
    providers = {name: provider.base_url for name, provider in PROVIDERS.items()}
    done = set_value(file, setting, value, env=os.environ, providers=providers)
    if not isinstance(done, Edited):
        raise Stop([problem_text(problem) for problem in done], CONFIG)
    click.echo(f"{done.file}: {setting} is set; a running gateway takes it with SIGHUP (systemctl reload)")


@command.command("diff")
@config_option
@admin_option
def diff(path: str | None, admin: str | None) -> None:
    """What differs between the file and the running gateway. Secrets are masked, so a changed secret does not show."""
    ours = json.loads(json.dumps(masked_dict(load_or_stop(to_show(path)).config)))
    theirs = ask(admin, path, "/admin/config")
    lines = sorted(differences(theirs, ours, ""))
    click.echo("\n".join(lines) if lines else "the file and the running gateway agree")


def differences(running: Any, file: Any, at: str) -> list[str]:
    """Lines `path: running → file` for everything that differs. Routes, tenants' keys and the like are told apart by name, not by place."""
    if isinstance(running, dict) and isinstance(file, dict):
        lines: list[str] = []
        for name in {**running, **file}:
            lines += differences(running.get(name), file.get(name), f"{at}.{name}" if at else name)
        return lines
    if isinstance(running, list) and isinstance(file, list) and running != file:
        before, after = _by_name(running), _by_name(file)
        if before.keys() & after.keys():
            lines = [line for name in {**before, **after} for line in differences(before.get(name), after.get(name), f"{at}[{name}]")]
            return lines or [f"{at}: {json.dumps(list(before))} → {json.dumps(list(after))}"]
    return [] if running == file else [f"{at}: {json.dumps(running)} → {json.dumps(file)}"]


def _by_name(elements: list[Any]) -> dict[str, Any]:
    """Tables by what names them, or by their places where nothing does; none for other elements."""
    if not all(isinstance(one, dict) for one in elements):
        return {}
    names = [str(one.get("name") or one.get("id") or place) for place, one in enumerate(elements)]
    return dict(zip(names, elements, strict=True)) if len(set(names)) == len(names) else {}
