"""The whole retry and fallback policy: one pure function that says what to do after each attempt.

Order of preference after a fault worth another try: the same backend at once, where the fault was one of a single key and the backend has
another; a candidate that has not been asked yet, at once (another backend is a better bet than the one that just failed); when all have
been asked, the least-tried one whose fault may be repeated, after a pause that doubles with each round and is at least what the upstream
asked for. One budget of attempts and one of time bound the whole, fallbacks included.
"""

from collections.abc import Sequence

import attrs

from appliance.core.fault import Blame, Fault, FaultKind


@attrs.frozen
class RetryPolicy:
    """See `Retry` of the config schema for units and reasons. `on` and `fallback_on` are upstream statuses."""

    attempts: int = 3
    backoff_s: float = 0.1
    backoff_max_s: float = 2.0
    budget_s: float = 30.0
    on: frozenset[int] = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
    fallback_on: frozenset[int] = frozenset({401, 402, 403, 404})


@attrs.frozen
class Tried:
    """One attempt that failed: which candidate, and how. another_key: the fault is one of a single key, and the backend has another."""

    candidate: int
    fault: Fault
    another_key: bool = False


@attrs.frozen
class Try:
    candidate: int


@attrs.frozen
class Pause:
    """Wait, then try that candidate."""

    seconds: float
    candidate: int


@attrs.frozen
class Surface:
    """Tell the caller."""

    fault: Fault


Step = Try | Pause | Surface

_ELSEWHERE = frozenset({FaultKind.AUTHENTICATION, FaultKind.QUOTA, FaultKind.BACKEND_BUSY})
"""Faults of one account or of our own bound on a backend: repeating them there is pointless, another backend may do."""

UNKNOWN_RESPONSE, FOREIGN_SEAL = "previous_response_not_found", "invalid_encrypted_content"
"""Codes of a backend's 400 that does not have the response which the request goes on from, or cannot read the sealed reasoning in it:
another one may have made it."""

MADE_ELSEWHERE = frozenset({UNKNOWN_RESPONSE, FOREIGN_SEAL})


def next_step(history: Sequence[Tried], available: Sequence[bool], policy: RetryPolicy, elapsed_s: float, draw: float) -> Step:
    """Decide the next step of a request.

    Args:
        history: the failed attempts so far, oldest first.
        available: for each candidate of the plan, in order of preference, whether its breaker and health let it be asked now.
        elapsed_s: seconds since the request began.
        draw: a random number in [0, 1) that spreads the pauses.
    """
    if not history:
        for index, free in enumerate(available):
            if free:
                return Try(index)
        return Surface(Fault(FaultKind.NO_BACKEND, "no healthy backend for this model right now; try again shortly"))
    last = history[-1].fault
    worth = _worth(last, policy)
    if worth is None or len(history) >= policy.attempts or elapsed_s >= policy.budget_s:
        return Surface(last)
    if history[-1].another_key and available[history[-1].candidate]:
        return Try(history[-1].candidate)
    asked = [tried.candidate for tried in history]
    for index, free in enumerate(available):
        if free and index not in asked:
            return Try(index)
    return _again(history, asked, available, policy, elapsed_s, draw)


def _again(
    history: Sequence[Tried], asked: list[int], available: Sequence[bool], policy: RetryPolicy, elapsed_s: float, draw: float
) -> Step:
    """Everybody available was asked once: who may be asked again, and when."""
    last_fault = {tried.candidate: tried.fault for tried in history}
    repeatable = [
        index for index, fault in last_fault.items() if available[index] and _worth(fault, policy) == "here"
    ]  # fmt: skip
    if not repeatable:
        return Surface(history[-1].fault)
    chosen = min(repeatable, key=lambda index: (last_fault[index].retry_after_s or 0.0, asked.count(index), index))
    rounds = max(asked.count(chosen), 1)
    # Full jitter over the upper half: clients that failed together do not come back together, and the pause is never near zero.
    pause_s = min(policy.backoff_max_s, policy.backoff_s * 2 ** (rounds - 1)) * (0.5 + draw / 2)
    pause_s = max(pause_s, last_fault[chosen].retry_after_s or 0.0)
    if elapsed_s + pause_s >= policy.budget_s:
        return Surface(history[-1].fault)
    return Pause(pause_s, chosen)


def second(free: Sequence[bool], policy: RetryPolicy, elapsed_s: float) -> int | None:
    """Who may be asked beside a first attempt that is still under way, as the next one would be had it failed now; None for nobody.

    Args:
        free: for each candidate, in order of preference, whether it may be asked now and is not the one that is being asked.
        elapsed_s: seconds since the request began.
    """
    if policy.attempts < 2 or elapsed_s >= policy.budget_s:
        return None
    return next((index for index, one in enumerate(free) if one), None)


def worth_another(fault: Fault, policy: RetryPolicy) -> bool:
    """Whether another attempt, here or elsewhere, may end better than one that ended so."""
    return _worth(fault, policy) is not None


def surfaced_because(fault: Fault, tries: int, policy: RetryPolicy, elapsed_s: float) -> str:
    """Why `next_step` went no further after `tries` attempts, the last of which ended in `fault`; in words."""
    if fault.kind is FaultKind.NO_BACKEND:
        return "no backend could be asked"
    if fault.kind is FaultKind.DRAINING:
        return "the gateway was shutting down"
    if _worth(fault, policy) is None:
        return "another try would not help: the route repeats no such fault"
    if tries >= policy.attempts:
        return f"{tries} attempts were made, as many as the route allows"
    if elapsed_s >= policy.budget_s:
        return f"the route's {policy.budget_s:g} s for attempts were over"
    return "nobody was left who could be asked, or asked again in time"


def _worth(fault: Fault, policy: RetryPolicy) -> str | None:
    """`here` (may be repeated on the same backend), `elsewhere` (another backend only) or None (the caller's to hear)."""
    status = fault.upstream_status
    if status is not None and status >= 400:
        if status in policy.fallback_on:
            return "elsewhere"
        if fault.kind in _ELSEWHERE or fault.code in MADE_ELSEWHERE:
            return "elsewhere"
        return "here" if status in policy.on else None
    if fault.kind in _ELSEWHERE:
        return "elsewhere"
    row = fault.row
    # No answer, or a fault inside a 200: judged as the status the caller would see, so that the operator's lists rule here too.
    return "here" if row.retryable and row.blame is Blame.UPSTREAM and row.status in policy.on else None
