"""`appliance key create`, `list`, `revoke` and `rotate`."""

import json
import time
from typing import Any

import click

from appliance.cli.columns import columns
from appliance.cli.desk import desk, told
from appliance.cli.exits import USAGE, Stop
from appliance.cli.holder import budget_text, day_text, given_settings, globs_text, holder_options, limits_text
from appliance.cli.source import config_option
from appliance.store.moment import iso, moment_s, span_s

json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group("key")
def command() -> None:
    """Keys of callers, made at run time and kept in the store as hashes; a running gateway takes a change within a second.

    \b
    appliance tenant create acme --budget 100/month
    appliance key create --tenant acme --id ci --expires 90d
    appliance key rotate ci --grace 24h
    appliance key revoke ci

    A key may do what its tenant may, within its own models, routes, limits and budget. Keys in the configuration file are changed there.
    """


@command.command("create")
@click.option("--tenant", required=True, metavar="NAME", help="Whose key: a tenant of the file or one made with 'appliance tenant create'.")
@click.option("--id", "key_id", metavar="ID", help="What logs, limits and usage call it. Default: one that is made up.")
@click.option("--expires", metavar="WHEN", help="A date (2027-01-31, in UTC), a time, or a span from now (90d). Default: never.")
@holder_options(changes=False)
@config_option
@json_option
def create(tenant: str, key_id: str | None, expires: str | None, path: str | None, as_json: bool, **options: Any) -> None:
    """Make a key. It is shown this once, alone on standard output; only its hash is kept."""
    given = given_settings(**options)
    if expires is not None:
        at = moment_s(expires, time.time(), ahead=True)
        if at is None:
            raise Stop(f"--expires is {expires!r}: give a date like 2027-01-31, a time, or a span like 90d", USAGE)
        given["expires"] = iso(at)
    with desk(path) as open_desk:
        made = told(open_desk.create_key(tenant, key_id, given))
    _show_secret(made, as_json, f"the key {made['id']} of tenant {tenant} is made")


@command.command("list")
@click.option("--tenant", metavar="NAME", help="Only this tenant's.")
@click.option("--all", "everything", is_flag=True, help="Revoked and expired ones, too.")
@config_option
@json_option
def list_(tenant: str | None, everything: bool, path: str | None, as_json: bool) -> None:
    """Every key of the store and of the file, without its secret. Times are UTC."""
    with desk(path) as open_desk:
        keys = [one for one in open_desk.all_keys(tenant) if everything or one["state"] not in ("revoked", "expired")]
    if as_json:
        click.echo(json.dumps(keys, indent=2))
    elif keys:
        click.echo(columns([TITLES, *(_row(one) for one in keys)]))
    else:
        click.echo("no keys; make one with 'appliance key create --tenant NAME'", err=True)


@command.command("revoke")
@click.argument("key_id", metavar="ID")
@config_option
@json_option
def revoke(key_id: str, path: str | None, as_json: bool) -> None:
    """Let a key work no longer. Requests that run are finished. Its id is not free again, since usage is kept under it."""
    with desk(path) as open_desk:
        done = told(open_desk.revoke_key(key_id))
    click.echo(json.dumps(done, indent=2) if as_json else f"the key {key_id} of tenant {done['tenant']} is revoked")


@command.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option("--grace", default="24h", show_default=True, metavar="SPAN", help="How long the old secret works on, 30d at most.")
@config_option
@json_option
def rotate(key_id: str, grace: str, path: str | None, as_json: bool) -> None:
    """Give a key another secret, shown this once. Id, limits and usage stay; the old secret works on for a while."""
    grace_s = span_s(grace)
    if grace_s is None:
        raise Stop(f"--grace is {grace!r}: give a span like 24h or 7d, or 0", USAGE)
    with desk(path) as open_desk:
        done = told(open_desk.rotate_key(key_id, grace_s))
    old = done["rotated_from"]
    ends = f"the old secret ({old['prefix']}…) works until {day_text(old['until'])} UTC" if old else "the old secret works no longer"
    _show_secret(done, as_json, f"the key {key_id} of tenant {done['tenant']} has another secret; {ends}")


TITLES = ["tenant", "id", "prefix", "state", "source", "expires", "last used", "limits", "budget", "models"]


def _row(view: dict[str, Any]) -> list[str]:
    state = view["state"] if view["rotated_from"] is None else f"{view['state']}, rotating"
    return [
        view["tenant"], view["id"], f"{view['prefix']}…" if view["prefix"] else "-", state, view["source"], day_text(view["expires"]),
        day_text(view["last_used_at"]), limits_text(view), budget_text(view), globs_text(view["models"]),
    ]  # fmt: skip


def _show_secret(view: dict[str, Any], as_json: bool, words: str) -> None:
    """The secret alone on standard output, so that a script can take it; what a person should know beside it."""
    if as_json:
        click.echo(json.dumps(view, indent=2))
        return
    click.echo(f"{words}. It is shown this once:", err=True)
    click.echo(view["key"])
