"""Faults in words: `KIND[=VALUE][;OPTION=VALUE…]`, several joined by `+`. Text in, checked clauses or one line about the mistake out. Pure.

    500        429=3s;retry_as=ms        reset=5        cut=3;p=0.3        503;first=2        latency=2s+gzip
"""

import re
from collections.abc import Callable, Mapping

import attrs

CLAUSES_MAX = 8
TEXT_MAX = 1000
COUNT_MAX = 1_000_000
SIZE_MAX_BYTES = 67_108_864

Value = float | int | str | None
ParseValue = Callable[[str], float | int | str | None]


def parse_count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,7}", text) and int(text) <= COUNT_MAX else None


def parse_size(text: str) -> int | None:
    """Bytes of "1000", "64k" or "2m"."""
    match = re.fullmatch(r"(\d{1,8})([kKmM]?)", text)
    if match is None:
        return None
    size = int(match[1]) * {"": 1, "k": 1024, "m": 1_048_576}[match[2].lower()]
    return size if size <= SIZE_MAX_BYTES else None


def parse_probability(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[01]|[01]?\.\d{1,9}", text) and float(text) <= 1 else None


def parse_text(text: str) -> str | None:
    """What may stand in a header."""
    return text if re.fullmatch(r"[\x20-\x7e]{1,200}", text) else None


def one_of(*words: str) -> ParseValue:
    return lambda text: text if text in words else None


# Whether a clause applies to this call at all; the same for every kind.
WHEN: Mapping[str, ParseValue] = {"p": parse_probability, "first": parse_count, "after": parse_count}


@attrs.frozen
class Shape:
    """What a kind of fault may be given: how its value is read (None: it takes none), the value when none is written, its options."""

    value: ParseValue | None = None
    default: Value = None
    required: bool = False
    options: Mapping[str, ParseValue] = attrs.field(factory=dict)


@attrs.frozen
class Clause:
    """One fault. `value` and `options` are parsed; `text` is the clause as written, by which calls are counted.

    Attributes:
        p: chance that it applies to a call.
        first: applies to so many calls only; None to all.
        after: so many calls are spared before.
    """

    kind: str
    value: Value
    options: Mapping[str, Value]
    text: str
    p: float = 1.0
    first: int | None = None
    after: int = 0

    def applies(self, call: int, draw: float) -> bool:
        """To the call with this number, from 0; `draw` is a number from 0 up to 1."""
        if call < self.after or (self.first is not None and call - self.after >= self.first):
            return False
        return draw < self.p


def parse_faults(text: str, shapes: Mapping[str, Shape]) -> tuple[Clause, ...] | str:
    """`shapes` has every kind; three digits are kind "status"."""
    if len(text) > TEXT_MAX:
        return f"a fault may have at most {TEXT_MAX} characters"
    parts = [part.strip() for part in text.split("+")]
    if len(parts) > CLAUSES_MAX:
        return f"at most {CLAUSES_MAX} faults may be joined"
    clauses: list[Clause] = []
    for part in parts:
        clause = parse_clause(part, shapes)
        if isinstance(clause, str):
            return clause
        clauses.append(clause)
    return tuple(clauses)


def parse_clause(text: str, shapes: Mapping[str, Shape]) -> Clause | str:
    first, *rest = text.split(";")
    kind, given, value_text = (s.strip() for s in first.partition("="))
    status = kind if re.fullmatch(r"[3-5]\d\d", kind) else ""
    shape = shapes.get("status" if status else kind)
    if shape is None or kind == "status":
        return f"{kind!r} is not a fault; known are a status from 300 to 599, {', '.join(sorted(s for s in shapes if s != 'status'))}"
    value = shape.default
    if given:
        value = shape.value(value_text) if shape.value is not None else None
        if value is None:
            return f"{kind!r} cannot have the value {value_text!r}"
    elif shape.required:
        return f"{kind!r} needs a value, as in {kind}=…"
    options: dict[str, Value] = {}
    when: dict[str, Value] = {}
    for option in rest:
        name, _, option_text = (s.strip() for s in option.partition("="))
        parse = shape.options.get(name) or WHEN.get(name)
        parsed = parse(option_text) if parse is not None else None
        if parsed is None:
            known = ", ".join(sorted({*shape.options, *WHEN}))
            return f"{option.strip()!r} is not an option of {kind!r} with a value it can have; options are {known}"
        (options if name in shape.options else when)[name] = parsed
    if status:
        options["status"] = int(status)
    return build(kind if not status else "status", value, options, when, text)


def build(kind: str, value: Value, options: Mapping[str, Value], when: Mapping[str, Value], text: str) -> Clause:
    p, first, after = when.get("p"), when.get("first"), when.get("after")
    return Clause(
        kind,
        value,
        options,
        text,
        p=float(p) if isinstance(p, float | int) else 1.0,
        first=first if isinstance(first, int) else None,
        after=after if isinstance(after, int) else 0,
    )
