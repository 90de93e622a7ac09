"""`appliance store`: a copy of the durable store while it is in use, and whether it is sound. Both work with the gateway up or down."""

from pathlib import Path

import click

from appliance.cli.exits import FAILURE, Stop
from appliance.cli.source import config_option, load_or_stop, to_show


@click.group("store")
def command() -> None:
    """Copy or check the store: the usage ledger, and keys and tenants made at run time."""


@command.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Replace FILE if it is there.")
@config_option
def backup(file: Path, replace: bool, path: str | None) -> None:
    """Write a consistent copy to FILE, while the gateway runs or not. To restore it, stop the gateway, take away store.path and
    its -wal, and put FILE there."""
    from appliance.store.copy import Copied, back_up

    copied = back_up(_store(path), file, replace=replace)
    if not isinstance(copied, Copied):
        hint = "; --replace replaces it" if copied.message.endswith("exists already") else ""
        raise Stop(copied.message + hint)
    journaled = copied.journaled + copied.estimated
    click.echo(f"{file}: {copied.rows} rows" + (f", {journaled} of them from the journal" if journaled else ""))


@command.command("check")
@config_option
def check(path: str | None) -> None:
    """Read the whole store and say what is wrong with it. Exit 1 when anything is."""
    from appliance.store.copy import check as checked

    store = _store(path)
    found = checked(store)
    if found.problems:
        hint = "to go on: stop the gateway, move the file (and its -wal) aside, and put a backup in its place or begin anew without one"
        raise Stop([*found.problems, hint] if found.damaged else found.problems, FAILURE)
    click.echo(f"{store}: sound (schema {found.version}, {found.rows} rows)")


def _store(path: str | None) -> Path:
    """Where the store is. Secrets in the configuration may stay unread."""
    return Path(load_or_stop(to_show(path)).config.store.path)
