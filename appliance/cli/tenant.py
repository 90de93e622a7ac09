"""`appliance tenant create`, `list`, `set` and `remove`."""

import json
from typing import Any

import click

from appliance.cli.columns import columns
from appliance.cli.desk import desk, told
from appliance.cli.exits import FAILURE, USAGE, Stop
from appliance.cli.holder import budget_text, given_settings, globs_text, holder_options, limits_text
from appliance.cli.key import json_option
from appliance.cli.source import config_option


@click.group("tenant")
def command() -> None:
    """Tenants: who pays. Those made here are kept in the store; a running gateway takes a change within a second.

    \b
    appliance tenant create acme --model 'gpt-*' --rpm 600 --budget 100/month
    appliance tenant set acme --rpm 900 --budget none
    appliance key create --tenant acme

    What a tenant may is what all of its keys may, together. Tenants in the configuration file are changed there.
    """


pin_option = click.option("--pin/--no-pin", default=None, help="May choose a backend with X-Provider. Default: it may.")


@command.command("create")
@click.argument("name")
@holder_options(changes=False)
@pin_option
@config_option
@json_option
def create(name: str, pin: bool | None, path: str | None, as_json: bool, **options: Any) -> None:
    """Make a tenant. With the first one, callers without a key are let in no longer."""
    given = given_settings(**options) | ({} if pin is None else {"pin": pin})
    with desk(path) as open_desk:
        is_first = not open_desk.all_tenants()
        made = told(open_desk.create_tenant(name, given))
    hint = f"; give it a key with 'appliance key create --tenant {name}'"
    click.echo(json.dumps(made, indent=2) if as_json else f"the tenant {name} is made{hint}")
    if is_first:
        click.echo("it is the first one: from now on every caller needs a key", err=True)


@command.command("list")
@config_option
@json_option
def list_(path: str | None, as_json: bool) -> None:
    """Every tenant of the store and of the file."""
    with desk(path) as open_desk:
        tenants = open_desk.all_tenants()
    if as_json:
        click.echo(json.dumps(tenants, indent=2))
    elif tenants:
        titles = ["tenant", "source", "keys", "limits", "budget", "models", "routes"]
        click.echo(columns([titles, *(_row(one) for one in tenants)], frozenset({2})))
    else:
        click.echo("no tenants; make one with 'appliance tenant create NAME'", err=True)


@command.command("set")
@click.argument("name")
@holder_options(changes=True)
@pin_option
@config_option
@json_option
def set_(name: str, pin: bool | None, path: str | None, as_json: bool, **options: Any) -> None:
    """Change settings of a tenant; those that are not given stay as they are."""
    given = given_settings(**options) | ({} if pin is None else {"pin": pin})
    if not given:
        raise Stop("nothing to change: 'appliance tenant set --help' lists the settings", USAGE)
    with desk(path) as open_desk:
        done = told(open_desk.change_tenant(name, given))
    words = f"the tenant {name}: limits {limits_text(done)}; budget {budget_text(done)}; models {globs_text(done['models'])}"
    click.echo(json.dumps(done, indent=2) if as_json else words)


@command.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Also when it has keys that work.")
@config_option
@json_option
def remove(name: str, yes: bool, path: str | None, as_json: bool) -> None:
    """Remove a tenant and its keys. What it used stays in the ledger."""
    with desk(path) as open_desk:
        active = [one["id"] for one in open_desk.all_keys(name) if one["state"] == "active" and one["source"] == "store"]
        if active and not yes and name not in open_desk.named.tenants:
            keys = f"{len(active)} key{'s' if len(active) > 1 else ''} ({', '.join(active[:5])}{', …' if len(active) > 5 else ''})"
            raise Stop(f"the tenant {name} has {keys} that would stop working: repeat with --yes", FAILURE)
        done = told(open_desk.remove_tenant(name))
        is_last = not open_desk.all_tenants()
    gone = f", and its keys with it: {', '.join(done['removed_keys'])}" if done["removed_keys"] else ""
    click.echo(json.dumps(done, indent=2) if as_json else f"the tenant {name} is removed{gone}")
    if is_last:
        click.echo("no tenant is left: on a loopback listener callers need no key now", err=True)


def _row(view: dict[str, Any]) -> list[str]:
    return [
        view["name"], view["source"], str(view["active_keys"]), limits_text(view), budget_text(view), globs_text(view["models"]),
        globs_text(view["routes"]),
    ]  # fmt: skip
