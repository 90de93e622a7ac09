"""What putting a configuration in force needs, at the start and at each reload: its plan, and what has to be said of it."""

import structlog

from appliance.config.loader import Loaded, Problems
from appliance.config.masked import diff
from appliance.config.report import problem_text
from appliance.config.schema import Config
from appliance.gateway.plan import Plan
from appliance.gateway.plan_build import build_plan
from appliance.gateway.pricing import Unpriced, make_pricing
from appliance.gateway.tenancy import Tenancy
from appliance.gateway.upstream import Upstream, missing_key
from appliance.prices.table import PriceTable
from appliance.server.admin import Comparison

NO_FILE = "this gateway was started without a configuration file"
NO_BACKEND = "the file names no backend, and one is in force: it was read while being written, or lost its text"


def make_plan(config: Config, upstreams: dict[str, Upstream], prices: PriceTable, unpriced: Unpriced, tenancy: Tenancy) -> Plan:
    """The plan of a checked configuration."""
    return build_plan(config, upstreams, make_pricing(config.prices, prices, unpriced), tenancy)


def warn(loaded: Loaded, log: structlog.typing.FilteringBoundLogger) -> None:
    """Say what an operator must not believe in: doubts of the checker, and backends that have no key."""
    for warning in loaded.warnings:
        log.warning("config_warning", problem=problem_text(warning))
    for name, settings in loaded.config.backends.items():
        if missing_key(settings):
            log.warning("config_warning", problem=f"backends.{name} has no api_key, and {settings.provider} answers nobody without one")


def needs_restart(old: Config, new: Config) -> list[str]:
    """Settings that a reload cannot bring into force."""
    pairs = {
        "server.listen": (old.server.listen, new.server.listen),
        "server.limits": (old.server.limits, new.server.limits),
        "admin.listen": (old.admin.listen, new.admin.listen),
        "store": (old.store, new.store),
        "telemetry.log": (old.telemetry.log, new.telemetry.log),
        "telemetry.series_max": (old.telemetry.series_max, new.telemetry.series_max),
        "telemetry.users_max": (old.telemetry.users_max, new.telemetry.users_max),
        "telemetry.recent_max": (old.telemetry.recent_max, new.telemetry.recent_max),
    }
    return [name for name, (before, after) in pairs.items() if before != after]


def compared(found: Loaded | Problems, in_force: Config, started_with: Config) -> Comparison:
    """What putting a configuration in force would change, in words, secrets masked. Accounts of clouds are only looked at by a reload."""
    if isinstance(found, Problems):
        return Comparison(problems=tuple(problem_text(problem) for problem in found))
    if in_force.backends and not found.config.backends:
        return Comparison(problems=(NO_BACKEND,))
    changes = tuple(str(change) for change in diff(in_force, found.config))
    return Comparison(changes, needs_restart=tuple(needs_restart(started_with, found.config)))
