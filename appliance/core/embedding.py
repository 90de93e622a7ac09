"""Embeddings in no vendor's words: texts in, vectors out.

The rule: one request asks for one kind of vector, and vectors stand in the order of the inputs. Languages differ in how they say what a
vector is for and in how they spell its numbers; both are said here once.
"""

from array import array
from collections.abc import Sequence
from typing import Any, Literal, get_args

import attrs

from appliance.core.usage import Usage

Purpose = Literal["", "document", "query", "classification", "clustering", "similarity", "question", "fact", "code_query"]
"""What the vectors are for; "" leaves it to the backend. `question` and `fact` are queries for documents that answer or support them."""

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

INPUTS_MAX = 2_048
"""Of one request: OpenAI's bound, the highest of all."""


@attrs.frozen
class EmbeddingRequest:
    """Attributes:
    inputs: texts, or lists of token numbers (of the model's own tokenizer, so that no other model can read them).
    dimensions: length of the vectors, None for the model's own.
    title: of the one document that is asked for.
    packed: the caller reads vectors as base64 of 32-bit floats, little-endian, instead of lists of numbers.
    dropped: paths of what was asked for and has no counterpart here.
    """

    inputs: tuple[str | tuple[int, ...], ...] = attrs.field(repr=False)
    dimensions: int | None = None
    purpose: Purpose = ""
    title: str = attrs.field(default="", repr=False)
    packed: bool = False
    user: str = ""
    dropped: tuple[str, ...] = ()

    def split(self, most: int) -> "tuple[EmbeddingRequest, ...]":
        """The same in requests of at most `most` inputs, in order; 0 for no bound."""
        if not most or len(self.inputs) <= most:
            return (self,)
        return tuple(attrs.evolve(self, inputs=self.inputs[start : start + most]) for start in range(0, len(self.inputs), most))

    def texts(self) -> tuple[str, ...] | None:
        """The inputs where all of them are texts."""
        found = tuple(one for one in self.inputs if isinstance(one, str))
        return found if len(found) == len(self.inputs) else None


@attrs.frozen
class Embeddings:
    """Attributes:
    vectors: one for each input, in order: lists of numbers as a backend gave them, or each already in the form in which a caller reads it.
    usage: None when the backend does not tell. model: as the backend names it, empty when it does not.
    """

    vectors: tuple[Any, ...] = attrs.field(repr=False)
    usage: Usage | None = None
    model: str = ""


def joined(answers: Sequence[Embeddings]) -> Embeddings:
    """The answers to the parts of a request as one. Usage is known where all of them tell it."""
    if len(answers) == 1:
        return answers[0]
    known = [one.usage.input_tokens for one in answers if one.usage is not None]
    usage = Usage(sum(known)) if len(known) == len(answers) else None
    return Embeddings(tuple(vector for one in answers for vector in one.vectors), usage, answers[0].model)


def vector_of(values: object) -> Sequence[float] | None:
    """What a backend calls a vector, where it is a list of numbers; None where it is not."""
    if not isinstance(values, list) or not values:
        return None
    try:
        array("d", values)  # looked at by C, as there are thousands
    except (TypeError, OverflowError):
        return None
    return values
