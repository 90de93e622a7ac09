"""From a TOML table to the schema's frozen values, strictly: cattrs does the walking, every leaf is checked by `leaves`.

One rule: every problem at once. A value that was refused is replaced by a stand-in and the document is walked again, so that the
semantic rules can still look at the rest of the file.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from appliance.config.doors import Listener
from appliance.config.knob import about, default_of
from appliance.config.leaves import LEAVES, choice, named, number
from appliance.config.problem import Finding, Refusal, Steps, meant
from appliance.config.schema import Config
from appliance.config.secret import Secret

Hook = Callable[[Any, Any], Any]


class Mark(Enum):
    """Put into the document where a value was refused; each hook answers it with a stand-in of its type."""

    BROKEN = "broken"


@attrs.frozen
class Structured:
    """A configuration and what was wrong. With findings, the config holds stand-ins at their places: fit for finding more, not for use."""

    config: Config
    findings: tuple[Finding, ...] = ()


PASSES_MAX = 4
"""Walks over the document. The first finds everything, the second gets past it; more would be a bug, and must not become a loop."""


def structure(table: Mapping[str, Any], converter: Converter) -> Structured:
    """The configuration in `table` and every structural problem in it. Never raises for any TOML value."""
    findings: list[Finding] = []
    for _ in range(PASSES_MAX):
        try:
            return Structured(converter.structure(table, Config), tuple(findings))
        except BaseValidationError as error:
            faults = list(_faults(error, ()))
        findings += [finding for finding, _ in faults]
        table = _mended(table, faults)
    return Structured(Config(), tuple(findings))


def strict_converter(resolve: Callable[[Any], Secret]) -> Converter:
    """A converter for the schema; `resolve` gives the secret that a TOML value stands for, or raises Refusal."""
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, (check, stand_in) in LEAVES.items():
        converter.register_structure_hook(kind, _leaf(check, stand_in))
    converter.register_structure_hook(Secret, _leaf(resolve, Secret("")))
    converter.register_structure_hook_factory(_of(Literal), _literal)
    converter.register_structure_hook_factory(_of(tuple), lambda kind: _array(converter, kind))
    converter.register_structure_hook_factory(_of(Mapping), lambda kind: _mapping(converter, kind))
    converter.register_structure_hook_factory(attrs.has, lambda kind: _table(converter, kind))
    return converter


def _of(origin: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


def _leaf(check: Callable[[Any], Any], stand_in: Any) -> Hook:
    return lambda value, _: stand_in if value is Mark.BROKEN else check(value)


def _literal(kind: Any) -> Hook:
    choices = get_args(kind)
    return lambda value, _: choices[0] if value is Mark.BROKEN else choice(value, choices)


def _array(converter: Converter, kind: Any) -> Hook:
    element = get_args(kind)[0]

    def structure_array(value: Any, _: Any) -> tuple[Any, ...]:
        if value is Mark.BROKEN:
            return ()
        if not isinstance(value, list):
            raise Refusal(f"is {named(value)}", "an array")
        return tuple(_each(converter, enumerate(value), element, kind))

    return structure_array


def _mapping(converter: Converter, kind: Any) -> Hook:
    element = get_args(kind)[1]

    def structure_mapping(value: Any, _: Any) -> Mapping[str, Any]:
        if value is Mark.BROKEN:
            return MappingProxyType({})
        if not isinstance(value, dict):
            raise Refusal(f"is {named(value)}", "a table")
        return MappingProxyType(dict(zip(value, _each(converter, value.items(), element, kind), strict=True)))

    return structure_mapping


def _each(converter: Converter, items: Any, element: Any, kind: Any) -> list[Any]:
    """Every element, or every element's error in the form that cattrs gives its own."""
    results, errors = [], []
    for index, value in items:
        try:
            results.append(converter.structure(value, element))
        except (Refusal, BaseValidationError) as error:
            error.add_note(IterableValidationNote("", index, element))
            errors.append(error)
    if errors:
        raise IterableValidationError("", errors, kind)
    return results


def _table(converter: Converter, kind: Any) -> Hook:
    fields = attrs.fields(kind)
    overrides: dict[str, Any] = {field.name: override(struct_hook=_attribute(converter, field)) for field in fields}
    inner: Any = make_dict_structure_fn(kind, converter, **overrides)
    stand_in = {field.name: Mark.BROKEN for field in fields if field.default is attrs.NOTHING}

    def structure_table(value: Any, _: Any) -> Any:
        if value is Mark.BROKEN:
            return inner(stand_in, kind)
        if kind is Listener and isinstance(value, str):
            return Listener(address=value)
        if not isinstance(value, dict):
            raise Refusal(f"is {named(value)}", "a string or a table" if kind is Listener else "a table")
        return inner(value, kind)

    return structure_table


def _attribute(converter: Converter, field: "attrs.Attribute[Any]") -> Hook:
    """The hook of one key: its type's, then its bounds. TOML has no null, so `X | None` is structured as X."""
    kind = without_none(field.type)
    described = about(field)
    is_number = kind in (int, float)

    def structure_attribute(value: Any, _: Any) -> Any:
        if value is Mark.BROKEN and field.default is not attrs.NOTHING:
            return default_of(field)
        if is_number and value is not Mark.BROKEN:
            return number(value, kind, described)
        return converter.structure(value, kind)  # looked up here and not above: tables that a file has not are never compiled

    return structure_attribute


def without_none(kind: Any) -> Any:
    """`X` of `X | None`; anything else as it is."""
    inner = [each for each in get_args(kind) if each is not type(None)]
    return inner[0] if type(None) in get_args(kind) and len(inner) == 1 else kind


def _faults(error: BaseException, at: Steps, owner: Any = Config) -> Iterator[tuple[Finding, bool]]:
    """The leaves of cattrs' exception tree with their paths, and whether the key itself is what must go."""
    at = (*at, *_step(error))
    match error:
        case BaseValidationError():
            for inner in error.exceptions:
                yield from _faults(inner, at, error.cl)
        case ForbiddenExtraKeysError():
            known = [field.name for field in attrs.fields(owner)]
            for key in sorted(error.extra_fields):
                hint = meant(key, known)
                yield Finding((*at, key), "is not a known key", "" if hint else "one of " + ", ".join(known), hint), True
        case KeyError():
            yield Finding(at, "is missing", about(getattr(attrs.fields(owner), str(at[-1]))).why), False
        case Refusal():
            yield Finding(at, error.message, error.expected, error.hint), False
        case _:
            raise error


def _step(error: BaseException) -> Steps:
    """The one step that cattrs, or `_each`, noted on the way up."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return (note.name,)
        if isinstance(note, IterableValidationNote):
            return (note.index,)
    return ()


def _mended(table: Mapping[str, Any], faults: list[tuple[Finding, bool]]) -> dict[str, Any]:
    """A copy of the document without the unknown keys and with a mark at each value that was refused or missing."""
    mended = copy.deepcopy(dict(table))
    for finding, goes in faults:
        place: Any = mended
        for step in finding.steps[:-1]:
            place = place[step]
        if goes:
            del place[finding.steps[-1]]
        else:
            place[finding.steps[-1]] = Mark.BROKEN
    return mended
