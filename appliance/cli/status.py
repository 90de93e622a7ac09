"""`appliance status`."""

import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any

import click

from appliance.cli.ask import admin_option, ask
from appliance.cli.exits import USAGE, Stop
from appliance.cli.source import config_option
from appliance.telemetry.access import printable

COLUMNS_MAX = 100
"""No line is longer: half a screen beside a log."""

WATCH_S, WATCH_MIN_S = 2.0, 0.2
CLEAR = "\x1b[H\x1b[2J"

HEADING = ("backend", "provider", "health", "breaker", "in flight", "requests", "errors", "p50", "p95")
WIDTHS_MAX = (20, 12, 6, 9, 9, 8, 6, 7, 7)
"""Of the cells, two blanks between them."""

RIGHT = frozenset({4, 5, 6, 7, 8})


@click.command("status")
@config_option
@admin_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--watch", "every_s", type=float, is_flag=False, flag_value=WATCH_S, metavar="[SECONDS]", help="Again and again, until Ctrl-C."
)
@click.pass_context
def command(context: click.Context, path: str | None, admin: str | None, as_json: bool, every_s: float | None) -> None:
    """Backends as the running gateway sees them: health, breaker, load, errors, and how long the latest good answers took. Exit 1 when one
    is down."""
    if every_s is not None and not every_s >= WATCH_MIN_S:
        raise Stop(f"--watch takes seconds, {WATCH_MIN_S:g} or more", USAGE)
    if every_s is not None:
        context.exit(_watch(path, admin, every_s, as_json=as_json))
    providers = ask(admin, path, "/admin/providers", "providers")["providers"]
    click.echo(json.dumps(providers, indent=2) if as_json else table(providers, colours=_colours()))
    context.exit(_code(providers))


def _watch(path: str | None, admin: str | None, every_s: float, *, as_json: bool) -> int:
    """The exit code of the last look. A gateway that does not answer now may do so soon."""
    code, terminal = 1, sys.stdout.isatty()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts this in the background has it ignored
    try:
        while True:
            try:
                providers = ask(admin, path, "/admin/providers", "providers")["providers"]
                code, text = _code(providers), table(providers, colours=_colours())
            except Stop as stop:
                code, providers, text = 1, None, "\n".join(stop.lines)
            if as_json:
                click.echo(json.dumps({"time": time.time(), "providers": providers}))
            else:
                at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
                click.echo(f"{CLEAR if terminal else ''}{at}\n\n{text}\n")
            time.sleep(every_s)
    except KeyboardInterrupt:
        return code


def _code(providers: list[dict[str, Any]]) -> int:
    return 0 if all(one["healthy"] for one in providers) else 1


def _colours() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def table(providers: list[dict[str, Any]], *, colours: bool = False) -> str:
    """A line a backend, and below it what is wrong with it. No line is longer than COLUMNS_MAX."""
    rows = [HEADING, *map(_cells, providers)]
    widths = [min(most, max(len(row[place]) for row in rows)) for place, most in enumerate(WIDTHS_MAX)]
    lines = [_line(HEADING, widths)]
    for one, row in zip(providers, rows[1:], strict=True):
        line = _line(row, widths)
        if colours and not one["healthy"]:
            line = click.style(line, fg="red", bold=True)
        lines += [line, *(_cut(f"  {words}", COLUMNS_MAX) for words in _remarks(one))]
    return "\n".join(lines)


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    latency = one["latency_ms"] or {}
    return (
        one["name"], one["provider"], "up" if one["healthy"] else "DOWN", one["breaker"],
        f"{_short(one['in_flight'])}/{_short(one['max_concurrency'])}", _short(one["requests"]), _short(one["errors"]),
        _span(latency.get("p50")), _span(latency.get("p95")),
    )  # fmt: skip


def _remarks(one: dict[str, Any]) -> list[str]:
    """What the line itself does not say."""
    found = []
    if one["down_because"]:
        found.append(f"down: {one['down_because']}")
    if one["waiting"]:
        found.append(f"{_short(one['waiting'])} requests wait for a place (max_concurrency)")
    if one["last_error"] and one["last_error"] not in one["down_because"]:
        found.append(f"last error {_ago(one['last_error_s_ago'])} ago: {one['last_error']}")
    resting = [key for key in one.get("keys") or () if key.get("rests_s")]
    if resting:
        found.append(
            "keys that rest: " + ", ".join(f"{key['key']} ({key['last_refusal']}, {_ago(key['rests_s'])} more)" for key in resting)
        )
    credentials = one.get("credentials") or {}
    if credentials.get("problem"):
        found.append(f"credentials: {credentials['problem']}")
    return found


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [_cut(cell, width) for cell, width in zip(row, widths, strict=True)]
    aligned = [
        cell.rjust(width) if place in RIGHT else cell.ljust(width) for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()


def _cut(text: str, width: int) -> str:
    text = printable(text)
    return text if len(text) <= width else text[: width - 1] + "…"


def _short(number: int) -> str:
    """A count in at most five characters."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= 10 * size:
            return f"{number // size}{unit}"
    return str(number)


def _span(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
