"""The ring of recent requests."""

import pytest
from telemetry_samples import attempt, request

from appliance.core.fault import Fault, FaultKind
from appliance.telemetry.recent import Filter, Recent


def numbered(number: int, **more: object) -> object:
    return request(attempt("alpha" if number % 2 else "beta"), id=f"id-{number}", request_id=f"r-{number}", **more)


def test_the_newest_come_first_and_the_oldest_are_forgotten() -> None:
    recent = Recent(3)
    for number in range(5):
        recent.add(numbered(number))
    assert [record.id for record in recent.newest()] == ["id-4", "id-3", "id-2"]
    assert recent.find("id-1") is None
    assert recent.find("r-1") is None
    assert recent.find("id-3") is recent.find("r-3") is not None
    assert len(recent) == 3


def test_a_request_id_that_copies_another_records_own_id_does_not_hide_it() -> None:
    recent = Recent(2)
    recent.add(request(id="id-1", request_id="r-1"))
    recent.add(request(id="id-2", request_id="id-1"))
    assert recent.find("id-1").request_id == "r-1"


def test_of_equal_request_ids_the_latest_is_found_and_eviction_spares_it() -> None:
    recent = Recent(2)
    for number in range(3):
        recent.add(request(id=f"id-{number}", request_id="same"))
    assert recent.find("same").id == "id-2"
    recent.add(request(id="id-3", request_id="other"))
    assert recent.find("same").id == "id-2"
    recent.add(request(id="id-4", request_id="other"))
    assert recent.find("same") is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), 5),
        (Filter(backend="beta"), 3),
        (Filter(tenant="acme"), 4),
        (Filter(tenant="acme", backend="beta"), 2),
        (Filter(failed=True), 1),
        (Filter(error_type="overloaded"), 1),
        (Filter(status=502), 1),
        (Filter(stream=True), 0),
        (Filter(model="gpt-4o", route="chat", stream=False), 5),
        (Filter(model="nothing"), 0),
    ],
)
def test_a_listing_can_be_narrowed(wanted, expected) -> None:
    recent = Recent()
    for number in range(3):
        recent.add(numbered(number))
    recent.add(numbered(4, tenant="globex"))
    recent.add(request(attempt("gamma", FaultKind.OVERLOADED), kind=FaultKind.OVERLOADED, status=502, id="id-9", request_id="r-9"))
    assert len(recent.newest(wanted)) == expected
    assert len(recent.newest(wanted, limit=2)) == min(2, expected)


def test_a_ring_of_none_keeps_none() -> None:
    recent = Recent(0)
    recent.add(numbered(1))
    assert recent.newest() == []
    assert recent.find("id-1") is None


def test_upstream_error_bodies_are_let_go() -> None:
    heavy = Fault(FaultKind.INVALID_REQUEST, "no", body=b"x" * 1_000_000)
    record = request(attempt(), attempt())
    record.attempts[0].fault = record.fault = heavy
    recent = Recent()
    recent.add(record)
    kept = recent.find(record.id)
    assert kept.fault.body is None
    assert kept.attempts[0].fault.body is None
    assert kept.fault.message == "no"
