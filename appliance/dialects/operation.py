"""What languages can do beside chats (embeddings, counts of tokens) as rows of functions, so that any caller's can meet any backend's.

The rule: an operation has one canonical request and one canonical answer (`core.embedding`, or a conversation and its number of tokens),
and a language has a row for it with the sides that it has. Nothing here raises for what a peer sent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import orjson

from appliance.core.fault import Fault
from appliance.dialects.codec import Target, Written
from appliance.dialects.protocol import Answer

WriteAnswer = Callable[[Any, Any, str], bytes]
"""Of the canonical answer, the canonical request and the name of the model to show."""


def same(model: str) -> str:
    return model


@attrs.frozen
class Asked:
    """A caller's side.

    Attributes:
        read: the request's JSON object as the canonical request. write: the answer to it.
        vector: of embeddings: the numbers of one vector as this caller reads them. They are written as they come, batch by batch, so that
            no stream stands still for long when the last one has come; `write` puts them together.
    """

    read: Callable[[Mapping[str, Any]], Any]
    write: WriteAnswer
    vector: Callable[[Sequence[float], Any], orjson.Fragment] | None = None


@attrs.frozen
class Told:
    """A backend's side.

    Attributes:
        write: the request; a Fault (BAD_REQUEST with `param`) where leaving something out would change what it means.
        read: the whole answer; PROTOCOL where it is none, an error in a 200 is the fault that it names.
        summary: what an answer that passes verbatim says of itself; of a long one it gets the last part only.
        inputs_max: of embeddings: how many inputs one call takes, 0 for no bound of its own; longer requests go in several calls.
        model: the name that the call has for a model; empty where the vendor has no such call for this one.
    """

    write: Callable[[Any, Target], Written | Fault]
    read: Callable[[bytes], Any]
    summary: Callable[[bytes], Answer | Fault]
    model: Callable[[str], str] = same
    inputs_max: int = 0


@attrs.frozen
class Sides:
    """One operation of one language."""

    asked: Asked | None = None
    told: Told | None = None
