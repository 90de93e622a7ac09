"""What languages can do beside chats (embeddings, counts of tokens) as rows of functions, so that any caller's can meet any backend's.

The rule: an operation has one canonical request and one canonical answer (`core.embedding`, or a conversation and its number of tokens),
and a language has a row for it with the sides that it has. Nothing here raises for what a peer sent.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.codec import Target, Written
from appliance.dialects.protocol import Answer

WriteAnswer = Callable[[Any, Any, str], bytes]
"""Of the canonical answer, the canonical request and the name of the model to show."""


def same(model: str) -> str:
    return model


@attrs.frozen
class Asked:
    """A caller's side. read: the request's JSON object as the canonical request. write: the answer to it."""

    read: Callable[[Mapping[str, Any]], Any]
    write: WriteAnswer


@attrs.frozen
class Told:
    """A backend's side.

    Attributes:
        write: the request; a Fault (BAD_REQUEST with `param`) where leaving something out would change what it means.
        read: the whole answer; PROTOCOL where it is none, an error in a 200 is the fault that it names.
        summary: what an answer that passes verbatim says of itself; of a long one it gets the last part only.
        model: the name that the call has for a model; empty where the vendor has no such call for this one.
    """

    write: Callable[[Any, Target], Written | Fault]
    read: Callable[[bytes], Any]
    summary: Callable[[bytes], Answer | Fault]
    model: Callable[[str], str] = same


@attrs.frozen
class Sides:
    """One operation of one language."""

    asked: Asked | None = None
    told: Told | None = None


def too_many(path: str, most: int) -> Fault:
    """A batch above a backend's bound: refused, as half of it would be another request."""
    message = f"{path} must hold at most {most} texts for this backend: send them in several requests"
    return Fault(FaultKind.BAD_REQUEST, message, param=path)
