"""The price table that comes with the program: made from `genai-prices` (MIT) by packaging/update_prices.py, read a vendor at a time.

The rule: small in memory and quick to look up. A vendor's lines are read when the first of its models is asked for, and stay text until
then; what was looked up is kept by whoever asks (see gateway.pricing).
"""

import pkgutil
import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import attrs
import orjson

from appliance.core.price import Price, Rates
from appliance.prices.listed import Listed, clause_matches, read_listed

FILE = "table.jsonl"

EVERY_VENDOR = ""
"""Instead of a vendor's name: the whole table."""

_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")
"""`gpt-5.2-20251211`, as some callers write what the vendor calls `gpt-5.2-2025-12-11`."""


@attrs.frozen
class Header:
    """Where the table comes from. date: when it was made (ISO 8601)."""

    source: str
    version: str
    license: str
    url: str
    date: str


@attrs.define(eq=False)
class Vendor:
    """One vendor's models, found by name without reading their prices.

    Attributes:
        others: vendors whose models it serves too, under their own names.
        exact: whole names, and the first model that has each; clauses: what else matches, with the model's place.
        lines: the models, as text.
    """

    name: str
    others: tuple[str, ...]
    exact: dict[str, int] = attrs.field(factory=dict)
    clauses: list[tuple[int, Sequence[Any]]] = attrs.field(factory=list)
    lines: list[bytes] = attrs.field(factory=list)

    def match(self, name: str, *, own: bool = True) -> Listed | None:
        """The first model in the table's order that a name in lower case is one of. own: see `read_listed`."""
        first = self.exact.get(name, len(self.lines))
        for place, clause in self.clauses:
            if place >= first:
                break
            if clause_matches(clause, name):
                first = place
        return read_listed(self.name, orjson.loads(self.lines[first]), own=own) if first < len(self.lines) else None

    def models(self) -> Iterator[Listed]:
        return (read_listed(self.name, orjson.loads(line)) for line in self.lines)


@attrs.define(eq=False)
class PriceTable:
    """The table. Vendors that were never asked for take no memory."""

    _vendors: dict[str, Vendor] = attrs.field(factory=dict)
    _medians: dict[str, Price | None] = attrs.field(factory=dict)

    def find(self, vendor: str, model: str) -> Listed | None:
        """The model that a vendor's bill would name; None when the table has no such vendor or model.

        Args:
            vendor: as the table knows it (`providers.row.Provider.price_source`), empty for none.
            model: as it is asked for, in any case; dated ids and aliases are known.
        """
        if not vendor:
            return None
        found, name = self._vendor(vendor), model.lower()
        listed = self._match(found, name)
        if listed is None and (dashed := _COMPACT_DATE.sub(_dashed, name)) != name:
            listed = self._match(found, dashed)
        return listed

    def typical(self, vendor: str, now: float) -> Price | None:
        """The median of a vendor's models (or EVERY_VENDOR's), input and output each for itself, of those that charge for both. None
        where there are none.

        Computed once: prices that begin later change it by little.
        """
        if vendor not in self._medians:
            models = self.listed(vendor) if vendor else (one for name in self.vendors() for one in _read_vendor(name).models())
            priced = (one.price(now) for one in models)
            both = [price.base for price in priced if price is not None and price.base.input and price.base.output]
            self._medians[vendor] = _median(both) if both else None
        return self._medians[vendor]

    def vendors(self) -> list[str]:
        return [line["vendor"] for line in map(orjson.loads, _lines()) if isinstance(line, dict) and "vendor" in line]

    def listed(self, vendor: str) -> Iterator[Listed]:
        """A vendor's own models, in the table's order."""
        return self._vendor(vendor).models()

    def names(self, vendor: str) -> list[str]:
        """What a vendor's models are called, for suggestions."""
        return [orjson.loads(line)[0] for line in self._vendor(vendor).lines]

    def _match(self, vendor: Vendor, name: str) -> Listed | None:
        listed = vendor.match(name)
        for other in vendor.others if listed is None else ():
            listed = self._vendor(other).match(name, own=False)
            if listed is not None:
                break
        return listed

    def _vendor(self, name: str) -> Vendor:
        if name not in self._vendors:
            self._vendors[name] = _read_vendor(name)
        return self._vendors[name]


def header() -> Header:
    line = orjson.loads(_lines()[0])
    return Header(**{field.name: line[field.name] for field in attrs.fields(Header)})


def _lines() -> list[bytes]:
    """The file's. Also from inside a zip; a program without its table is a broken build."""
    text = pkgutil.get_data("appliance.prices", FILE)
    if text is None:
        raise FileNotFoundError(f"appliance/prices/{FILE} is missing from this build")
    return text.splitlines()


def _read_vendor(name: str) -> Vendor:
    """Without a model where the table has no such vendor."""
    vendor = Vendor(name, ())
    mine = False
    for text in _lines()[1:]:
        if text.startswith(b'{"vendor"'):
            if mine:
                break
            line = orjson.loads(text)
            if line["vendor"] == name:
                mine, vendor.others = True, tuple(line["others"])
        elif mine:
            _, names, clauses, *_ = orjson.loads(text)
            place = len(vendor.lines)
            for one in names:
                vendor.exact.setdefault(one, place)
            vendor.clauses += [(place, clause) for clause in clauses]
            vendor.lines.append(text)
    return vendor


def _median(models: Sequence[Rates]) -> Price:
    """Lower medians: prices that some model really has. Other kinds cost as the plain ones do."""
    middle = (len(models) - 1) // 2
    asked, made = sorted(one.input for one in models)[middle], sorted(one.output for one in models)[middle]
    return Price(
        Rates(
            input=asked, output=made, cache_read=asked, cache_write=asked, cache_write_1h=asked, reasoning=made, input_audio=asked,
            cache_read_audio=asked, output_audio=made, input_image=asked, cache_read_image=asked, output_image=made,
        )
    )  # fmt: skip


def _dashed(found: re.Match[str]) -> str:
    year, month, day = (int(part) for part in found.groups())
    try:
        return f"-{date(year, month, day).isoformat()}"
    except ValueError:
        return found.group(0)
