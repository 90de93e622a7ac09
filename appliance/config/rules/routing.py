"""Rules about aliases, routes, targets and experiments: that names meet, and that nothing is written that can never happen."""

from collections.abc import Iterator, Mapping
from datetime import date, time

from appliance.config.leaves import INTEGER_MAX, named
from appliance.config.problem import Finding, Steps, meant, quoted, written
from appliance.config.routing import Route, Target
from appliance.config.rules.scene import HEADER_NAME, Rule, Scene, ill_globs, ill_named
from appliance.core.experiment import steps as steps_of
from appliance.core.glob import compile_globs


def names(scene: Scene) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, route in enumerate(scene.config.routes):
        yield from ill_named(route.name, ("routes", index, "name"), "a route's name")
        yield from _twice(route.name, index, seen, "routes", "name")
    seen = {}
    for index, experiment in enumerate(scene.config.experiments):
        yield from ill_named(experiment.name, ("experiments", index, "name"), "an experiment's name")
        yield from _twice(experiment.name, index, seen, "experiments", "name")


def _twice(name: str, index: int, seen: dict[str, int], array: str, key: str) -> Iterator[Finding]:
    if name in seen:
        yield Finding((array, index, key), f"{quoted(name)} is taken by {written((array, seen[name], key))}", "a name of its own")
    seen.setdefault(name, index)


def targets(scene: Scene) -> Iterator[Finding]:
    for index, route in enumerate(scene.config.routes):
        for key, group in (("targets", route.targets), ("fallback", route.fallback)):
            for place, target in enumerate(group):
                yield from _target(scene, target, ("routes", index, key, place))
        if not route.targets:
            yield Finding(("routes", index, "targets"), "is empty", "at least one target")
        elif route.strategy != "priority" and not any(target.weight for target in route.targets):
            # a target whose weight was refused counts as its default here, so it does not lead to this
            yield Finding(("routes", index, "targets"), "all weights are 0, so none can be chosen", "at least one weight above 0")


def _target(scene: Scene, target: Target, steps: Steps) -> Iterator[Finding]:
    backends = scene.config.backends
    if target.backend not in backends and not scene.doubts(("backends",)):
        expected = "one of " + ", ".join(quoted(name) for name in backends) if backends else "a table under [backends]"
        yield Finding((*steps, "backend"), f"{quoted(target.backend)} is no backend", expected, meant(target.backend, backends))
    for key, value in target.overrides.items():
        at = (*steps, "overrides", key)
        if key in ("model", "stream"):
            yield Finding(at, "cannot be overridden", "the target's own model" if key == "model" else "the caller's choice")
        yield from _not_json(value, at)


