"""The [cache] table, and what a route says about its answers being given again. See `schema` for the rule."""

from typing import Literal

import attrs

from appliance.config.knob import knob, required


@attrs.frozen
class Semantic:
    """Answers are also given to questions that mean the same."""

    backend: str = required("a name under [backends], which makes the embeddings")
    model: str = required("the embedding model to ask it for")
    threshold: float = knob(0.95, "cosine similarity from which on two questions are one", low=0.5, high=1)
    timeout_s: float = knob(0.5, "longest wait for an embedding; later is a miss", unit="s", low=0.01, high=60)


@attrs.frozen
class Cache:
    """Answers given again."""

    ttl_s: float = knob(0.0, "how long an answer may be given again, to its tenant alone; 0 = off", unit="s", low=0, high=31536000)
    when: Literal["deterministic", "always"] = knob(
        "deterministic", "temperature 0, a seed, embeddings, rankings, moderations, counts; or all that is not stateful"
    )
    semantic: Semantic | None = knob(
        None, "with a ttl_s: also where only the last user message differs, and means the same; costs an embedding a miss"
    )


@attrs.frozen
class CacheStore:
    """Where answers are kept that routes with a `cache.ttl_s` give again: in this process's memory."""

    size_max_bytes: int = knob(
        67108864, "answers kept and being recorded, all tenants; the longest unused go first", unit="bytes", low=0, high=1099511627776
    )
    entry_max_bytes: int = knob(
        1048576, "longest request compared and longest answer kept; reading one holds up others 10 ms a MiB", unit="bytes", low=0,
        high=67108864,
    )  # fmt: skip
    wait_s: float = knob(
        30.0, "same request at once: how long the others wait for the first one's answer, a stream at most its keepalive_s", unit="s",
        low=0, high=600,
    )  # fmt: skip
    compared_max: int = knob(
        500, "semantic: questions compared that differ in their last message alone; 0.1 ms each", low=1, high=10000
    )
