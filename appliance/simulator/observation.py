"""What the simulator saw, for whoever has to prove what an upstream saw: requests, bytes, tokens billed, clients that left.

The rule: bounded in requests, in bytes and in names, and no credential is kept: a secret is remembered by the start of its SHA-256,
enough to tell two keys apart.
"""

import hashlib
import re
from collections import deque

import attrs

from appliance.simulator.request import Request
from appliance.simulator.settings import Settings

SECRET_HEADERS = (b"authorization", b"proxy-authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie")
SECRET_PARAMETERS = re.compile(rb"((?:^|&)(?:key|api_key|api-key|access_token)=)([^&]*)", re.IGNORECASE)
OTHER = "other"


@attrs.define(eq=False)
class Observed:
    """One request. Times are `time.monotonic()` seconds (one clock for all processes of a machine) beside Unix time.

    Attributes:
        status: of the planned answer; 0 where a fault sends no head.
        outcome: "running", then "complete", "fault" (ended as a fault asked), "client_gone", "slow_reader", "shutdown" or "error".
        disconnected_monotonic_s: when the client was noticed to be gone.
        body: its first log_body_max_bytes; None once it was dropped to keep the whole log small.
    """

    number: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None = attrs.field(repr=False)
    body_bytes: int
    body_sha256: str
    client: str
    started_monotonic_s: float
    started_s: float
    model: str = ""
    faults: tuple[str, ...] = ()
    status: int = 0
    pieces_sent: int = 0
    bytes_sent: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    outcome: str = "running"
    ended_monotonic_s: float | None = None
    disconnected_monotonic_s: float | None = None
    disconnected_s: float | None = None


@attrs.define(eq=False)
class Observations:
    """Counters since the start or the last `reset`, and the last requests.

    Attributes:
        tokens: bare model → [requests, prompt tokens, completion tokens]; names past counters_max count as "other".
        faults: fault kind → how often it was applied.
    """

    settings: Settings
    requests_total: int = 0
    in_flight: int = 0
    disconnects: int = 0
    tokens: dict[str, list[int]] = attrs.field(factory=dict)
    faults: dict[str, int] = attrs.field(factory=dict)
    log: deque[Observed] = attrs.field(factory=deque)
    _number: int = 0
    _with_body: deque[Observed] = attrs.field(factory=deque)
    _body_bytes: int = 0

    def begin(self, request: Request, client: str, monotonic_s: float, wall_s: float) -> Observed:
        settings = self.settings
        self._number += 1
        self.requests_total += 1
        self.in_flight += 1
        query = SECRET_PARAMETERS.sub(lambda m: m[1] + masked(m[2]).encode(), request.query).decode("latin-1")
        seen = Observed(
            number=self._number,
            method=request.method,
            path=f"{request.path}?{query}" if query else request.path,
            headers=tuple((n.decode("latin-1"), shown(n, v)) for n, v in request.headers),
            body=request.body[: settings.log_body_max_bytes],
            body_bytes=len(request.body),
            body_sha256=hashlib.sha256(request.body).hexdigest(),
            client=client,
            started_monotonic_s=monotonic_s,
            started_s=wall_s,
        )
        self.log.append(seen)
        while len(self.log) > settings.log_requests_max:
            self.log.popleft()
        self._keep_body(seen)
        return seen

    def _keep_body(self, seen: Observed) -> None:
        self._with_body.append(seen)
        self._body_bytes += len(seen.body or b"")
        while self._with_body and (self._body_bytes > self.settings.log_bytes_max or len(self._with_body) > self.settings.log_requests_max):
            oldest = self._with_body.popleft()
            self._body_bytes -= len(oldest.body or b"")
            oldest.body = None

    def planned(self, seen: Observed, model: str, faults: tuple[str, ...]) -> None:
        """What was made of the request: the bare model ("" where there is none) and the kinds of fault applied."""
        seen.model, seen.faults = model, faults
        if model:
            self._cell(model)[0] += 1
        for fault in faults:
            self.faults[fault] = self.faults.get(fault, 0) + 1

    def bill(self, seen: Observed, prompt: int, completion: int) -> None:
        seen.prompt_tokens += prompt
        seen.completion_tokens += completion
        if seen.model:
            cell = self._cell(seen.model)
            cell[1] += prompt
            cell[2] += completion

    def _cell(self, model: str) -> list[int]:
        if model not in self.tokens and len(self.tokens) >= self.settings.counters_max:
            model = OTHER
        return self.tokens.setdefault(model, [0, 0, 0])

    def end(self, seen: Observed, outcome: str, monotonic_s: float, wall_s: float) -> None:
        self.in_flight -= 1
        seen.outcome = outcome
        seen.ended_monotonic_s = monotonic_s
        if outcome == "client_gone":
            self.disconnects += 1
            seen.disconnected_monotonic_s, seen.disconnected_s = monotonic_s, wall_s

    def reset(self) -> None:
        """Forget everything but what is running; numbering goes on."""
        self.requests_total = self.disconnects = self._body_bytes = 0
        self.tokens.clear()
        self.faults.clear()
        self.log.clear()
        self._with_body.clear()


def shown(name: bytes, value: bytes) -> str:
    if name not in SECRET_HEADERS:
        return value.decode("latin-1")
    scheme, _, secret = value.partition(b" ") if name.endswith(b"authorization") else (b"", b"", value)
    return f"{scheme.decode('latin-1')} {masked(secret)}".strip() if secret else masked(value)


def masked(secret: bytes) -> str:
    return "sha256:" + hashlib.sha256(secret).hexdigest()[:12]
