"""Real messages spoilt a little: near enough to good ones to get past the first check. One source of chance makes each of them."""

import copy
import random
from typing import Any

NONSENSE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2.5, 10**15, "", "x", "\ud83d", "null", "{", [], {}, [None], ["x"], {"type": "x"}, {"index": "0"}, [{}], [[]],
)  # fmt: skip
NAMES = ("index", "type", "text", "id", "delta", "content", "role")


def spoilt(events: list[Any], chance: random.Random) -> list[Any]:
    """Events lost, repeated, swapped and changed inside."""
    events = [copy.deepcopy(event) for event in (chance.sample(events, 40) if len(events) > 40 else events)]
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(len(events))
        what = chance.random()
        if what < 0.15:
            events.insert(chance.randrange(len(events)), copy.deepcopy(events[place]))
        elif what < 0.3 and len(events) > 1:
            del events[place]
        elif what < 0.4:
            events.append(events.pop(place))
        else:
            change(events[place], chance)
    return events


def change(value: Any, chance: random.Random) -> None:
    """Somewhere inside, one member is nonsense, is gone, or is called otherwise."""
    while True:
        names = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not names:
            return
        name = chance.choice(names)
        if isinstance(value[name], dict | list) and value[name] and chance.random() < 0.8:
            value = value[name]
            continue
        if isinstance(value, dict) and chance.random() < 0.3:
            moved = value.pop(name)
            if chance.random() < 0.5:
                value[chance.choice(NAMES)] = moved
        else:
            value[name] = copy.deepcopy(chance.choice(NONSENSE))
        return
