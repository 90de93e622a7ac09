"""Text that means nothing, derived from a seed: the same seed gives the same words for ever. Pure."""

import hashlib
import re
from random import Random

import orjson

WORDS: tuple[str, ...] = tuple(
    re.findall(
        r"[a-z]+",
        """
        amber anchor apple arrow autumn basin beacon birch bottle bridge brook cabin candle canyon cedar circle cloud
        coast copper coral cotton crystal dawn delta desert drift dune eagle echo ember engine evening falcon feather
        fern field flame forest garden glacier granite grove harbor hazel heron hill hollow island ivory jasper kettle
        lagoon lantern laurel ledger lemon linen marble meadow mirror mist moon morning mountain nectar needle north
        oak ocean olive orbit orchard paper pebble pepper pine planet pocket prairie quartz quiet raven reef ridge
        river saddle sailor salt sand shadow shore signal silver snow sparrow spring spruce stone storm summer thistle
        thunder timber tundra valley velvet violet water willow wind winter yarrow zephyr
        """,
    )
)
SENTENCE_WORDS_MAX = 11  # then a full stop


def seed_of(*parts: object) -> bytes:
    """32 bytes that stand for these JSON values."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).digest()


def draws(seed: bytes) -> Random:
    """Only `random()` of it may be used: it alone promises the same numbers in every Python."""
    return Random(int.from_bytes(seed, "big"))


def pick(chance: Random, choices: int) -> int:
    return int(chance.random() * choices)


def word(chance: Random) -> str:
    return WORDS[pick(chance, len(WORDS))]


def prose(chance: Random, tokens: int) -> str:
    """Sentences of exactly so many tokens."""
    pieces: list[str] = []
    in_sentence = 0
    for left in range(tokens, 0, -1):
        if in_sentence and (left == 1 or in_sentence >= SENTENCE_WORDS_MAX or (in_sentence > 4 and chance.random() < 0.2)):
            pieces.append(".")
            in_sentence = 0
            continue
        text = word(chance)
        pieces.append((" " if pieces else "") + (text if in_sentence else text.capitalize()))
        in_sentence += 1
    return "".join(pieces)
