"""In which order a route's targets are asked: pure strategies over weights and a draw."""

from collections.abc import Sequence


def weighted_order(weights: Sequence[int], draw: float) -> list[int]:
    """Target indices: the first by weight, the rest after it by descending weight (then by place in the file).

    Only the first choice is random: when it fails, the heaviest of the others is the operator's best word on where to go. A weight of 0 is
    never chosen first unless every weight is 0.

    Args:
        weights: not negative.
        draw: in [0, 1).
    """
    total = sum(weights)
    indices = range(len(weights))
    if total <= 0:
        return list(indices)
    mark = draw * total
    first = 0
    for index, weight in enumerate(weights):
        if weight <= 0:
            continue
        first = index
        mark -= weight
        if mark < 0:
            break
    rest = sorted((index for index in indices if index != first), key=lambda index: (-weights[index], index))
    return [first, *rest]


def rotated_order(count: int, turn: int) -> list[int]:
    """Round robin: the `turn`-th target first, the others after it in the file's order."""
    start = turn % count if count else 0
    return [*range(start, count), *range(start)]
