"""Which requests are recorded: the caller's flag, the share, the failures; and that a header alone decides nothing."""

import random

import pytest

from appliance.core.fault import Fault, FaultKind
from appliance.core.record import AttemptRecord, RequestRecord
from appliance.core.trace_context import Trace
from appliance.gateway.tracer import Tracer

GIVEN = "0af7651916cd43dd8448eb211c80319c"


def tracer(sample: float = 0.0, *, faults: bool = True) -> Tracer:
    return Tracer(sample, faults, random.Random(1).getrandbits)


def finished(kind: FaultKind | None = None, *attempts: FaultKind | None, tenant: str = "acme") -> RequestRecord:
    record = RequestRecord("id", "request", 1.0, 1e9, tenant=tenant, fault=None if kind is None else Fault(kind, "x"))
    for one in attempts:
        record.attempts.append(AttemptRecord("a", "openai", "m", "m", 1.0, fault=None if one is None else Fault(one, "x")))
    return record


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("sample", [0.0, 1.0])
def test_in_a_callers_trace_the_caller_decides(sample: float, sampled: bool) -> None:
    trace = tracer(sample).begin(Trace(GIVEN, "b7ad6b7169203331", sampled=sampled, state="a=1", kept=sampled))
    assert (trace.trace_id, trace.parent_id, trace.state) == (GIVEN, "b7ad6b7169203331", "a=1")
    assert (trace.sampled, trace.ours) == (sampled, True)
    assert trace.span_id not in ("b7ad6b7169203331", "0" * 16)
    assert tracer(sample).keeps(finished(), trace) is sampled


@pytest.mark.parametrize(("sample", "low", "high"), [(0.0, 0, 0), (0.1, 800, 1200), (0.5, 4700, 5300), (1.0, 10_000, 10_000)])
def test_of_traces_that_begin_here_a_share_is_recorded(sample: float, low: int, high: int) -> None:
    one = tracer(sample)
    begun = [one.begin(None) for _ in range(10_000)]
    assert low <= sum(trace.sampled for trace in begun) <= high
    assert len({trace.trace_id for trace in begun} | {trace.span_id for trace in begun}) == 20_000
    assert all(len(trace.trace_id) == 32 and len(trace.span_id) == 16 and not trace.parent_id for trace in begun)


def test_equal_shares_choose_the_same_traces() -> None:
    fewer, more = tracer(0.2), tracer(0.6)
    for _ in range(1000):
        if fewer.begin(None).sampled:
            assert more.begin(None).sampled
        else:
            more.begin(None)


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        (finished(), False),
        (finished(FaultKind.OVERLOADED, FaultKind.OVERLOADED), True),
        (finished(None, FaultKind.OVERLOADED, None), True),
        (finished(FaultKind.NO_BACKEND), True),
        (finished(FaultKind.RATE_LIMITED), False),
        (finished(FaultKind.INVALID_REQUEST, FaultKind.INVALID_REQUEST), False),
        (finished(FaultKind.CLIENT_GONE, FaultKind.CLIENT_GONE), False),
    ],
)
def test_what_met_a_fault_of_backend_or_gateway_is_kept_unless_that_is_off(record: RequestRecord, kept: bool) -> None:
    for given in (None, Trace(GIVEN, "b7ad6b7169203331")):
        trace = tracer().begin(given)
        assert tracer().keeps(record, trace) is trace.kept is kept
        assert not trace.sampled
        assert not tracer(faults=False).keeps(record, tracer().begin(given))


def test_who_was_not_let_in_decides_nothing() -> None:
    refused = finished(FaultKind.UNAUTHORIZED, tenant="none")
    given = Trace(GIVEN, "b7ad6b7169203331", sampled=True, kept=True)
    assert not tracer(1.0).keeps(refused, tracer(1.0).begin(given))
    assert tracer(1.0).keeps(refused, tracer(1.0).begin(None))
