"""Reading a caller's JSON strictly: every value is what its language says it is, or the request is refused with the path of what is not.

The rule: `Unfit` never leaves a codec; its `read_request` turns it into a Fault. None and an absent field are the same thing, as every SDK
serialises one for the other.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from appliance.core.fault import Fault, FaultKind

T = TypeVar("T")
SHOWN_MAX_CHARS = 80


class Unfit(Exception):
    """What a caller sent does not fit. path: of the field, as in "messages[2].content"; message: what was expected there."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path, self.message = path, message

    def fault(self) -> Fault:
        return Fault(FaultKind.BAD_REQUEST, f"{self.path} {self.message}", param=self.path)


def text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise Unfit(path, f"must be a string, not {kind_of(value)}")
    return value


def flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise Unfit(path, f"must be true or false, not {kind_of(value)}")
    return value


def integer(value: Any, path: str) -> int:
    """A whole number; 3.0 is one, since some languages' JSON writers know no other."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit(path, f"must be a whole number, not {kind_of(value)}")
    return value


def number(value: Any, path: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Unfit(path, f"must be a number, not {kind_of(value)}")
    return value


def mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Unfit(path, f"must be an object, not {kind_of(value)}")
    return value


def sequence(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise Unfit(path, f"must be an array, not {kind_of(value)}")
    return value


def texts(value: Any, path: str) -> tuple[str, ...]:
    return tuple(text(one, f"{path}[{place}]") for place, one in enumerate(sequence(value, path)))


def optional(read: Callable[[Any, str], T], fields: Mapping[str, Any], name: str, path: str = "") -> T | None:
    """The field `name` of `fields`, read with `read`; None when it is absent or null. path: of `fields` itself."""
    value = fields.get(name)
    return None if value is None else read(value, f"{path}.{name}" if path else name)


def needed(read: Callable[[Any, str], T], fields: Mapping[str, Any], name: str, path: str = "") -> T:
    """As `optional`, but it must be there."""
    value = fields.get(name)
    where = f"{path}.{name}" if path else name
    if value is None:
        raise Unfit(where, "is missing")
    return read(value, where)


def one_of(value: Any, choices: tuple[str, ...], path: str) -> str:
    if not isinstance(value, str) or value not in choices:
        shown = repr(value[:SHOWN_MAX_CHARS]) if isinstance(value, str) else kind_of(value)
        raise Unfit(path, f"must be one of {', '.join(choices)}, not {shown}")
    return value


def kind_of(value: Any) -> Literal["null", "a boolean", "a number", "a string", "an array", "an object"]:
    """What JSON calls it; the value itself is the caller's and is not repeated."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"
