"""The composition root: runs every part under the root nursery and ends them in order. `composition` has built them.

    start    open sockets → build plan → serve (public listeners are vital) → services (supervised) → admin listener → systemd is told
    SIGHUP   load, validate, show the diff, swap one reference; a bad file changes nothing and says why
    SIGTERM  readiness 503 → notice → listeners close → requests finish → at drain_s what is left is cut → exit 0
    again    a second SIGTERM or SIGINT cuts at once
"""

import gc
import math
import os
import platform
import signal
from collections.abc import Callable
from functools import partial
from importlib import import_module

import attrs
import structlog
import trio

from appliance import __version__
from appliance.config.loader import Loaded, Problems
from appliance.config.masked import diff
from appliance.config.report import problem_text
from appliance.config.schema import Config
from appliance.core.renewal import Held
from appliance.dialects.language_table import load_all
from appliance.drain import Drain
from appliance.gateway.budget_alerts import BudgetAlerts
from appliance.gateway.budget_keeper import BudgetKeeper
from appliance.gateway.gateway import Gateway
from appliance.gateway.keeper import check_health, keep_breakers
from appliance.gateway.ledger_keeper import LedgerKeeper
from appliance.gateway.tenancy_keeper import TenancyKeeper
from appliance.gateway.upstream import Upstream, build_upstreams
from appliance.http1.traffic import Traffic
from appliance.notify import STOP_GRACE_S, Notifier, status_text
from appliance.providers.account import Grant, Trouble
from appliance.reload import NO_BACKEND, NO_FILE, compared, make_plan, needs_restart, warn
from appliance.server.admin import AdminApp, Comparison, ReloadResult
from appliance.server.listeners import Door, engine
from appliance.server.public import PublicApp
from appliance.server.refusal import render_admin_refusal
from appliance.server.view import View
from appliance.services import Services
from appliance.telemetry.loop_lag import watch_lag
from appliance.telemetry.sink import LineSink

FORMS = ("appliance.server.upload_body", "appliance.gateway.upload_attempt")
"""Modules that only requests with files need; they are loaded beside a gateway that already serves, like the languages."""

ADMIN_START_S = 5.0
"""How long READY=1 waits for the admin listener, which is not vital: the public ones serve."""

GC_YOUNG = 20_000
"""Objects between two collections of the youngest generation (Python's default: 700). At some 500 bytes each it delays freeing by 10 MB."""


