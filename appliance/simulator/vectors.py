"""Embedding vectors: derived from the text alone, the same for the same text and the same length in every language. Pure."""

import hashlib
import math
from array import array

Input = str | list[int]


def unit_vector(text: Input, dimensions: int) -> "array[float]":  # array is subscriptable from 3.12 on
    """`dimensions` 32-bit floats of length one; a shorter vector is a longer one cut and scaled again, as the service's are."""
    raw = array("H", hashlib.shake_256(str(text).encode()).digest(2 * dimensions))
    centred = [value - 32767.5 for value in raw]
    length = math.sqrt(math.fsum(value * value for value in centred))
    return array("f", [value / length for value in centred])
