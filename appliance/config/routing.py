"""The [[routes]] and [[experiments]] tables: which backends a requested model goes to, and how. See `schema` for the rule."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from appliance.config.caching import Cache
from appliance.config.knob import knob, required, table

Strategy = Literal["weighted", "priority", "round_robin", "least_latency", "least_busy", "cheapest"]


@attrs.frozen
class Target:
    """One choice of a route."""

    backend: str = required("a name under [backends]")
    model: str = knob("", "what to ask the backend for; default: the requested model")
    weight: int = knob(1, "share under `weighted`; 0 = never first under it, least_*, cheapest", low=0, high=1000000)
    label: str = knob("", "the `model` label in metrics, when the model id is not telling (Azure, Bedrock)")
    max_tokens: int | None = knob(None, "cap on the answer's length", unit="tokens", low=1, high=100000000)
    overrides: Mapping[str, Any] = knob(attrs.Factory(dict), "the backend's own fields; generationConfig, inferenceConfig by member")


@attrs.frozen
class Match:
    """What else must hold for a route."""

    headers: Mapping[str, str] = knob(attrs.Factory(dict), "request headers and globs over their values")
    paths: tuple[str, ...] = knob((), "globs over the request's path; default: any")
    tenants: tuple[str, ...] = knob((), "globs over the tenant's name; default: any")
    min_prompt_tokens: int = knob(0, "estimated prompt length, inclusive", unit="tokens", low=0)
    max_prompt_tokens: int | None = knob(None, "estimated prompt length, inclusive", unit="tokens", low=0)


@attrs.frozen
class Retry:
    """One budget of attempts and one of time, over retries and fallbacks together."""

    attempts: int = knob(3, "tries in all, over every target and fallback", low=1, high=20)
    backoff_s: float = knob(0.1, "before the first retry on the same backend; doubles, with jitter", unit="s", low=0, high=60)
    backoff_max_s: float = knob(2.0, "longest pause", unit="s", low=0, high=600)
    budget_s: float = knob(30.0, "no new attempt later than this after the request began", unit="s", low=0, high=3600)
    on: tuple[int, ...] = knob((408, 409, 429, 500, 502, 503, 504, 529), "upstream statuses worth another try")
    fallback_on: tuple[int, ...] = knob((401, 402, 403, 404), "next backend at once, no retry here")


@attrs.frozen
class Hedge:
    """A second attempt beside a slow first one, at another backend: who begins to answer first serves the request, the other is closed."""

    after_s: float = knob(0.0, "second attempt elsewhere when no answer began, or no whole one came; 0 = off", unit="s", low=0, high=600)
    percentile: float = knob(
        0.0, "or when it takes longer than so many of the route's latest (after_s at least); 0 = off", unit="%", low=0, high=99.9
    )
    samples_min: int = knob(50, "so many must be known for percentile; until then after_s alone counts", low=10, high=256)
    max_percent: float = knob(5.0, "requests asked twice, at most: a slow day must not double the traffic", unit="%", low=0.1, high=100)

    @property
    def on(self) -> bool:
        return self.after_s > 0 or self.percentile > 0


@attrs.frozen
class RouteLimits:
    """How much may go through a route."""

    rpm: int | None = knob(None, "requests per minute", low=1)
    tpm: int | None = knob(None, "tokens per minute", low=1)
    concurrency: int | None = knob(None, "requests at once", low=1)
    per: Literal["route", "user"] = knob("route", "one for all, or one for each user (X-User-ID, else user in the body, else the key)")


@attrs.frozen
class Route:
    """Which backends a requested model goes to. The first matching route wins."""

    name: str = required("unique; a label in metrics")
    models: tuple[str, ...] = knob(("*",), "globs over the requested model")
    match: Match = table(Match)
    strategy: Strategy = knob("weighted", "how the first target is chosen; the README has a table")
    targets: tuple[Target, ...] = required("at least one")
    fallback: tuple[Target, ...] = knob((), "asked in order when every target failed")
    retry: Retry = table(Retry)
    hedge: Hedge = table(Hedge)
    cache: Cache = table(Cache)
    limits: RouteLimits = table(RouteLimits)
    on_disconnect: Literal["cancel", "drain", "estimate"] = knob("cancel", "client left: close; read on; close and book the longest")
    keepalive_s: float = knob(15.0, "silence after which a waiting stream sends a keep-alive; 0 = off", unit="s", low=0, high=600)
    drain_max_s: float = knob(60.0, "with on_disconnect = drain: how long to read on after the client left", unit="s", low=0, high=3600)
    drain_max_tokens: int = knob(16384, "the same: how many further events of a stream", unit="tokens", low=0, high=100000000)

    @property
    def hedges(self) -> bool:
        """Whether there could be a second attempt at another backend."""
        return self.retry.attempts > 1 and len({one.backend for one in (*self.targets, *self.fallback)}) > 1


@attrs.frozen
class Experiment:
    """A share of users gets another target."""

    name: str = required("unique; a label in metrics")
    route: str = required("a route's name")
    control: Target = required("what most get")
    treatment: Target = required("what `percent` of the users get")
    percent: float = knob(0.0, "share of users; to a thousandth. Who has the treatment keeps it when this grows", unit="%", low=0, high=100)
    shadow: bool = knob(False, "those users get control's answer; the treatment gets a copy, its answer is thrown away")
