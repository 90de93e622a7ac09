"""The token rule: how the simulator cuts text into tokens, and so how it counts and bills. Pure.

One token is a run of at most 16 word characters or of at most 16 punctuation characters, together with the white space before it; white
space at the end of a text is one token. "Hello, world!" is four: `Hello` `,` ` world` `!`. The pieces always join to the text again.
"""

import re

TOKEN = re.compile(r"\s*(?:\w{1,16}|[^\w\s]{1,16})|\s+")


def split_tokens(text: str) -> list[str]:
    return TOKEN.findall(text)


def count_tokens(text: str) -> int:
    return sum(1 for _ in TOKEN.finditer(text))
