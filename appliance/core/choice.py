"""In which order a route's targets are asked: pure strategies over weights, prices, what is known of the targets, and draws.

The rule: a strategy orders, it never leaves a target out. Whoever stands first is asked first; the others are asked when it fails.
"""

from collections.abc import Sequence

import attrs


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


EXPLORE_SHARE = 0.02
"""Of requests may go to another target than the best one, so that one which has recovered is found again."""

EXPLORE_GAP_S = 5.0
"""And none of them to a target that was asked a shorter while ago: under load, exploring a slow target costs far less than its share."""


@attrs.define  # never changed after it is made, but not frozen: some are made for every request
class Prospect:
    """A target as it looks now.

    Attributes:
        ready: it may be asked now, and chosen first.
        wait_s: the expected time to a first byte; 0 where nothing is known.
        waiting: requests that wait for one there; in_flight: all that its backend is busy with.
        idle_s: how long ago it was last asked.
    """

    ready: bool
    wait_s: float
    waiting: int
    in_flight: int
    idle_s: float


def least_latency_order(prospects: Sequence[Prospect], draw: float) -> list[int]:
    """Target indices by expected time to a first byte, those that are not ready last; now and then one that was long not asked is first.

    Args:
        draw: in [0, 1); below EXPLORE_SHARE this request may explore.
    """
    waits = _waits(prospects)
    indices = sorted(range(len(prospects)), key=lambda index: (not prospects[index].ready, waits[index], prospects[index].waiting))
    return _explored(indices, prospects, draw)


def least_busy_order(prospects: Sequence[Prospect], draw: float, explore: float) -> list[int]:
    """Of two targets at random the less loaded one first; then the rest by load.

    The load is what a newcomer would find in flight, times the expected time to a first byte. Always taking the least loaded of all would
    send every newcomer of one moment to the same one; two choices spread them nearly as well as knowing the future (Mitzenmacher 2001).

    Args:
        draw: in [0, 1), picks the two.
        explore: in [0, 1), as for `least_latency_order`.
    """
    waits = _waits(prospects)
    loads = [wait_s * (one.in_flight + 1) for wait_s, one in zip(waits, prospects, strict=True)]
    indices = sorted(range(len(prospects)), key=lambda index: (not prospects[index].ready, loads[index], prospects[index].waiting))
    ready = sum(one.ready for one in prospects)
    if ready > 2:
        # In order of load the less loaded of a pair is the one that stands first: of n·(n - 1)/2 pairs n - 1 begin with the first.
        pair = int(draw * (ready * (ready - 1) // 2))
        first, begin_with = 0, ready - 1
        while pair >= begin_with:
            pair -= begin_with
            first, begin_with = first + 1, begin_with - 1
        indices.insert(0, indices.pop(first))
    return _explored(indices, prospects, explore)


def cheapest_order(weights: Sequence[int], costs: Sequence[int | None], draw: float) -> list[int]:
    """Target indices by cost; among equals as `weighted_order` has them. None is an unknown cost, which counts as the dearest, and a
    weight of 0 is never chosen first unless every weight is 0."""
    spared = any(weights)
    return sorted(
        weighted_order(weights, draw), key=lambda index: (spared and not weights[index], costs[index] is None, costs[index] or 0)
    )  # fmt: skip


def _waits(prospects: Sequence[Prospect]) -> list[float]:
    """Expected waits. Of a target of which nothing is known one request now and then may find out; else it counts as an average one."""
    known = [one.wait_s for one in prospects if one.wait_s]
    typical = sum(known) / len(known) if known else 1.0
    return [one.wait_s or (typical if one.waiting or one.idle_s < EXPLORE_GAP_S else 0.0) for one in prospects]


def _explored(indices: list[int], prospects: Sequence[Prospect], draw: float) -> list[int]:
    if draw >= EXPLORE_SHARE:
        return indices
    idle = [index for index in indices[1:] if prospects[index].ready and prospects[index].idle_s > EXPLORE_GAP_S]
    if idle:
        found = max(idle, key=lambda index: prospects[index].idle_s)
        indices.remove(found)
        indices.insert(0, found)
    return indices
