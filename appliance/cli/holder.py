"""What `key` and `tenant` have in common: options for models, routes, limits and a budget, and how those are shown."""

from collections.abc import Callable
from typing import Any

import click

from appliance.cli.exits import USAGE, Stop

OFF = "none"

_LIMITS = (("rpm", "Requests per minute"), ("tpm", "Tokens per minute"), ("concurrency", "Requests at once"))


def holder_options(*, changes: bool) -> Callable[[Any], Any]:
    """Options of a tenant or a key. changes: of one that exists, where `none` takes a limit away."""
    off = f", or {OFF}" if changes else ""
    options = [
        click.option("--model", "models", metavar="GLOB", multiple=True, help="Models it may ask for; repeat for several. Default: all."),
        click.option("--route", "routes", metavar="GLOB", multiple=True, help="Routes it may use; repeat for several. Default: all."),
        *(click.option(f"--{name}", metavar="N", help=f"{words}{off}.") for name, words in _LIMITS),
        click.option("--budget", metavar="USD/PERIOD", help=f"Spend ceiling, e.g. 100/month; day, week, month or total{off}."),
        click.option("--timezone", metavar="ZONE", help="Whose midnight starts the budget's period. Default: UTC."),
        click.option("--on-exceeded", metavar="WHAT", help="When the budget is spent: refuse (402) or warn. Default: refuse."),
    ]

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def given_settings(
    models: tuple[str, ...], routes: tuple[str, ...], rpm: str | None, tpm: str | None, concurrency: str | None, budget: str | None,
    timezone: str | None, on_exceeded: str | None,
) -> dict[str, Any]:  # fmt: skip
    """Settings as the admin API takes them, of those options that were given; None for what was taken away."""
    given: dict[str, Any] = {}
    if models:
        given["models"] = list(models)
    if routes:
        given["routes"] = list(routes)
    for name, text in (("rpm", rpm), ("tpm", tpm), ("concurrency", concurrency)):
        if text is not None:
            given[name] = None if text == OFF else _whole(text, f"--{name}")
    if budget == OFF:
        return given | {"budget": None}
    parts = {} if budget is None else _budget(budget)
    parts |= {name: text for name, text in (("timezone", timezone), ("on_exceeded", on_exceeded)) if text is not None}
    return given | {"budget": parts} if parts else given


def _budget(text: str) -> dict[str, Any]:
    usd, slash, period = text.partition("/")
    try:
        return {"usd": float(usd), **({"period": period} if slash else {})}
    except ValueError:
        raise Stop(f"--budget is {text!r}: give USD and a period, like 100/month", USAGE) from None


def _whole(text: str, option: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise Stop(f"{option} is {text!r}: give a whole number, or {OFF}", USAGE)
    return int(text)


def limits_text(view: dict[str, Any]) -> str:
    """`60 rpm, 20000 tpm, 5 at once`; a dash where nothing is limited."""
    words = (("rpm", "rpm"), ("tpm", "tpm"), ("concurrency", "at once"))
    return ", ".join(f"{view[name]} {word}" for name, word in words if view[name] is not None) or "-"


def budget_text(view: dict[str, Any]) -> str:
    budget = view["budget"]
    if budget is None:
        return "-"
    zone = "" if budget["timezone"] == "UTC" else f" {budget['timezone']}"
    return f"${budget['usd']:g}/{budget['period']}{zone}" + (" (warn)" if budget["on_exceeded"] == "warn" else "")


def globs_text(globs: list[str]) -> str:
    return "all" if globs == ["*"] else ", ".join(globs)


def day_text(moment: str | None) -> str:
    """`2027-01-31 12:00`, in UTC."""
    return "-" if moment is None else moment[:16].replace("T", " ")
