"""Warnings of budgets: to the log and the metrics at once, to the store so that a restart repeats none, to the operator's webhook.

The rule: no request waits for any of it. Deliveries wait in a bounded queue and are tried again with growing pauses; one that is given up,
or was under way when the process ended, is tried again after the next start. The webhook's URL is a secret and stands in no line.
"""

import json
import ssl
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import ModuleType

import attrs
import trio

from appliance.config.secret import Secret
from appliance.core.budget import NEVER, Period, Terms, Warned
from appliance.core.price import NUSD
from appliance.gateway.ceilings import holder_of, zone_name
from appliance.gateway.trust import BadTrust, upstream_tls
from appliance.store.fault import StoreFault
from appliance.store.spending import GivenWarning, note_warning
from appliance.store.writer import Say

QUEUE_MAX = 1_000
"""Warnings that wait for their delivery; more are dropped, counted, and tried again after the next start."""

COUNTED_MAX = 1_000
"""Counts in the metrics; those of further tenants are `other`'s."""

TRIES_MAX = 8
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 60.0
"""Between two tries: doubled each time, some two minutes in all."""

POST_S = 10.0
"""One try, all of its steps together."""

FINAL = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})
"""Answers to which asking again changes nothing."""


@attrs.frozen
class Alert:
    """One warning on its way. id: the same for each try, so that a receiver can tell repetitions."""

    warning: GivenWarning
    terms: Terms
    end: int | None
    at: float

    @property
    def id(self) -> str:
        one = self.warning
        return f"{one.scope}:{one.period_start}:{one.percent}:{one.ceiling_nusd}"


@attrs.define(eq=False)
class BudgetAlerts:
    """Attributes:
    path: of the store. webhook: where warnings are posted now; None for nowhere.
    draw: the source of chance, in [0, 1).
    given: warnings by tenant, scope (tenant, key) and percent; posted: by what became of them (sent, failed, dropped); in this process.
    """

    path: Path
    webhook: Callable[[], Secret | None]
    say: Say
    wall_clock: Callable[[], float]
    draw: Callable[[], float]
    given: dict[tuple[str, str, str], int] = attrs.field(factory=dict)
    posted: dict[str, int] = attrs.field(factory=lambda: {"sent": 0, "failed": 0, "dropped": 0})
    _queue: deque[Alert] = attrs.field(factory=deque, repr=False)
    _queued: set[str] = attrs.field(factory=set)
    _wake: trio.Event = attrs.field(factory=trio.Event)

    def tell(self, warned: Warned, terms: Terms) -> None:
        """A threshold was crossed just now."""
        holder, now = holder_of(warned.scope), self.wall_clock()
        warning = GivenWarning(warned.scope, warned.period.start, warned.percent, warned.ceiling_nusd, warned.spent_nusd)
        alert = Alert(warning, terms, _end(warned.period), now)
        key = (holder.tenant, "key" if holder.key else "tenant", str(warned.percent))
        if key not in self.given and len(self.given) >= COUNTED_MAX:
            key = ("other", *key[1:])
        self.given[key] = self.given.get(key, 0) + 1
        self.say("warning", "budget_threshold", **_figures(alert))
        self._put(alert)

    def tell_again(self, warning: GivenWarning, terms: Terms, period: Period) -> None:
        """An earlier run has told of it, and not delivered it."""
        self._put(Alert(warning, terms, _end(period), self.wall_clock()))

    async def run(self) -> None:
        """Service: write down and deliver, one after another."""
        while True:
            while self._queue:
                alert = self._queue[0]
                await self._handle(alert)
                self._queue.popleft()
                self._queued.discard(alert.id)
            self._wake = trio.Event()
            await self._wake.wait()

    def _put(self, alert: Alert) -> None:
        if alert.id in self._queued:
            return
        if len(self._queue) >= QUEUE_MAX:
            self.posted["dropped"] += 1
            return
        self._queue.append(alert)
        self._queued.add(alert.id)
        self._wake.set()

    async def _handle(self, alert: Alert) -> None:
        """Written down first: a kill in the middle of a delivery repeats that, and not the warning."""
        await self._note(alert.warning)
        for tried in range(TRIES_MAX):
            url = self.webhook()
            if url is None:
                await self._note(attrs.evolve(alert.warning, delivered=True))
                return
            problem = await self._post(url.reveal(), alert)
            if not problem:
                self.posted["sent"] += 1
                await self._note(attrs.evolve(alert.warning, delivered=True))
                return
            final = problem.isdecimal() and int(problem) in FINAL
            last = final or tried + 1 == TRIES_MAX
            pause_s = min(PAUSE_MAX_S, PAUSE_MIN_S * 2**tried) * (0.5 + self.draw() / 2)
            more = {} if last else {"again_in_s": round(pause_s, 1)}
            self.say("error" if last else "warning", "budget_webhook_failed", alert=alert.id, problem=problem, tries=tried + 1, **more)
            if last:
                break
            await trio.sleep(pause_s)
        self.posted["failed"] += 1

    async def _note(self, warning: GivenWarning) -> None:
        fault = await trio.to_thread.run_sync(note_warning, self.path, warning, self.wall_clock())
        if isinstance(fault, StoreFault):  # told again after a restart: rather twice than never
            self.say("error", "budget_warning_not_stored", problem=fault.message)

    async def _post(self, url: str, alert: Alert) -> str:
        """One try. What went wrong: an HTTP status, or an exception's name; empty when it was taken."""
        module = await trio.to_thread.run_sync(_httpx)
        verify: ssl.SSLContext | bool = False
        if url.lower().startswith("https:"):
            context = await trio.to_thread.run_sync(upstream_tls, "certifi")
            if isinstance(context, BadTrust):
                return "no root certificates"
            verify = context
        client = partial(module.AsyncClient, verify=verify, timeout=POST_S, trust_env=False)
        headers = {"content-type": "application/json", "user-agent": "appliance", "idempotency-key": alert.id}
        problem = "timeout"
        with trio.move_on_after(POST_S):
            try:
                async with client() as asking, asking.stream("POST", url, headers=headers, content=payload(alert)) as answer:
                    problem = "" if 200 <= answer.status_code < 300 else str(answer.status_code)
            except (module.HTTPError, module.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
                problem = type(error).__name__  # its text may hold the URL
        return problem


def payload(alert: Alert) -> bytes:
    """The webhook's body, JSON; the README lists it."""
    return json.dumps({"event": "budget_threshold", "id": alert.id, **_figures(alert)}).encode()


def _figures(alert: Alert) -> dict[str, object]:
    one, terms, holder = alert.warning, alert.terms, holder_of(alert.warning.scope)
    return {
        "time": datetime.fromtimestamp(alert.at, UTC).isoformat(timespec="seconds"), "tenant": holder.tenant, "key": holder.key or None,
        "threshold_percent": one.percent, "budget_usd": one.ceiling_nusd / NUSD, "spent_usd": one.spent_nusd / NUSD,
        "period": terms.kind, "timezone": zone_name(terms), "on_exceeded": "refuse" if terms.refuses else "warn",
        "period_start": _moment(one.period_start, terms) if one.period_start else None,
        "period_end": None if alert.end is None else _moment(alert.end, terms),
    }  # fmt: skip


def _moment(second: int, terms: Terms) -> str:
    return datetime.fromtimestamp(second, terms.zone).isoformat()


def _end(period: Period) -> int | None:
    return None if period.end == NEVER else period.end


def _httpx() -> ModuleType:
    """Imported in a thread at the first delivery: it takes a tenth of a second, and most gateways never need it."""
    import httpx

    return httpx