def _not_json(value: object, steps: Steps) -> Iterator[Finding]:
    """Overrides go into a JSON body, where dates, NaN, infinities and integers past 64 bits have no form."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from _not_json(inner, (*steps, key))
        case list():
            for index, inner in enumerate(value):
                yield from _not_json(inner, (*steps, index))
        case date() | time():
            yield Finding(steps, f"is {named(value)}, which JSON has not", "a string, number, boolean, array or table")
        case int() | float():
            if not -INTEGER_MAX <= value <= INTEGER_MAX and not (isinstance(value, float) and abs(value) < float("inf")):
                yield Finding(steps, "is a number that JSON cannot carry", "a finite number")


def matches(scene: Scene) -> Iterator[Finding]:
    for index, route in enumerate(scene.config.routes):
        yield from ill_globs(route.models, ("routes", index, "models"))
        match = route.match
        if match.paths:
            yield from ill_globs(match.paths, ("routes", index, "match", "paths"))
            for place, glob in enumerate(match.paths):
                if glob and glob[0] not in "/*?":
                    yield Finding(("routes", index, "match", "paths", place), f"{quoted(glob)} matches no path", 'like "/v1/embeddings"')
        if match.tenants:
            yield from ill_globs(match.tenants, ("routes", index, "match", "tenants"))
        for header, pattern in match.headers.items():
            if not HEADER_NAME.fullmatch(header):
                yield Finding(("routes", index, "match", "headers", header), "is no header name", "letters, digits and - . _")
            yield from ill_globs((pattern,), ("routes", index, "match", "headers", header))
        if match.max_prompt_tokens is not None and match.max_prompt_tokens < match.min_prompt_tokens:
            expected = f"at least min_prompt_tokens ({match.min_prompt_tokens})"
            yield Finding(("routes", index, "match", "max_prompt_tokens"), f"is {match.max_prompt_tokens}, so nothing matches", expected)


def retries(scene: Scene) -> Iterator[Finding]:
    for index, route in enumerate(scene.config.routes):
        for key, statuses in (("on", route.retry.on), ("fallback_on", route.retry.fallback_on)):
            for place, status in enumerate(statuses):
                if not 400 <= status <= 599:
                    yield Finding(("routes", index, "retry", key, place), f"{status} is no error status", "a status between 400 and 599")
        both = sorted(set(route.retry.on) & set(route.retry.fallback_on))
        if both:
            message = f"{', '.join(map(str, both))} also in retry.on; another backend is asked at once"
            yield Finding(("routes", index, "retry", "fallback_on"), message, "each status in one of the two", grave=False)


def hedges(scene: Scene) -> Iterator[Finding]:
    for index, route in enumerate(scene.config.routes):
        if route.hedge.on and not route.hedges and not scene.doubts(("routes", index)):
            message = "makes no second attempt: there is one backend only, or retry.attempts is 1"
            yield Finding(("routes", index, "hedge"), message, "another backend in targets or fallback", grave=False)


def reachability(scene: Scene) -> Iterator[Finding]:
    """A route that an earlier one hides is never taken; so is a glob for a name that an alias replaces first."""
    for index, route in enumerate(scene.config.routes):
        for earlier in scene.config.routes[:index]:
            if _hides(earlier, route):
                message = f"is never reached: {quoted(earlier.name)} comes before it and matches all it matches"
                yield Finding(("routes", index), message, "the narrower route first", grave=False)
                break
        for place, pattern in enumerate(route.models):
            if pattern in scene.config.aliases:
                message = f"{quoted(pattern)} is an alias, which is replaced before routes are looked at"
                yield Finding(("routes", index, "models", place), message, "what the alias stands for", grave=False)


def _hides(earlier: Route, later: Route) -> bool:
    match = earlier.match
    if match.headers or match.min_prompt_tokens > 0 or match.max_prompt_tokens is not None or match.paths or match.tenants:
        return False
    return all(any(_covers(wide, narrow) for wide in earlier.models) for narrow in later.models)


def _covers(wide: str, narrow: str) -> bool:
    """Whether every name of one glob is a name of another. May miss some pairs of two wild globs; never claims one that is not so.

    Where `narrow` is wild, its `*` and `?` are matched as if they were letters, which only a `*` or `?` of `wide` can do.
    """
    return compile_globs([wide])(narrow) and not ("*" in narrow and "?" in wide)


def caches(scene: Scene) -> Iterator[Finding]:
    backends = scene.config.backends
    for index, route in enumerate(scene.config.routes):
        semantic, steps = route.cache.semantic, ("routes", index, "cache", "semantic")
        if semantic is None:
            continue
        if semantic.backend not in backends and not scene.doubts(("backends",)):
            expected = "one of " + ", ".join(quoted(name) for name in backends) if backends else "a table under [backends]"
            yield Finding((*steps, "backend"), f"{quoted(semantic.backend)} is no backend", expected, meant(semantic.backend, backends))
        if not semantic.model:
            yield Finding((*steps, "model"), "is empty", "an embedding model's name")
        if not route.cache.ttl_s and not scene.doubts(("routes", index, "cache", "ttl_s")):
            yield Finding(steps, "has no effect: cache.ttl_s is 0, so no answer is kept", "a ttl_s above 0", grave=False)


def aliases(scene: Scene) -> Iterator[Finding]:
    table = scene.config.aliases
    for name, model in table.items():
        if not name or not model:
            yield Finding(("aliases", name), "is empty", "a model's name")
        elif (circle := _circle(table, name)) and circle[0] == min(circle):
            way = " → ".join(quoted(each) for each in [*circle, name])
            yield Finding(("aliases", name), f"leads back to itself: {way}", "a model's name")


def _circle(table: Mapping[str, str], name: str) -> list[str]:
    """The aliases passed on the way from `name` back to it; empty when the way ends elsewhere."""
    way = [name]
    passed = {name}
    while (following := table.get(way[-1])) is not None and following not in passed:
        way.append(following)
        passed.add(following)
    return way if following == name else []


def experiments(scene: Scene) -> Iterator[Finding]:
    routes = [route.name for route in scene.config.routes]
    taken: dict[str, int] = {}
    for index, experiment in enumerate(scene.config.experiments):
        if experiment.route not in routes and not scene.doubts(("routes",)):
            message = f"{quoted(experiment.route)} is no route"
            yield Finding(("experiments", index, "route"), message, "the name of a route", meant(experiment.route, routes))
        elif experiment.route in taken:
            message = f"{quoted(experiment.route)} has the experiment {written(('experiments', taken[experiment.route]))} already"
            yield Finding(("experiments", index, "route"), message, "one experiment on a route at a time")
        taken.setdefault(experiment.route, index)
        if experiment.percent and not steps_of(experiment.percent):
            yield Finding(("experiments", index, "percent"), "has no effect: it is less than a thousandth", "0.001 or more", grave=False)
        yield from _target(scene, experiment.control, ("experiments", index, "control"))
        yield from _target(scene, experiment.treatment, ("experiments", index, "treatment"))


RULES: tuple[Rule, ...] = (names, targets, matches, retries, hedges, reachability, caches, aliases, experiments)
