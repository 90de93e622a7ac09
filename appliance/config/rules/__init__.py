"""What must hold between settings, after each of them is sound by itself.

One rule: a rule is a generator over a `Scene` that yields findings and never raises; what only follows from a value that was refused
already is not told again.
"""

from collections.abc import Iterator

from appliance.config.problem import Finding
from appliance.config.rules import doors, routing, telemetry, tenancy, upstreams
from appliance.config.rules.scene import Scene

__all__ = ["Scene", "check"]

RULES = (*doors.RULES, *upstreams.RULES, *routing.RULES, *tenancy.RULES, *telemetry.RULES)


def check(scene: Scene) -> list[Finding]:
    return list(_told(scene))


def _told(scene: Scene) -> Iterator[Finding]:
    for rule in RULES:
        for finding in rule(scene):
            if not scene.doubts(finding.steps):
                yield finding