@attrs.define(eq=False)
class Supervisor:
    """One run of the gateway.

    Attributes:
        reload_config: loads and checks the configuration anew; None where there is no file (the demo).
        doors: the public listeners, open; admin_door: the admin listener, open.
        traffic: what connections do together.
        keeper: of the usage ledger, which is started. tenants: of tenants and keys made at run time. alerts: of budgets.
        notifier: tells systemd; None where nobody wants to be told.
    """

    gateway: Gateway
    view: View
    sink: LineSink
    doors: list[Door]
    admin_door: Door
    reload_config: Callable[[], Loaded | Problems] | None
    log: structlog.typing.FilteringBoundLogger
    traffic: Traffic
    keeper: LedgerKeeper
    tenants: TenancyKeeper
    alerts: BudgetAlerts
    notifier: Notifier | None = None
    drain: Drain = attrs.field(init=False)
    _started_with: Config = attrs.field(init=False)
    _doors_open: int = 0
    _admin_serves: trio.Event = attrs.field(factory=trio.Event)
    _refused: str = ""
    _services: Services | None = None
    _reloading: trio.Lock = attrs.field(factory=trio.Lock)

    def __attrs_post_init__(self) -> None:
        self._started_with = self.gateway.plan.config
        self.drain = Drain(self.gateway, self.log, self._tell_stopping)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until a signal or `stop`. Raises what a vital part raises."""
        try:
            async with trio.open_nursery() as root:
                services_nursery = await root.start(_hold_nursery)
                self._services = Services(services_nursery, self.gateway.live.restarts, self.gateway.proxy.draw, self.log)
                await root.start(self._signals)
                async with trio.open_nursery() as vital:
                    for door in self.doors:
                        await vital.start(self._serve_door, door)
                    _settle_memory()
                    self._log_start()
                    self._start_services(self._services)
                    task_status.started()
                    await self.drain.run()
                    vital.cancel_scope.cancel()
                root.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self.gateway.close()
                await self.tenants.close()
                await self.gateway.traces.flush()
                await trio.to_thread.run_sync(self.keeper.ledger.close)
            self.traffic.arrivals.close()
            if self.notifier is not None:
                self.notifier.close()

    def stop(self) -> None:
        """Begin the drain, as SIGTERM does."""
        self.drain.ask("stop")

    async def _serve_door(self, door: Door, task_status: trio.TaskStatus[None]) -> None:
        app = PublicApp(self.gateway, self.view, self.tenants, door.loopback, self.view.refusals.enter)
        limits = self.gateway.plan.config.server.limits
        self._doors_open += 1
        server = engine(app, door, limits, self._on_error, self.view.refusals.enter, departures=self.traffic.departures)
        self.drain.engines.append(server)
        self.view.engines.append(server)
        await server.serve(door.sockets, task_status=task_status)
        self._doors_open -= 1
        if not self._doors_open:
            self.drain.doors_closed.set()

    def _start_services(self, services: Services) -> None:
        gateway = self.gateway
        services.start("admin", self._serve_admin)
        services.start("breakers", partial(keep_breakers, gateway))
        services.start("watch", gateway.proxy.watch)
        services.start("shadows", gateway.shadows.run)
        services.start("arrivals", self.traffic.arrivals.run)
        services.start("departures", self.traffic.departures.run)
        services.start("ledger", self.keeper.follow)
        if self.keeper.powered:
            services.start("ledger_sync", self.keeper.sync)
        services.start("tenants", self.tenants.run)
        services.start("budgets", BudgetKeeper(gateway.accounts.budgets, self.keeper.ledger, self.alerts).run)
        services.start("budget_alerts", self.alerts.run)
        services.start("languages", partial(_load_languages, gateway))
        services.start("loop_lag", partial(watch_lag, gateway.cells.loop_lag, trio.sleep, trio.current_time))
        services.start("retirement", gateway.retire)
        services.start("refusals", self.view.refusals.summarise)
        if self.notifier is not None:
            services.start("notify", partial(self._keep_telling, self.notifier))
            if self.notifier.watchdog_s:
                services.start("watchdog", self.notifier.keep_alive)
        self._sync_services(services)

    def _sync_services(self, services: Services) -> None:
        """Start what the plan in force needs and stop what it does not."""
        upstreams = self.gateway.plan.upstreams
        wanted = {f"pool:{name}:{id(upstream):x}" for name, upstream in upstreams.items()}
        accounts = {f"credentials:{name}:{id(one):x}": (name, one) for name, one in self.gateway.cloud_accounts().items()}
        for service, (name, account) in accounts.items():
            services.start(service, partial(account.keep, partial(self._note_credentials, name)), counted_as=f"credentials:{name}")
        if self.gateway.tracer is not None:  # it ends by itself when a reload turns traces off
            services.start("traces", self.gateway.traces.run)
        for name, upstream in upstreams.items():
            services.start(f"pool:{name}:{id(upstream):x}", upstream.transport.keep, counted_as=f"pool:{name}")
            if upstream.settings.health.mode == "active":
                services.start(f"health:{name}", partial(check_health, self.gateway, name, self.gateway.proxy.draw))
        for running in services.running():
            kind, _, _ = running.partition(":")
            if (kind == "pool" and running not in wanted) or (kind == "credentials" and running not in accounts):
                services.stop(running)

    async def _serve_admin(self) -> None:
        app = AdminApp(self.gateway, self.view, self.tenants, self.admin_door.loopback, self.reload, self.compare)
        limits = self.gateway.plan.config.server.limits
        server = engine(app, self.admin_door, limits, self._on_error, self.view.refusals.enter, render_admin_refusal)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, [sock.dup() for sock in self.admin_door.sockets])
            self._admin_serves.set()

    async def _keep_telling(self, notifier: Notifier) -> None:
        with trio.move_on_after(ADMIN_START_S):
            await self._admin_serves.wait()
        if not self.gateway.live.draining:
            notifier.ready(self._status())
        await notifier.keep_status(self._status)

    def _status(self) -> str:
        return status_text(self.gateway, self._refused)

    def _tell_stopping(self) -> None:
        if self.notifier is not None:
            server = self.gateway.plan.config.server
            self.notifier.stopping(self._status(), server.notice_s + server.drain_s + STOP_GRACE_S)

    def _note_credentials(self, backend: str, found: Grant | Trouble, held: Held) -> None:
        left_s = max(0, round(held.expires_at - trio.current_time())) if math.isfinite(held.expires_at) else None
        if isinstance(found, Grant):
            self.log.info("credentials_renewed", backend=backend, valid_s=left_s)
        else:
            held_s = left_s if held.usable(trio.current_time()) else 0
            self.log.error("credentials_failed", backend=backend, problem=found.words, failures=held.failures, still_valid_s=held_s)

    def _on_error(self, error: BaseException, scope: dict[str, object]) -> None:
        self.log.error("request_failed", path=str(scope.get("path", ""))[:200], method=scope.get("method"), exc_info=error)

    async def _signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    await self.reload()
                else:
                    self.drain.ask(signal.Signals(number).name)

    async def reload(self) -> ReloadResult:
        """Load the configuration anew and put it in force, whole or not at all. One at a time: the file that was read last wins."""
        async with self._reloading:
            notifier = None if self.gateway.live.draining else self.notifier
            if notifier is not None:
                notifier.reloading()
            try:
                result = await self._reload()
                self._refused = result.problems[0] if result.problems else ""
                return result
            finally:  # told of the one, systemd waits for the other
                if notifier is not None and not self.gateway.live.draining:
                    notifier.ready(self._status())

    async def compare(self) -> Comparison:
        """What a reload would do now. Nothing is put in force."""
        if self.reload_config is None:
            return Comparison(problems=(NO_FILE,))
        return compared(await trio.to_thread.run_sync(self.reload_config), self.gateway.plan.config, self._started_with)

    async def _reload(self) -> ReloadResult:
        live, gateway = self.gateway.live, self.gateway
        if self.reload_config is None:
            return ReloadResult(problems=(NO_FILE,))
        problems: tuple[str, ...] = ()
        upstreams: dict[str, Upstream] | list[str] = []
        loaded = await trio.to_thread.run_sync(self.reload_config)
        gc.collect()  # plans hold cycles, and a full collection hardly ever comes by itself (see _settle_memory): 5 ms with 1,000 records
        if isinstance(loaded, Problems):
            problems = tuple(problem_text(problem) for problem in loaded)
        elif gateway.plan.upstreams and not loaded.config.backends:
            problems = (NO_BACKEND,)
        else:
            upstreams = build_upstreams(loaded.config.backends, gateway.plan.upstreams, self.traffic)
            if isinstance(upstreams, list):
                problems = tuple(upstreams)
        if problems or isinstance(loaded, Problems) or not isinstance(upstreams, dict):
            live.reloads_failed += 1
            self.log.error("reload_refused", problems=list(problems), kept="the configuration that was in force")
            return ReloadResult(problems=problems)
        changes = tuple(str(change) for change in diff(gateway.plan.config, loaded.config))
        restart = needs_restart(gateway.plan.config, loaded.config)
        async with self.tenants.changing:
            tenancy = await self.tenants.under(loaded.config)
            plan = make_plan(loaded.config, upstreams, gateway.prices, gateway.unpriced, tenancy)
            gateway.swap(plan)
        self.tenants.say_problems()
        gateway.cells.configure(plan.served_models())
        live.reloads_ok += 1
        live.reloaded_at = gateway.wall_clock()
        if self._services is not None:
            self._sync_services(self._services)
        for text in restart:
            self.log.warning("needs_restart", setting=text)
        self.log.info("reloaded", changes=list(changes))
        warn(loaded, self.log)
        return ReloadResult(changes=changes)

    def _log_start(self) -> None:
        self.log.info(
            "started", version=__version__, python=platform.python_version(), pid=os.getpid(),
            listen=[address for door in self.doors for address in door.addresses], admin=self.admin_door.addresses,
            backends=list(self.gateway.plan.upstreams), routes=[route.name for route in self.gateway.plan.routes],
        )  # fmt: skip


async def _hold_nursery(task_status: trio.TaskStatus[trio.Nursery]) -> None:
    """A nursery that lives until it is cancelled."""
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


async def _load_languages(gateway: Gateway) -> None:
    """Service, done once: everything that a first request in some language would else have to wait for, and the prices of the vendors."""
    await trio.to_thread.run_sync(load_all)
    for module in FORMS:
        await trio.to_thread.run_sync(import_module, module)
    plan = gateway.plan
    sources = {upstream.provider.price_source for upstream in plan.upstreams.values()} - {""}
    await trio.to_thread.run_sync(plan.pricing.warm, sources, gateway.wall_clock())
    gc.freeze()


def _settle_memory() -> None:
    """What lives as long as the process is not looked at again by the garbage collector, and it runs less often: a request makes hundreds
    of short-lived objects and almost no cycles. Measured: a tenth of the CPU per request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG, 20, 50)
