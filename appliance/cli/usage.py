"""`appliance usage`."""

import json
import time
from typing import Any

import click

from appliance.cli.columns import columns
from appliance.cli.desk import store_of
from appliance.cli.exits import USAGE, Stop
from appliance.cli.source import config_option, load_or_stop, to_show
from appliance.config.problem import Problem
from appliance.config.report import problem_text
from appliance.store.usage import COUNTS, FIELDS, read_usage, usage_csv, usage_query
from appliance.telemetry.access import printable

ROWS_MAX = 1_000_000
"""For a spreadsheet; the admin API has a lower bound, since the gateway's memory is for callers."""

_TITLES = {
    "input_tokens": "input", "output_tokens": "output", "cached_input_tokens": "cached", "cost_usd": "USD",
    "estimated_requests": "estimated",
}  # fmt: skip


@click.command("usage")
@click.option(
    "--by", multiple=True, metavar="FIELDS", help=f"What to sum by, with commas or once each: {', '.join(FIELDS)}.  [default: day]"
)
@click.option("--since", metavar="WHEN", help="A date, a time, or a span before now (7d, 24h). Default: 30 days, today included.")
@click.option("--until", metavar="WHEN", help="The same; not included. Default: now.")
@click.option("--tenant", metavar="NAME")
@click.option("--key", metavar="ID")
@click.option("--model", metavar="NAME", help="As served, like in metrics.")
@click.option("--backend", metavar="NAME")
@click.option("--route", metavar="NAME")
@config_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--csv", "as_csv", is_flag=True, help="For spreadsheets.")
def command(path: str | None, as_json: bool, as_csv: bool, by: tuple[str, ...], **asked: str | None) -> None:
    """Requests, tokens and spend from the ledger. Days are UTC, and so are times without a zone.

    \b
    appliance usage
    appliance usage --by tenant,model --since 2027-01-01 --until 2027-02-01
    appliance usage --by day,key --tenant acme --csv

    Whole days are known for ever, parts of a day as long as single rows are kept (store.retention_days). What a running gateway has just
    served is there within a second.
    """
    now = time.time()
    query = usage_query({"by": ",".join(by), **{name: text for name, text in asked.items() if text is not None}}, now)
    if isinstance(query, tuple):
        raise Stop([f"--{problem_text(problem)}" for problem in query], USAGE)
    with store_of(load_or_stop(to_show(path))) as connection:
        view = read_usage(connection, query, now, ROWS_MAX)
    if isinstance(view, Problem):
        raise Stop(f"--{problem_text(view)}", USAGE)
    if as_json:
        click.echo(json.dumps(view, indent=2))
    elif as_csv:
        click.echo(usage_csv(view), nl=False)
    else:
        click.echo(table(view))


def table(view: dict[str, Any]) -> str:
    """For people: a line a row, and the sums of all of them. A text that a caller chose cannot move the terminal's cursor."""
    fields = list(view["by"])
    lines = [[*fields, *(_TITLES.get(name, name) for name in COUNTS)]]
    lines += [[*(printable(row[name]) for name in fields), *_figures(row)] for row in view["rows"]]
    if fields:
        lines.append([*(["total", *[""] * len(fields)][: len(fields)]), *_figures(view["total"])])
    else:
        lines = [lines[0], _figures(view["total"])]
    span = f"{view['from'][:16].replace('T', ' ')} to {view['to'][:16].replace('T', ' ')} UTC"
    return f"{span}\n\n" + columns(lines, frozenset(range(len(fields), len(fields) + len(COUNTS))))


def _figures(row: dict[str, Any]) -> list[str]:
    return [_usd(row[name]) if name == "cost_usd" else f"{row[name]:,}" for name in COUNTS]


def _usd(amount: float) -> str:
    """To a hundredth of a cent; what is less is not told as nothing."""
    return "<0.0001" if 0 < amount < 0.0001 else f"{amount:,.4f}"
