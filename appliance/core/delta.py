"""A model's answer as it comes, in no vendor's words.

The rule: every stream is `Started`, then for each part `PartStarted`, any number of additions, `PartEnded`; `Finished` for each candidate;
`UsageKnown` (the last one counts); nothing after. Parts of one candidate are numbered from 0 in the order they start. Parts may overlap in
time (OpenAI's parallel tool calls may); languages that forbid that are written through `core.sequence`. A stream that ends without
`Finished` was cut.
"""

import attrs

from appliance.core.completion import Finish, TokenLogprob
from appliance.core.message import Citation, Part
from appliance.core.seal import Seal
from appliance.core.usage import Usage


@attrs.frozen
class Started:
    """The answer begins. usage: what is known of the input already (Anthropic message_start)."""

    id: str = ""
    model: str = ""
    created: int = 0
    usage: Usage | None = None
    fingerprint: str = ""
    service_tier: str = ""


@attrs.frozen
class PartStarted:
    """part: what is known of it: a ToolCall with id and name, an empty Text, a whole Foreign or Media."""

    index: int
    part: Part
    candidate: int = 0


@attrs.frozen
class TextAdded:
    """More of a Text's, Reasoning's or Refusal's words, or of a ToolCall's arguments."""

    index: int
    text: str = attrs.field(repr=False)
    candidate: int = 0


@attrs.frozen
class SealAdded:
    """The part's seal, or more of it: values add up."""

    index: int
    seal: Seal
    candidate: int = 0


@attrs.frozen
class CitationAdded:
    index: int
    citation: Citation
    candidate: int = 0


@attrs.frozen
class LogprobsAdded:
    logprobs: tuple[TokenLogprob, ...]
    candidate: int = 0


@attrs.frozen
class PartEnded:
    index: int
    candidate: int = 0


@attrs.frozen
class Finished:
    finish: Finish
    stop_sequence: str = ""
    candidate: int = 0


@attrs.frozen
class UsageKnown:
    usage: Usage


Delta = Started | PartStarted | TextAdded | SealAdded | CitationAdded | LogprobsAdded | PartEnded | Finished | UsageKnown
