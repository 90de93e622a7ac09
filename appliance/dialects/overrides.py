"""Top-level fields that the operator sets, or a vendor wants, in a request that was written anew. (One that passes verbatim is spliced
instead.)
"""

from collections.abc import Collection, Mapping
from typing import Any

import orjson


def overridden(body: bytes, fields: Mapping[str, Any], without: Collection[str] = (), lifted: str = "") -> bytes:
    """`body`, a JSON object, with these members set and those left out; `lifted` names a member whose own take its place before that."""
    kept = orjson.loads(body)
    if lifted in kept:
        inner = kept.pop(lifted)
        kept = {**kept, **inner}
    for name in without:
        kept.pop(name, None)
    return orjson.dumps({**kept, **fields})
