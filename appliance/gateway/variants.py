"""Experiments compiled: for each variant a routing plan of its own, made at load. A request's way through one is a look-up.

The rule: a variant's target takes the place of the route's targets, and the route's fallbacks stay behind it. A caller's own choice goes
first: who pins a backend takes part in no experiment, and neither does a request that goes on from an answer which another target made.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from appliance.config.routing import Experiment, Target
from appliance.core.experiment import CONTROL, TREATMENT, place_of, steps

if TYPE_CHECKING:
    from appliance.gateway.plan import Resolved, RoutePlan, TargetPlan


@attrs.frozen(eq=False)
class Assigned:
    """One variant of one experiment, as requests are assigned to it.

    Attributes:
        variant: whose target answers. why: the same in words, for `explain`.
        route: where its requests go.
        shadow: where a copy of each goes as well, whose answer is thrown away; None where none does.
        anywhere: the same route with every target that may have answered before: both variants' and the route's own.
    """

    experiment: str
    variant: str
    route: "RoutePlan"
    anywhere: "RoutePlan"
    shadow: "RoutePlan | None" = None
    why: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        copied = "; a copy goes to the treatment" if self.shadow is not None else ""
        object.__setattr__(self, "why", f"experiment {self.experiment}: only the target of its {self.variant}, and fallbacks{copied}")


@attrs.frozen(eq=False)
class ExperimentPlan:
    """One experiment on its route.

    Attributes:
        treated: how many of the places that users have get the treatment, see `core.experiment`.
    """

    name: str
    treated: int
    control: Assigned
    treatment: Assigned

    def assign(self, user: str) -> Assigned:
        """The variant of a user, always the same one."""
        return self.treatment if place_of(user, self.name) < self.treated else self.control

    def targets(self) -> "tuple[TargetPlan, ...]":
        return (*self.control.route.targets, *(self.treatment.shadow or self.treatment.route).targets)


def assigned(resolved: "Resolved", user: str) -> "Resolved":
    """The same request in the variant of its user; as it is where its route has no experiment."""
    experiment = resolved.route.experiment
    return resolved if experiment is None else resolved.within(experiment.assign(user))


def unassigned(resolved: "Resolved") -> "Resolved":
    """The same request outside of its experiment, free to go to whatever target may have answered before."""
    if resolved.assigned is None:
        return resolved
    return attrs.evolve(resolved, route=resolved.assigned.anywhere, assigned=None, narrowed=resolved.narrowed[:-1])


def with_experiments(
    routes: "Sequence[RoutePlan]", experiments: Sequence[Experiment], target: Callable[[Target], "TargetPlan"]
) -> "tuple[RoutePlan, ...]":
    """The routes, each with the experiment on it. A checked configuration has one at most."""
    by_route = {one.route: one for one in experiments}
    return tuple(
        attrs.evolve(route, experiment=_experiment(by_route[route.name], route, target)) if route.name in by_route else route
        for route in routes
    )


def _experiment(settings: Experiment, route: "RoutePlan", target: Callable[[Target], "TargetPlan"]) -> ExperimentPlan:
    own, tried = target(settings.control), target(settings.treatment)
    control, treatment = _only(route, own), _only(route, tried)
    anywhere = attrs.evolve(route, targets=(own, tried, *route.targets), weights=(1, 1, *route.weights), strategy="priority")
    untreated = Assigned(settings.name, CONTROL, control, anywhere)
    if settings.shadow:  # the caller gets control's answer, so that is what is said and counted
        copied = attrs.evolve(treatment, fallback=(), keepalive_s=0.0, on_disconnect="cancel", owed_tokens=0, claims=())
        treated = Assigned(settings.name, CONTROL, control, anywhere, copied)
    else:
        treated = Assigned(settings.name, TREATMENT, treatment, anywhere)
    return ExperimentPlan(settings.name, steps(settings.percent), untreated, treated)


def _only(route: "RoutePlan", target: "TargetPlan") -> "RoutePlan":
    return attrs.evolve(route, targets=(target,), weights=(1,))
