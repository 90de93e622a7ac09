"""`appliance prices`."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import click

from appliance.cli.exits import Stop
from appliance.cli.source import config_option, load_or_stop, to_show
from appliance.config.loader import TEXT_VARIABLE, locate
from appliance.config.problem import meant, quoted
from appliance.config.schema import Config
from appliance.core.price import COUNTED, KINDS, Price, Rates, usd_of_rate
from appliance.gateway.pricing import own_price
from appliance.prices.table import PriceTable, header
from appliance.providers import PROVIDERS

COLUMNS = (("input", "input"), ("output", "output"), ("cache_read", "cache read"), ("cache_write", "cache write"))
"""Kinds with a column of their own; others are named in words where they cost something else than the kind they are a part of."""

_PART_OF = {
    "cache_write_1h": "cache_write", "reasoning": "output", "input_audio": "input", "output_audio": "output", "input_image": "input",
    "output_image": "output", "cache_read_audio": "cache_read", "cache_read_image": "cache_read",
}  # fmt: skip


@attrs.frozen
class Row:
    """One model's price. vendor: the table's name of who sends the bill, `own` for the operator's prices."""

    vendor: str
    model: str
    price: Price


@click.command("prices")
@click.argument("model", required=False)
@config_option
@click.option("--all", "everything", is_flag=True, help="Every vendor of the table, not only those that the configuration has backends of.")
@click.option("--json", "as_json", is_flag=True, help="Every kind, in USD per million tokens (requests and searches: apiece).")
def command(model: str | None, path: str | None, everything: bool, as_json: bool) -> None:
    """The prices in use, and the table's date: of MODEL, or of all models of your vendors; prices of your own first."""
    config = load_or_stop(to_show(path)).config if path or os.environ.get(TEXT_VARIABLE) or locate(path, os.environ) else Config()
    table, now = PriceTable(), time.time()
    vendors = _vendors(config, table, everything)
    rows = list(_rows(config, table, vendors, model, now))
    if model and not rows:
        names = [*config.prices.models, *(name for vendor in vendors for name in table.names(vendor))]
        hint = meant(model, names)
        where = "" if everything else " (of your vendors: --all looks at every one)"
        raise Stop([f"no model {quoted(model)} has a price{where}" + (f": {hint}" if hint else "")])
    about = header()
    if as_json:
        shown = {"source": attrs.asdict(about), "unknown_model": config.prices.unknown_model, "models": [_plain(row) for row in rows]}
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(aligned(rows))
    click.echo(f"\nUSD per million tokens. {about.source} {about.version} ({about.license}), as of {about.date}; 'own' are prices.models'.")


def _vendors(config: Config, table: PriceTable, everything: bool) -> list[str]:
    used = {PROVIDERS[backend.provider].price_source for backend in config.backends.values()}
    return [name for name in table.vendors() if everything or not used - {""} or name in used]


def _rows(config: Config, table: PriceTable, vendors: list[str], model: str | None, now: float) -> Iterator[Row]:
    for name, given in config.prices.models.items():
        if model is None or name == model:
            yield Row("own", name, own_price(given))
    for vendor in vendors:
        found = table.listed(vendor) if model is None else [one] if (one := table.find(vendor, model)) is not None else []
        for listed in found:
            price = listed.price(now)
            if price is not None:
                yield Row(vendor if listed.vendor == vendor else f"{vendor}, as {listed.vendor}", listed.id, price)


def aligned(rows: list[Row]) -> str:
    """A table for people."""
    lines = [("VENDOR", "MODEL", *(title.upper() for _, title in COLUMNS), "BESIDES")]
    for row in rows:
        lines.append((row.vendor, row.model, *_cells(row.price.base)))
        lines += [("", f"  above {start:,} input tokens", *_cells(above)) for start, above in row.price.tiers]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    return "\n".join(_line(cells, widths) for cells in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    names = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:-1], widths[2:], strict=True)]
    return "  ".join([*names, *numbers, cells[-1]]).rstrip()


def _cells(at: Rates) -> list[str]:
    besides = [
        f"{kind.replace('_', ' ')} {usd_of_rate(kind, getattr(at, kind))}"
        for kind in KINDS
        if (kind in COUNTED and getattr(at, kind)) or (kind in _PART_OF and getattr(at, kind) != getattr(at, _PART_OF[kind]))
    ]
    return [*(usd_of_rate(kind, getattr(at, kind)) for kind, _ in COLUMNS), ", ".join(besides)]


def _plain(row: Row) -> Mapping[str, Any]:
    tiers = [{"above_input_tokens": start, "usd": _usd(above)} for start, above in row.price.tiers]
    return {"vendor": row.vendor, "model": row.model, "usd": _usd(row.price.base), "tiers": tiers}


def _usd(at: Rates) -> dict[str, float]:
    return {kind: float(usd_of_rate(kind, getattr(at, kind))) for kind in KINDS}
