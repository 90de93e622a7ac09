"""A model's whole answer in no vendor's words."""

from typing import Literal

import attrs

from appliance.core.message import Part
from appliance.core.usage import Usage

Finish = Literal[
    "stop", "stop_sequence", "length", "tool_use", "content_filter", "refusal", "pause", "context_length", "malformed_tool_call", "other",
    "",
]  # fmt: skip
"""Why a candidate ended. `tool_use` whenever a client's tool call is in it, whatever the vendor said (several say stop). `pause`: a server
tool wants another round (Anthropic pause_turn). "" while it has not ended.
"""


@attrs.frozen
class TokenLogprob:
    """One token of the answer. raw_bytes: its UTF-8 bytes where the vendor gives them. top: alternatives, which have none themselves."""

    token: str
    logprob: float
    raw_bytes: tuple[int, ...] | None = None
    top: "tuple[TokenLogprob, ...]" = ()


@attrs.frozen
class Candidate:
    """One answer of possibly several. stop_sequence: the text that ended it, where the vendor says which."""

    parts: tuple[Part, ...] = ()
    finish: Finish = ""
    stop_sequence: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()


@attrs.frozen
class Completion:
    """One answer.

    Attributes:
        id: the provider's; created: seconds since the epoch, 0 when it did not say.
        usage: None when the provider did not say.
    """

    id: str
    model: str
    candidates: tuple[Candidate, ...]
    usage: Usage | None = None
    created: int = 0
    fingerprint: str = ""
    service_tier: str = ""
