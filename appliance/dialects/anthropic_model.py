"""What Claude models accept, told by their names. The rule: a name that says nothing of its version is taken for one that accepts what
Anthropic's first compatible API accepted, which is also what other vendors' copies of it do.

Sources: platform.claude.com/docs/en/build-with-claude/{adaptive-thinking,effort} and the API's own refusals: from 4.7 on
`"thinking.type.enabled" is not supported for this model`, and temperature, top_p and top_k are gone; Fable, Mythos and Opus from 5.5 on
always think.
"""

import re

import attrs

from appliance.core.conversation import Effort
from appliance.core.effort import nearest

_VERSION = re.compile(r"claude-(?:([a-z]+)-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)(?:-([a-z]+))?")
"""claude-3-7-sonnet-20250219, claude-opus-4-20250514, anthropic/claude-opus-4.6, us.anthropic.claude-sonnet-4-5-20250929-v1:0."""

OUTPUT_UNKNOWN_TOKENS = 4_096
"""The bound on the answer for a model whose own is not known: the lowest that any Claude ever had."""


@attrs.frozen
class Abilities:
    """Attributes:
    adaptive: thinking may be left to the model. budget: it may be given as tokens. always: it cannot be switched off.
    sampling: temperature and its like are accepted. efforts: the words of output_config.effort.
    structured: a form of the answer and of tools' arguments can be enforced.
    output_max: the most tokens that the bound on the answer may be, None where that is not known.
    """

    adaptive: bool = False
    budget: bool = True
    always: bool = False
    sampling: bool = True
    efforts: tuple[Effort, ...] = ()
    output_max: int | None = None
    structured: bool = False


_ALL: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")
_BY_VERSION: tuple[tuple[tuple[int, int], Abilities], ...] = (
    ((4, 7), Abilities(True, False, False, False, _ALL, 128_000, True)),
    ((4, 6), Abilities(True, True, False, True, ("low", "medium", "high", "max"), 128_000, True)),
    ((4, 5), Abilities(output_max=64_000, structured=True)),
    ((4, 0), Abilities(output_max=64_000)),
    ((3, 7), Abilities(output_max=64_000)),
    ((3, 5), Abilities(output_max=8_192)),
    ((3, 0), Abilities(output_max=4_096)),
)
"""By the first version that has them (platform.claude.com/docs/en/about-claude/models/overview, "max output"). Opus differs, see below."""

_ALWAYS = attrs.evolve(_BY_VERSION[0][1], always=True)
_ALWAYS_FAMILIES = frozenset({"fable", "mythos"})


def abilities(model: str) -> Abilities:
    found = _VERSION.search(model)
    if "claude-mythos-preview" in model:
        return _ALWAYS
    if found is None:
        return Abilities()
    version, family = (int(found.group(2)), int(found.group(3) or 0)), found.group(1) or found.group(4) or ""
    able = next((able for since, able in _BY_VERSION if version >= since), Abilities())
    if family in _ALWAYS_FAMILIES or (family == "opus" and version >= (5, 5)):
        return _ALWAYS
    if family == "opus" and (4, 0) <= version < (4, 5):
        return attrs.evolve(able, output_max=32_000, structured=version == (4, 1))
    if family == "opus" and version == (4, 5):  # the only one of its version that knows effort
        return attrs.evolve(able, efforts=("low", "medium", "high"))
    return able


def nearest_effort(effort: Effort, able: Abilities) -> str:
    """The model's own word for it, empty when it has none: the same, else the next lower, else the lowest."""
    if effort == "none" or not able.efforts:
        return ""
    return nearest(effort, able.efforts) or ""
