"""The end of a whole answer that was too long to be held (a picture in base64): what it cost is told there.

The rule: what follows the name of a top-level member, with an opening brace before it, is a JSON object again; from inside a nested object
it would have a brace too many. So the usage found is the answer's own, not something that a model wrote.
"""

from collections.abc import Callable
from typing import Any

import orjson

from appliance.core.usage import Usage
from appliance.dialects.protocol import Answer

TAIL_MAX_BYTES = 65_536
"""Looked at, from the end."""

_MODELS = ("model", "modelVersion")


def answer_of_tail(tail: bytes, name: bytes, read_usage: Callable[[Any], Usage | None]) -> Answer | None:
    """None where there is no usage to be read.

    Args:
        name: of the member that holds it.
    """
    tail = tail[-TAIL_MAX_BYTES:]
    place = len(tail)
    while (place := tail.rfind(b'"%b"' % name, 0, place)) >= 0:
        try:
            fields = orjson.loads(b"{" + tail[place:])
        except orjson.JSONDecodeError:
            continue
        usage = read_usage(fields.get(name.decode()))
        model = next((fields[one] for one in _MODELS if isinstance(fields.get(one), str)), "")
        return None if usage is None else Answer(usage, model)
    return None
