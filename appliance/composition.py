"""The composition root's first half: every part of a run, built once from a checked configuration. `supervisor` runs what is built here.

The order matters: the store is taken before a socket is open, since whoever can connect is served.
"""

import os
import random
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from appliance.config.doors import Listener
from appliance.config.loader import Loaded, Problems
from appliance.config.schema import Config
from appliance.config.secret import Secret
from appliance.gateway.accounts import Accounts
from appliance.gateway.allowance import Allowances
from appliance.gateway.answers import Answers
from appliance.gateway.budget_alerts import BudgetAlerts
from appliance.gateway.budgets import Budgets
from appliance.gateway.cache import EmbeddedCache
from appliance.gateway.gateway import Gateway
from appliance.gateway.ledger_keeper import LedgerKeeper
from appliance.gateway.limits import EmbeddedLimiter
from appliance.gateway.live import Live
from appliance.gateway.pricing import Unpriced
from appliance.gateway.proxy import Proxy
from appliance.gateway.recording import RecordingRoom
from appliance.gateway.response_ids import ResponseIds
from appliance.gateway.shadows import Shadows
from appliance.gateway.tenancy import Tenancy, tenancy_of
from appliance.gateway.tenancy_keeper import TenancyKeeper
from appliance.gateway.trace_export import TraceExporter
from appliance.gateway.upstream import Upstream, build_upstreams
from appliance.http1.arrivals import Arrivals
from appliance.http1.departures import Departures
from appliance.http1.traffic import Traffic
from appliance.notify import open_notifier
from appliance.prices.table import PriceTable
from appliance.reload import make_plan, warn
from appliance.server.listeners import Door, open_door
from appliance.server.refusal_book import RefusalBook
from appliance.server.view import View
from appliance.store.embedded import EmbeddedLedger
from appliance.store.tenancy_reader import TenancyReader
from appliance.supervisor import Supervisor
from appliance.telemetry.access import AccessLog
from appliance.telemetry.cells import Cells
from appliance.telemetry.log import configure_logging
from appliance.telemetry.recent import Recent
from appliance.telemetry.sample import Sample
from appliance.telemetry.sink import LineSink


