"""Log probabilities of an answer's tokens: `logprobsResult`, there and back. Source: ai.google.dev/api/generate-content#LogprobsResult."""

from collections.abc import Sequence
from typing import Any

from appliance.core.completion import TokenLogprob


def read_logprobs(result: object) -> tuple[TokenLogprob, ...]:
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(chosen, list):
        return ()
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    found: list[TokenLogprob] = []
    for place, one in enumerate(chosen):
        top = tops[place].get("candidates") if place < len(tops) and isinstance(tops[place], dict) else None
        alternatives = tuple(_token(other) for other in top if isinstance(other, dict)) if isinstance(top, list) else ()
        if isinstance(one, dict):
            token = _token(one)
            found.append(TokenLogprob(token.token, token.logprob, top=alternatives))
    return tuple(found)


def _token(one: dict[str, Any]) -> TokenLogprob:
    token, chance = one.get("token"), one.get("logProbability")
    figure = float(chance) if isinstance(chance, int | float) and not isinstance(chance, bool) else 0.0
    return TokenLogprob(token if isinstance(token, str) else "", figure)


def write_logprobs(logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
    """`logprobsResult`. The bytes of a token have no place here."""
    chosen = [{"token": one.token, "logProbability": one.logprob} for one in logprobs]
    if not any(one.top for one in logprobs):
        return {"chosenCandidates": chosen}
    tops = [{"candidates": [{"token": other.token, "logProbability": other.logprob} for other in one.top]} for one in logprobs]
    return {"chosenCandidates": chosen, "topCandidates": tops}
