"""Questions in meaning: vectors of length one, and which of them is nearest to another. Plain Python.

The rule: a comparison of many never holds up the streams; every few vectors the others have their turn.
"""

import math
from array import array
from collections.abc import Sequence
from operator import mul

import attrs
import trio

AT_ONCE = 8
"""Vectors between two turns of others: some 0.1 ms each, at the 1,536 dimensions of the usual models."""

DIMENSIONS_MAX = 8_192
"""Of a vector that is kept; the longest in use have 4,096."""


@attrs.frozen(eq=False)
class Question:
    """What was asked last. frame: digest of all else that its request says. vector: of its meaning, of length one."""

    frame: bytes
    vector: "array[float]" = attrs.field(repr=False)


def unit(values: Sequence[float]) -> "array[float] | None":
    """A vector of length one in the same direction; None where there is none."""
    if not 0 < len(values) <= DIMENSIONS_MAX:
        return None
    length = math.sqrt(sum(map(mul, values, values)))
    if not (length > 0 and math.isfinite(length)):
        return None
    return array("d", [value / length for value in values])


async def nearest(questions: Sequence[Question | None], vector: "array[float]", threshold: float) -> int | None:
    """The place of the question whose cosine to `vector` is largest, and at least `threshold`."""
    found, best = None, threshold
    for place, question in enumerate(questions):
        if place % AT_ONCE == AT_ONCE - 1:
            await trio.lowlevel.checkpoint()
        if question is None or len(question.vector) != len(vector):
            continue
        cosine = sum(map(mul, question.vector, vector))
        if cosine >= best:
            found, best = place, cosine
    return found
