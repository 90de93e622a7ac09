"""Records and live states for the telemetry tests, made by hand: what the proxy would have written down."""

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.usage import Usage
from appliance.telemetry.cells import Cells
from appliance.telemetry.exposition import TEXT, Format, lines
from appliance.telemetry.fold import fold
from appliance.telemetry.live import BackendState, LiveState
from appliance.telemetry.vocabularies import VOCABULARIES

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]

LIVE = LiveState(
    backends=(BackendState("alpha", in_flight=2, pool_open=3, pool_idle=1, queued=4), BackendState("beta", healthy=False, breaker="open")),
    models=("gpt-4o", "claude-haiku-4-5"),
    tenants=("acme", "globex"),
    budgets={"acme": 0.25},
    active_streams=5,
    in_flight=6,
    started_at=1_000.0,
    version="1.2.3",
    commit="abc",
    python="3.11",
    restarts={"health": 1},
)


def fault(kind: FaultKind, upstream_status: int | None = None) -> Fault:
    return Fault(kind, "what went wrong", upstream_status=upstream_status)


def attempt(
    backend: str = "alpha",
    kind: FaultKind | None = None,
    *,
    outcome: str = "",
    at: float = 100.0,
    took: float = 0.2,
    usage: Usage | None = None,
    tokens_at: tuple[float, float] = (0.0, 0.0),
    vendor: str = "openai",
    model: str = "gpt-4o",
    response_model: str = "gpt-4o-2024-08-06",
) -> AttemptRecord:
    return AttemptRecord(
        backend, vendor, "vendor/" + model, model, at, at + took,
        outcome or ("success" if kind is None else "error"), 200 if kind is None else 500, None if kind is None else fault(kind),
        first_token_at=tokens_at[0], last_token_at=tokens_at[1], usage=usage, response_model=response_model if kind is None else "",
    )  # fmt: skip


def request(
    *attempts: AttemptRecord,
    kind: FaultKind | None = None,
    status: int = 200,
    took: float = 0.3,
    usage: Usage | None = None,
    stream: bool = False,
    first_token_at: float = 0.0,
    tenant: str = "acme",
    route: str = "chat",
    model: str = "gpt-4o",
    cost_usd: float = 0.0,
    **more: object,
) -> RequestRecord:
    record = RequestRecord(
        "id-1", "request-1", 99.95, 1.7e9, tenant=tenant, key="ci", route=route, requested_model=model, model=model, stream=stream,
        attempts=list(attempts), status=status, fault=None if kind is None else fault(kind), ended_at=99.95 + took,
        first_token_at=first_token_at, usage=usage, cost_usd=cost_usd,
    )  # fmt: skip
    for name, value in more.items():
        setattr(record, name, value)
    return record


def folded(*records: RequestRecord, cells: Cells | None = None) -> Cells:
    cells = cells or Cells()
    for record in records:
        fold(record, cells)
    return cells


def scrape(
    cells: Cells, live: LiveState = LIVE, now: float = 101.0, form: Format = TEXT, names: tuple[str, ...] = tuple(VOCABULARIES)
) -> str:
    return b"".join(lines(cells, live, now, form, names)).decode()


def series(text: str, *, openmetrics: bool = False) -> Series:
    """Every sample of an exposition, read by Prometheus' own Python parser. A sample that is there twice is an error."""
    found: Series = {}
    for family in (parse_openmetrics if openmetrics else parse_text)(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def family(cells: Cells, name: str, live: LiveState = LIVE, now: float = 101.0) -> dict[str, float]:
    """One sample name's series as `{"label=value,…": number}`, labels sorted by name."""
    return {
        ",".join(f"{label}={value}" for label, value in labels): number
        for (sample, labels), number in series(scrape(cells, live, now)).items()
        if sample == name
    }


SUCCESS = request(attempt(usage=Usage(10, 20)), usage=Usage(10, 20), cost_usd=0.5)
STREAM = request(
    attempt(usage=Usage(5, 11), took=0.25, tokens_at=(100.05, 100.25)),
    usage=Usage(5, 11), stream=True, first_token_at=100.05, took=0.35, cost_usd=0.25,
)  # fmt: skip
UNAUTHORIZED = request(kind=FaultKind.UNAUTHORIZED, status=401, took=0.001, tenant="none", route="none", model="unknown")
RATE_LIMITED = request(kind=FaultKind.RATE_LIMITED, status=429, took=0.001, limit_type="requests", user="ann")
OVER_BUDGET = request(kind=FaultKind.BUDGET_EXCEEDED, status=402, took=0.001, limit_type="budget")
RETRIED = request(
    attempt("alpha", FaultKind.SERVER_ERROR, took=0.1), attempt("alpha", at=100.2, took=0.1, usage=Usage(1, 2)), usage=Usage(1, 2)
)
FELL_BACK = request(
    attempt("alpha", FaultKind.CONNECT_TIMEOUT, took=0.1),
    attempt("beta", at=100.2, took=0.1, vendor="mistral", model="claude-haiku-4-5", response_model="claude-haiku-4-5-001"),
    model="claude-haiku-4-5", fallbacks=(("alpha", "beta"),),
)  # fmt: skip
UPSTREAM_FAULT = request(attempt("alpha", FaultKind.OVERLOADED), kind=FaultKind.OVERLOADED, status=502)
CALLERS_FAULT = request(attempt("alpha", FaultKind.CONTEXT_LENGTH), kind=FaultKind.CONTEXT_LENGTH, status=400)
CUT_STREAM = request(
    attempt("alpha", FaultKind.STREAM_CUT, tokens_at=(100.1, 100.2)),
    kind=FaultKind.STREAM_CUT, stream=True, first_token_at=100.1, committed=True,
)  # fmt: skip
GONE_BEFORE = request(attempt("alpha", FaultKind.CLIENT_GONE, outcome="cancelled"), kind=FaultKind.CLIENT_GONE, status=499)
GONE_AFTER = request(
    attempt("alpha", FaultKind.CLIENT_GONE, outcome="cancelled", tokens_at=(100.1, 100.1)),
    kind=FaultKind.CLIENT_GONE, status=499, stream=True, first_token_at=100.1, committed=True,
)  # fmt: skip
CACHE_HIT = request(cache="hit", took=0.002)
CACHE_MISS = request(attempt(), cache="miss")

EVERY_KIND = (
    SUCCESS, STREAM, UNAUTHORIZED, RATE_LIMITED, OVER_BUDGET, RETRIED, FELL_BACK, UPSTREAM_FAULT, CALLERS_FAULT, CUT_STREAM, GONE_BEFORE,
    GONE_AFTER, CACHE_HIT, CACHE_MISS,
)  # fmt: skip
