"""Where a request may go that goes on from a response (`previous_response_id`).

The rule: to the backend that made the response and to no other, as none has it. Where that is not known (after a restart, or since the
response is old), to those that speak the Responses API, as the route says; one that does not know the response is followed by the next.
"""

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.gateway.plan import Resolved, RoutePlan, TargetPlan
from appliance.gateway.response_ids import FIELD

LANGUAGE = "openai_responses"


def following(resolved: Resolved, maker: str | None) -> Resolved | Fault:
    """Where a request that goes on from a response may go: to its maker, or to all that could be it."""
    route = resolved.route
    speaking = [one for one in (*route.targets, *route.fallback) if _speaks(one, resolved.model)]
    if maker is None:
        if not speaking:
            return _refused("names a stored response, and no backend of this model speaks the Responses API: send the whole conversation")
        return _only(resolved, route, speaking, f"{FIELD}: nobody knows any more who made it; only who speaks the Responses API")
    made = [one for one in speaking if one.upstream.name == maker]
    if not made:
        why = f"names a response that the backend {maker} made, where this model's route does not lead: send the whole conversation"
        return _refused(why)
    return _only(resolved, route, made, f"{FIELD}: only {maker}, which made it")


def _speaks(target: TargetPlan, model: str) -> bool:
    return target.upstream.language(LANGUAGE, target.model or model) == LANGUAGE


def _only(resolved: Resolved, route: RoutePlan, some: list[TargetPlan], why: str) -> Resolved:
    """The same route without the others; what is left of its targets and its fallbacks stays in order."""
    targets = tuple(one for one in route.targets if one in some)
    fallback = tuple(one for one in route.fallback if one in some)
    if not targets:
        targets, fallback = fallback, ()
    narrowed = attrs.evolve(route, targets=targets, fallback=fallback, weights=tuple(one.weight for one in targets))
    return attrs.evolve(resolved, route=narrowed, narrowed=(*resolved.narrowed, why))


def _refused(why: str) -> Fault:
    return Fault(FaultKind.BAD_REQUEST, f"{FIELD} {why}", FIELD)