class StartFailure(Exception):
    """The gateway cannot start; each line says why. For the command line to print, never for a traceback."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = tuple(lines)


def build_supervisor(loaded: Loaded, reload_config: Callable[[], Loaded | Problems] | None, *, log_fd: int = 2) -> Supervisor:
    """Take the store, open the sockets and build every part. Raises StartFailure with every reason why that cannot be."""
    config = loaded.config
    sink = LineSink(log_fd)
    settings = config.telemetry.log
    configure_logging(sink, settings.format, settings.level, terminal=os.isatty(log_fd))
    log = structlog.get_logger()
    traffic = Traffic(Arrivals(), Departures(lambda bug: log.error("departure_failed", exc_info=bug)))
    upstreams = build_upstreams(config.backends, {}, traffic)
    keeper, failures = _start_ledger(config, log)
    keeper.ledger.defer = traffic.departures.before
    doors: list[Door] = []
    admin_door: Door | str = ""
    if not failures:  # only now: whoever can connect is served, and not by one of two gateways that share a store
        doors, failures = _open_doors(config.server.listen)
        admin_door = open_door(Listener(address=config.admin.listen), os.environ, os.getpid(), hypercorn_always=True)
    if isinstance(upstreams, list):
        failures += upstreams
    if isinstance(admin_door, str) and admin_door:
        failures.append(f"admin.listen: {admin_door}")
    if failures or isinstance(upstreams, list) or isinstance(admin_door, str):
        keeper.ledger.close()
        sink.close()
        raise StartFailure(failures)
    warn(loaded, log)
    reader = TenancyReader(Path(config.store.path))
    reader.look()
    gateway = _build_gateway(config, upstreams, sink, keeper, tenancy_of(config, reader.last))
    tenants = TenancyKeeper(gateway, reader, keeper.ledger.say)
    tenants.say_problems()
    alerts = _budget_alerts(gateway, keeper)
    view = View(gateway, sink, RefusalBook(log.info if settings.access else None, time.monotonic), alerts)
    return Supervisor(
        gateway=gateway, view=view, sink=sink, doors=doors, admin_door=admin_door, reload_config=reload_config, log=log,
        traffic=traffic, keeper=keeper, tenants=tenants, alerts=alerts,
        notifier=open_notifier(os.environ, os.getpid(), time.monotonic, log),
    )  # fmt: skip


def _start_ledger(config: Config, log: structlog.typing.FilteringBoundLogger) -> tuple[LedgerKeeper, list[str]]:
    """The ledger, with everything in it that an earlier run left in its journal: budgets need to know. And why it cannot be."""
    settings = config.store
    ledger = EmbeddedLedger(settings, time.time, lambda level, event, **fields: getattr(log, level)(event, **fields))
    keeper = LedgerKeeper(ledger, settings.commit_interval_s, settings.durability == "power")
    fault = ledger.start()
    if fault is None:
        return keeper, []
    hint = "; `appliance store check` says more" if fault.kind == "corrupt" else ""
    return keeper, [f"store.path: {fault.message}{hint}"]


def _open_doors(listeners: Sequence[Listener]) -> tuple[list[Door], list[str]]:
    doors: list[Door] = []
    failures: list[str] = []
    for place, listener in enumerate(listeners):
        door = open_door(listener, os.environ, os.getpid())
        if isinstance(door, str):
            failures.append(f"server.listen[{place}]: {door}")
        else:
            doors.append(door)
    return doors, failures


def _build_gateway(
    config: Config, upstreams: dict[str, Upstream], sink: LineSink, keeper: LedgerKeeper, tenancy: Tenancy
) -> Gateway:
    chance = random.Random()
    live = Live(reloaded_at=time.time(), started_wall=time.time(), responses=ResponseIds(config.server.responses_max))
    prices, unpriced = PriceTable(), Unpriced(_tell_unpriced)
    plan = make_plan(config, upstreams, prices, unpriced, tenancy)
    cells = Cells(config.telemetry.series_max, config.telemetry.users_max)
    cells.configure(plan.served_models())
    accounts, proxy = _accounts(config, keeper), Proxy(live, chance.random, config.server.drains_max)
    shadows = proxy.copies = Shadows(keeper.ledger, live, Proxy(Live(), chance.random), time.time)
    settings = config.telemetry.log
    access = AccessLog(sink, settings.format, settings.level).write if settings.access else lambda _: None
    return Gateway(
        plan=plan, live=live, prices=prices, unpriced=unpriced, proxy=proxy, cells=cells,
        recent=Recent(config.telemetry.recent_max), sample=_sample(config, keeper, chance.random), access=access,
        accounts=accounts, answers=_answers(config, accounts, proxy), shadows=shadows, wall_clock=time.time,
        traces=TraceExporter(str(uuid.uuid4()), keeper.ledger.say, time.time, chance.random), bits=chance.getrandbits,
    )  # fmt: skip


def _sample(config: Config, keeper: LedgerKeeper, draw: Callable[[], float]) -> Sample | None:
    settings = config.store.explain
    if not settings.keep:
        return None
    return Sample(settings.sample, settings.errors_per_minute, draw, keeper.ledger.explanations.keep)


def _accounts(config: Config, keeper: LedgerKeeper) -> Accounts:
    allowances = Allowances(EmbeddedLimiter(config.limits.users_max), config.limits.answer_tokens_max)
    budgets = Budgets(config.budgets.answer_tokens_max, config.store.on_failure == "refuse", time.time)
    return Accounts(keeper.ledger, allowances, budgets, keeper if keeper.powered else None)


def _answers(config: Config, accounts: Accounts, proxy: Proxy) -> Answers:
    settings = config.cache
    answers = Answers(accounts, proxy, EmbeddedCache(0, settings.compared_max), settings.entry_max_bytes, settings.wait_s, RecordingRoom(0))
    answers.fit(settings)
    return answers


def _budget_alerts(gateway: Gateway, keeper: LedgerKeeper) -> BudgetAlerts:
    """Who tells of budgets; they tell it from now on."""

    def webhook() -> Secret | None:
        found = gateway.plan.config.alerts.webhook
        return None if found is None else found.url

    ledger = keeper.ledger
    alerts = BudgetAlerts(Path(ledger.settings.path), webhook, ledger.say, time.time, gateway.proxy.draw)
    gateway.accounts.budgets.tell = alerts.tell
    return alerts


def _tell_unpriced(backend: str, model: str, policy: str) -> None:
    counted = {"refuse": "refused", "zero": "counted as free", "estimate": "counted at the median of its vendor's models"}[policy]
    structlog.get_logger().warning("model_without_price", backend=backend, model=model, requests=counted, setting="prices.models")
