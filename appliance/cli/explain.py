"""`appliance explain`."""

import contextlib
import json
import os
import shutil
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import click

from appliance.cli.ask import admin_option, ask, quoted
from appliance.cli.exits import USAGE, Stop, Unreachable
from appliance.cli.latest import table
from appliance.cli.source import config_option, load_or_stop, to_show
from appliance.cli.story import story
from appliance.config.loader import TEXT_VARIABLE, locate
from appliance.store.ledger_lookup import kept_request
from appliance.telemetry.recent import PAGE_MAX

LATEST = 20


@click.command("explain")
@click.argument("request_id", required=False)
@click.option("--failed", is_flag=True, help="Without an id: only requests that went wrong.")
@click.option("--latest", type=click.IntRange(1, PAGE_MAX), metavar="N", help=f"Without an id: how many to list.  [default: {LATEST}]")
@config_option
@admin_option
@click.option("--json", "as_json", is_flag=True, help="The record itself.")
def command(request_id: str | None, failed: bool, latest: int | None, path: str | None, admin: str | None, as_json: bool) -> None:
    """Why a request went where it went: its route, attempts, faults, waits, cost and times. REQUEST_ID is the answer's X-Request-Id, or
    the ledger's id. Without one, the latest requests are listed.

    \b
    appliance explain 661738e22f779
    appliance explain --failed

    The latest requests are known whole (telemetry.recent_max); of older ones the store keeps a sample and those that went wrong
    (store.explain), and of every one that reached a backend what the ledger has. Without a running gateway the store is read.
    """
    if request_id is None:
        only = "&failed=true" if failed else ""
        found = ask(admin, path, f"/admin/requests?limit={latest or LATEST}{only}", "requests")["requests"]
        click.echo(json.dumps(found, indent=2) if as_json else table(found, _columns()))
        return
    if failed or latest is not None:
        raise Stop("--failed and --latest list requests: leave REQUEST_ID out", USAGE)
    try:
        record = ask(admin, path, f"/admin/requests/{quoted(request_id)}", "attempts")
    except Unreachable as down:
        record = _from_store(path, request_id, down)
    click.echo(json.dumps(record, indent=2) if as_json else story(record, _columns()))


def _from_store(path: str | None, request_id: str, down: Unreachable) -> dict[str, Any]:
    """What the store of the configuration kept of it, which is only read; as `down` says, nobody else can be asked."""
    found = locate(path, os.environ)
    if found is None and not os.environ.get(TEXT_VARIABLE):
        raise down
    store = Path(load_or_stop(to_show(path)).config.store.path)
    try:
        with contextlib.closing(sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            record = kept_request(connection, request_id, time.time())
    except sqlite3.Error as error:
        raise Stop([*down.lines, f"nor can {store} be read: {error}"]) from None
    if record is None:
        raise Stop([*down.lines, f"nor has {store} any such request"])
    click.echo(f"appliance: {down.lines[0]} This is what {store} has.", err=True)
    return record


def _columns() -> int:
    """Of the terminal that is written to; 0 into a pipe or a file, where no line is broken."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
