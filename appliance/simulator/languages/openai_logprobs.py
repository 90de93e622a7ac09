"""Log probabilities that look plausible and are the same for the same token. Pure."""

from typing import Any

from appliance.simulator.prose import WORDS, seed_of


def token_logprob(token: str, top: int) -> dict[str, Any]:
    """Chat's shape: the token with its bytes, and `top` alternatives of which it is the first."""
    alternatives = top_tokens(token, top)
    return {**shape(token, logprob(token, 0)), "top_logprobs": [shape(t, p) for t, p in alternatives]}


def top_tokens(token: str, top: int) -> list[tuple[str, float]]:
    start = seed_of(token)[0]
    others = [" " + WORDS[(start + i) % len(WORDS)] for i in range(1, top)]
    return [(t, logprob(token, i)) for i, t in enumerate([token, *others][:top])]


def logprob(token: str, rank: int) -> float:
    """Between 0 and -1 for the chosen token, lower by at least one for each rank."""
    return -round(seed_of(token, rank)[1] / 256 + rank, 6)


def shape(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}
