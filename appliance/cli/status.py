"""`appliance status`."""

import json

import click

from appliance.cli.ask import admin_option, ask
from appliance.cli.source import config_option

COLUMNS = (
    ("backend", "name"), ("provider", "provider"), ("health", "healthy"), ("breaker", "breaker"), ("in flight", "in_flight"),
    ("first byte", "first_byte_ms"), ("requests", "requests"), ("errors", "errors"), ("last error", "last_error"),
)  # fmt: skip


@click.command("status")
@config_option
@admin_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def command(context: click.Context, path: str | None, admin: str | None, as_json: bool) -> None:
    """Backends as the running gateway sees them. Exit 1 when one is down."""
    providers = ask(admin, path, "/admin/providers")["providers"]
    if as_json:
        click.echo(json.dumps(providers, indent=2))
    else:
        click.echo(table(providers))
    context.exit(0 if all(one["healthy"] for one in providers) else 1)


def table(providers: list[dict[str, object]]) -> str:
    """Aligned columns; the last one runs free."""
    rows = [[title for title, _ in COLUMNS]] + [[_cell(key, one[key]) for _, key in COLUMNS] for one in providers]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS) - 1)]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows)


def _cell(key: str, value: object) -> str:
    if key == "healthy":
        return "up" if value else "DOWN"
    if key == "first_byte_ms":
        return f"{value} ms" if value else "-"
    return str(value) or "-"
