"""The variables that several dashboards offer, and selectors that honour them.

A small setup may not label its targets with a cluster: All (`.*`) fits a series without that label too.
"""

from typing import Final

import attrs

WHERE: Final = 'job=~"$job", cluster=~"$cluster"'


@attrs.frozen
class Variable:
    """A choice of one label's values, by Grafana's `label_values(...)`."""

    name: str
    label: str
    query: str


def within(family: str, more: str = "") -> str:
    """A family's series of the chosen job and cluster. more: further matchers."""
    return f"{family}{{{WHERE}{', ' if more else ''}{more}}}"
