"""How a backend is asked: what every attempt for callers of one language, operation and model would find out again. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from appliance.dialects.language import Language


@attrs.frozen
class Way:
    """One way.

    Attributes:
        asked: the model's name to the backend; served: its bare name.
        language: the one that it is said in; None for the caller's own row, which knows what stood in the path.
        operation: what it is said as there; empty where the vendor has no such thing.
        first_phase_s: how long an attempt may take to the first byte of a stream, or to the end of a whole answer.
        refused: members of chat messages that the vendor's model refuses, by how they stand in a body.
        amiss: whether the model would refuse what a caller says in its own language; None where that cannot be.
    """

    asked: str
    served: str
    language: Language | None
    operation: str
    first_phase_s: float
    refused: Mapping[bytes, str]
    amiss: Callable[[Mapping[str, Any], str], bool] | None
