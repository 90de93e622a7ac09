"""What Claude models accept, told by their names. The rule: a name that says nothing of its version is taken for one that accepts what
Anthropic's first compatible API accepted, which is also what other vendors' copies of it do.

Sources: platform.claude.com/docs/en/build-with-claude/{adaptive-thinking,effort} and the API's own refusals: from 4.7 on
`"thinking.type.enabled" is not supported for this model`, and temperature, top_p and top_k are gone.
"""

import re

import attrs

from appliance.core.conversation import Effort

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
"""claude-3-7-sonnet-20250219, claude-opus-4-20250514, anthropic/claude-opus-4.6, us.anthropic.claude-sonnet-4-5-20250929-v1:0."""


@attrs.frozen
class Abilities:
    """Attributes:
    adaptive: thinking may be left to the model. budget: it may be given as tokens. sampling: temperature and its like are accepted.
    efforts: the words of output_config.effort.
    """

    adaptive: bool = False
    budget: bool = True
    sampling: bool = True
    efforts: tuple[Effort, ...] = ()


_BY_VERSION: tuple[tuple[tuple[int, int], Abilities], ...] = (
    ((4, 7), Abilities(True, False, False, ("low", "medium", "high", "xhigh", "max"))),
    ((4, 6), Abilities(True, True, True, ("low", "medium", "high", "max"))),
    ((4, 5), Abilities(False, True, True, ("low", "medium", "high"))),
)


def abilities(model: str) -> Abilities:
    found = _VERSION.search(model)
    if "claude-mythos-preview" in model:
        return _BY_VERSION[0][1]
    if found is None:
        return Abilities()
    version = int(found.group(1)), int(found.group(2) or 0)
    return next((able for since, able in _BY_VERSION if version >= since), Abilities())


def nearest_effort(effort: Effort, able: Abilities) -> str:
    """The model's own word for it, empty when it has none: the same, else the next lower, else the lowest."""
    order: tuple[Effort, ...] = ("minimal", "low", "medium", "high", "xhigh", "max")
    if effort not in order or not able.efforts:
        return ""
    at_most = [word for word in able.efforts if order.index(word) <= order.index(effort)]
    return at_most[-1] if at_most else able.efforts[0]
