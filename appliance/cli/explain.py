"""`appliance explain`."""

import json
import shutil
import sys

import click

from appliance.cli.ask import admin_option, ask, quoted
from appliance.cli.source import config_option
from appliance.cli.story import story


@click.command("explain")
@click.argument("request_id")
@config_option
@admin_option
@click.option("--json", "as_json", is_flag=True, help="The record itself.")
def command(request_id: str, path: str | None, admin: str | None, as_json: bool) -> None:
    """Why a request went where it went: its route, attempts, faults, waits, cost and times. REQUEST_ID is the answer's X-Request-Id, or
    the ledger's id."""
    record = ask(admin, path, f"/admin/requests/{quoted(request_id)}")
    click.echo(json.dumps(record, indent=2) if as_json else story(record, _columns()))


def _columns() -> int:
    """Of the terminal that is written to; 0 into a pipe or a file, where no line is broken."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
