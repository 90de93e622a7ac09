"""`appliance experiments`."""

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
from appliance.core.experiment import CONTROL, TREATMENT, VARIANTS
from appliance.store.outcomes import outcomes_query, read_outcomes

_LINES = (
    ("error_ratio", "errors"), ("latency_ms", "time, ms"), ("ttft_ms", "first token, ms"), ("input_tokens", "tokens in"),
    ("output_tokens", "tokens out"), ("cost_usd", "cost, USD"),
)  # fmt: skip
_TIMES = frozenset({"latency_ms", "ttft_ms"})


@click.command("experiments")
@click.argument("name", required=False, default="")
@click.option("--since", metavar="WHEN", help="A date, or a span before now (7d); days count whole. Default: as long as rows are kept.")
@click.option("--until", metavar="WHEN", help="The same; not included. Default: now.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(name: str, path: str | None, since: str | None, until: str | None, as_json: bool) -> None:
    """What became of each variant of each experiment (or of NAME): figures with their 95 % intervals, and whether they differ.

    \b
    appliance experiments
    appliance experiments haiku-trial --since 7d

    What a running gateway has just served is there within a second. A verdict takes each request for an independent draw: decide how many
    you wait for beforehand, rather than stop at the first hour that looks clear.
    """
    now = time.time()
    given = {"name": name, "since": since, "until": until}
    query = outcomes_query({key: text for key, text in given.items() if text}, now)
    if isinstance(query, tuple):
        raise Stop([f"--{problem_text(problem)}" for problem in query], USAGE)
    loaded = load_or_stop(to_show(path))
    with store_of(loaded) as connection:
        view = read_outcomes(connection, loaded.config.experiments, query, now)
    if isinstance(view, Problem):
        raise Stop(f"{view.message}{f'; did you mean {view.hint}?' if view.hint else ''}", USAGE)
    if as_json:
        click.echo(json.dumps(view, indent=2))
    elif not view["experiments"]:
        click.echo("no experiment is configured, and none has left figures")
    else:
        click.echo("\n\n".join(map(story, view["experiments"])))


def story(one: dict[str, Any]) -> str:
    """One experiment for people."""
    both = [one["variants"][variant] for variant in VARIANTS]
    rows = [["", *VARIANTS, "treatment - control", ""], _counts("requests", both, "requests")]
    for name, title in _LINES:
        difference = one["differences"][name]
        told = _spanned(name, difference, "difference", signed=True)
        if told != "-" and difference["percent"] is not None and name != "error_ratio":
            told += f"  {difference['percent']:+g} %"
        rows.append([title, *(_cell(name, figures[name]) for figures in both), told, difference["verdict"]])
        if name in _TIMES:
            rows += [[f"  {mark}", *(_percentile(figures[name], mark) for figures in both), "", ""] for mark in ("p50", "p95")]
    rows += [_counts("fell back", both, "fallbacks"), _counts("caller left", both, "client_gone")]
    return f"{_head(one)}\n\n{columns(rows)}\n\nverdict: {one['verdict']}"


def _head(one: dict[str, Any]) -> str:
    days = f"{one['first_day']} to {one['last_day']}" if one["first_day"] else "no requests yet"
    if one["route"] is None:
        return f"{one['name']}: ended, {days}"
    share = f"{one['percent']:g} % {'are copied to the treatment (shadow)' if one['state'] == 'shadow' else 'get the treatment'}"
    targets = "; ".join(f"{variant} {one[variant]['backend']} {one[variant]['model']}".rstrip() for variant in (CONTROL, TREATMENT))
    return f"{one['name']}: route {one['route']}, {share}, {days}\n{targets}"


def _counts(title: str, both: list[dict[str, Any]], name: str) -> list[str]:
    return [title, *(f"{figures[name]:,}" for figures in both), "", ""]


def _cell(name: str, figure: dict[str, Any]) -> str:
    return _spanned(name, figure, "value" if name == "error_ratio" else "mean")


def _spanned(name: str, figure: dict[str, Any], key: str, *, signed: bool = False) -> str:
    """A value and its interval."""
    value, low, high = (figure[each] for each in (key, "low", "high"))
    if value is None:
        return "-"
    shown = _number(name, value, signed=signed)
    return shown if low is None else f"{shown} ({_number(name, low, signed=signed)} to {_number(name, high, signed=signed)})"


def _percentile(figure: dict[str, Any], mark: str) -> str:
    if figure[mark] is None:
        return "-"
    return f"{figure[mark]:,.0f} ({figure[f'{mark}_low']:,.0f} to {figure[f'{mark}_high']:,.0f})"


def _number(name: str, value: float, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    if name == "error_ratio":
        return f"{value * 100:{sign}.2f} %"
    return f"{value:{sign},.6f}" if name == "cost_usd" else f"{value:{sign},.1f}"
