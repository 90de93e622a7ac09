"""In which order a route's targets are asked: from the plan and what is live, through the strategies of core.choice.

The rule: this only looks. Whoever asks a target says so where it is asked (see attempt), so that an order that was made and not used leaves
no trace.
"""

from collections.abc import Callable, Sequence

from appliance.core.choice import Prospect, cheapest_order, least_busy_order, least_latency_order, rotated_order, weighted_order
from appliance.core.price import NUSD, cost_nusd, estimate_nusd
from appliance.core.usage import Usage
from appliance.gateway.allowance import choices
from appliance.gateway.billed import ANSWERING
from appliance.gateway.call import Call
from appliance.gateway.foreseen import made_of, modal, prompt_of
from appliance.gateway.plan import RoutePlan, TargetPlan

ANSWER_TOKENS = 500
"""Expected of an answer before one was seen: a few paragraphs."""

Seen = tuple[str, Sequence[float | None]]
"""What a strategy went by, with its unit, and a figure for each of the route's targets; None where nothing is known."""


def ordered(
    route: RoutePlan, call: Call, model: str, now: float, draw: Callable[[], float], turn: Callable[[str], int]
) -> tuple[Sequence[TargetPlan], Seen | None]:
    """A route's targets in the order they are to be asked, fallbacks last.

    Args:
        model: the requested name after aliases.
        draw: chance in [0, 1). turn: counts round robin, by route.
    """
    targets, seen = route.targets, None
    if len(targets) > 1 and route.strategy != "priority":
        match route.strategy:
            case "weighted":
                places = weighted_order(route.weights, draw())
            case "round_robin":
                places = rotated_order(len(targets), turn(route.name))
            case "cheapest":
                costs = _costs(route, call, model)
                places = cheapest_order(route.weights, costs, draw())
                seen = "expected cost (USD)", [None if nusd is None else nusd / NUSD for nusd in costs]
            case strategy:
                prospects = _prospects(route, call, model, now)
                if strategy == "least_busy":
                    places = least_busy_order(prospects, draw(), draw())
                    seen = "load: requests in flight and this one, times s to a first byte", [
                        one.wait_s * (one.in_flight + 1) or None for one in prospects
                    ]
                else:
                    places = least_latency_order(prospects, draw())
                    seen = "expected time to a first byte (s)", [one.wait_s or None for one in prospects]
        targets = tuple(targets[place] for place in places)
    return (*targets, *route.fallback) if route.fallback else targets, seen


def _prospects(route: RoutePlan, call: Call, model: str, now: float) -> list[Prospect]:
    spared, stream, found = any(route.weights), call.parsed.stream, []
    for target in route.targets:
        state = target.upstream.state
        pace = state.pace(target.model or model, stream)
        ready = (not spared or target.weight > 0) and state.available(now)
        found.append(Prospect(ready, pace.expected_s(now), pace.waiting, state.in_flight, now - pace.tried_at))
    return found


def _costs(route: RoutePlan, call: Call, model: str) -> list[int | None]:
    """What each target's answer is likely to cost, in nano-USD; None without a price: nobody knows that it is cheap.

    An answer is expected to be as long as that model's have been lately; one that has not been asked writes as much as the others do.
    """
    parsed, record, prompt = call.parsed, call.record, prompt_of(call)
    lengths: list[float] = []
    if parsed.operation in ANSWERING:
        lengths = [one.upstream.state.pace(one.model or model, parsed.stream).answer_tokens for one in route.targets]
    known = [length for length in lengths if length]
    usual = sum(known) / len(known) if known else float(ANSWER_TOKENS)
    costs: list[int | None] = []
    for place, target in enumerate(route.targets):
        priced = call.pricing.quote(target, target.model or model, record.requested_model, record.wall_time)
        if priced.basis == "zero":
            costs.append(None)
        elif lengths and not modal(parsed):
            answer = _bounded(round(lengths[place] or usual), call, target)
            costs.append(cost_nusd(priced.price, Usage(prompt, answer)))
        else:
            answer = _bounded(round(lengths[place] or usual), call, target) if lengths else made_of(parsed, prompt, ANSWER_TOKENS)
            costs.append(estimate_nusd(priced.price, prompt, answer, every_kind=True))
    return costs


def _bounded(answer: int, call: Call, target: TargetPlan) -> int:
    """An answer is no longer than the caller and the target let it become."""
    bounds = [most for most in (call.parsed.max_tokens, target.max_tokens) if most is not None]
    return min(answer, max(0, min(bounds)) * choices(call.parsed)) if bounds else answer
