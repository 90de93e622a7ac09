"""JSON as people really write it: odd spacing, escapes in any spelling, keys that repeat.

Hypothesis draws one seed and the text grows from it: drawing every character through hypothesis costs 20 ms a document, this 0.1 ms.
"""

import random
from collections.abc import Sequence

from hypothesis import strategies as st

NAMES = ("model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "temperature", "messages", "x-y", "é", "a/b", "")
LETTERS = 'aeiomnst"\\/{}[],:\n\t\r\b\x01 é日😀u0'
SPACES = ("", "", "", " ", "\n  ", "\t", " \r\n")
SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "/": "\\/", "\b": "\\b", "\f": "\\f", "\r": "\\r"}
TRICKY = ("null", "true", "false", "0", "-1", "1.5e3", "12345678901234567890", '"model"', '"\\"model\\""', '"[{\\"a\\":"', '"\\\\"', '""')


class JsonText:
    """Grows pieces of JSON text out of one source of chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def space(self) -> str:
        return self.chance.choice(SPACES)

    def word(self, longest: int = 10) -> str:
        return "".join(self.chance.choice(LETTERS) for _ in range(self.chance.randint(0, longest)))

    def string(self, text: str) -> str:
        """A JSON string of `text`: each character plain, escaped short, or as \\uXXXX in either case."""
        pieces = []
        plain = self.chance.random() < 0.5
        for letter in text:
            style = "p" if plain else self.chance.choice("ppeu")
            if (style == "u" and ord(letter) < 0x10000) or (ord(letter) < 0x20 and letter not in SHORT):
                code = f"{ord(letter):04x}"
                pieces.append("\\u" + (code.upper() if self.chance.random() < 0.5 else code))
            elif letter in SHORT and (style == "e" or letter != "/"):
                pieces.append(SHORT[letter])
            else:
                pieces.append(letter)
        return '"' + "".join(pieces) + '"'

    def value(self, depth: int = 4) -> str:
        kind = self.chance.random()
        if depth and kind < 0.2:
            parts = [self.space() + self.value(depth - 1) + self.space() for _ in range(self.chance.randint(0, 3))]
            return "[" + (",".join(parts) or self.space()) + "]"
        if depth and kind < 0.45:
            return self.object([self.chance.choice((*NAMES, self.word(4))) for _ in range(self.chance.randint(0, 3))], depth - 1)
        if kind < 0.6:
            return str(self.chance.randint(-(10**6), 10**6))
        return self.string(self.word()) if kind < 0.8 else self.chance.choice(TRICKY)

    def member(self, name: str, depth: int = 4) -> str:
        return self.space() + self.string(name) + self.space() + ":" + self.space() + self.value(depth) + self.space()

    def object(self, names: Sequence[str], depth: int = 4) -> str:
        return "{" + (",".join(self.member(name, depth) for name in names) or self.space()) + "}"

    def body(self) -> bytes:
        """A whole object, now and then with a key that stands in it twice."""
        names = [self.chance.choice((*NAMES, self.word(5))) for _ in range(self.chance.randint(0, 6))]
        return (self.space() + self.object(names) + self.space()).encode()


SEEDS = st.integers(0, 2**48)
OBJECTS = SEEDS.map(lambda seed: JsonText(seed).body())
