"""What a setting says about itself: its reason, unit and bounds, attached to its attrs attribute.

The loader's bounds, the error messages and the commented example file all read it from here, so they cannot disagree.
"""

from typing import Any

import attrs


@attrs.frozen
class About:
    """Why a setting exists, and what it may hold.

    `low` and `high` are inclusive. `vendor` names the one provider that reads it; for any other the setting is refused.
    """

    why: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    vendor: str = ""


def about(attribute: "attrs.Attribute[Any]") -> About:
    found: About = attribute.metadata["about"]
    return found


def default_of(attribute: "attrs.Attribute[Any]") -> Any:
    """The default, made if it must be made; `attrs.NOTHING` for a required setting."""
    default: Any = attribute.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]


def knob(default: Any, why: str, *, unit: str = "", low: float | None = None, high: float | None = None, vendor: str = "") -> Any:
    """A setting with its default, its reason, its unit and its bounds."""
    return attrs.field(default=default, metadata={"about": About(why, unit, low, high, vendor)}, kw_only=True)


def required(why: str, *, unit: str = "") -> Any:
    """A setting without a default."""
    return attrs.field(metadata={"about": About(why, unit)}, kw_only=True)


def table(kind: type) -> Any:
    """A nested table that takes its own defaults when absent."""
    return attrs.field(factory=kind, metadata={"about": About()}, kw_only=True)
