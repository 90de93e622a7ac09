"""Records that the store keeps for `explain`: bounded in number and time, worth less than the ledger, found by either id."""

import sqlite3
from pathlib import Path
from typing import Any

import attrs
import pytest
from store.ledger_place import Clock, kill, started
from store.ledger_rows import MARCH, opened, row
from telemetry.telemetry_samples import attempt, request

from appliance.config.schema import Explain
from appliance.core.fault import FaultKind
from appliance.core.record import RequestRecord
from appliance.store.embedded import EmbeddedLedger
from appliance.store.explanations import AT_ONCE, EVERY_S, PACKED_MAX_BYTES, SAME_MAX, WAITING_MAX, ledger_id
from appliance.store.ledger_lookup import kept_request


def record(number: int = 1, request_id: str = "", at: float = MARCH, **more: Any) -> RequestRecord:
    own = f"{int(at * 1e6) + number:x}"
    one = request(attempt("alpha", FaultKind.SERVER_ERROR), attempt("beta"), wall_time=at, **more)
    one.id, one.request_id = own, request_id or own
    return one


def explaining(path: Path, clock: Clock | None = None, **settings: Any) -> EmbeddedLedger:
    return started(path, clock, explain=Explain(**settings))


def found(path: Path, wanted: str, now: float = MARCH) -> dict[str, Any] | None:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return kept_request(connection, wanted, now)
    finally:
        connection.close()


def count(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM explanations").fetchone()[0])
    finally:
        connection.close()


def test_a_record_comes_back_as_it_was_by_either_id(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    ledger = explaining(path)
    one = record(request_id="theirs")
    ledger.explanations.keep(one)
    assert ledger.pending
    ledger.commit()
    assert not ledger.pending
    expected = {**one.as_dict(), "kept_in": "store", "others": []}
    assert found(path, one.id) == found(path, "theirs") == expected
    assert found(path, "nobody's") is None
    ledger.close()


def test_of_several_that_share_a_request_id_the_latest_is_told_and_the_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    ledger = explaining(path)
    for number in range(SAME_MAX + 5):
        ledger.explanations.keep(record(number, "same"))
    ledger.close()
    told = found(path, "same")
    assert told is not None
    assert told["id"] == record(SAME_MAX + 4).id
    assert [one["id"] for one in told["others"]] == [record(number).id for number in range(SAME_MAX + 3, 4, -1)]
    by_own = found(path, record(3).id)
    assert by_own is not None
    assert (by_own["id"], by_own["others"]) == (record(3).id, [])


def test_an_id_copied_from_another_record_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    ledger = explaining(path)
    ledger.explanations.keep(record(1))
    ledger.explanations.keep(record(2, request_id=record(1).id))
    ledger.close()
    told = found(path, record(1).id)
    assert told is not None
    assert told["id"] == record(1).id


def test_no_more_are_kept_than_may_be_and_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    for part in range(2):  # the second run finds what the first one left
        ledger = explaining(path, keep=30)
        for number in range(25):
            ledger.explanations.keep(record(part * 25 + number))
        ledger.close()
        assert count(path) == min(30, 25 * (part + 1))
    assert found(path, record(19).id) is None
    assert found(path, record(20).id) is not None
    assert found(path, record(49).id) is not None


def test_their_time_is_over_after_so_many_days(tmp_path: Path) -> None:
    path, clock = tmp_path / "one.db", Clock()
    ledger = explaining(path, clock, days=2)
    ledger.explanations.keep(record(1))
    ledger.explanations.keep(record(2, at=MARCH + 86_400))
    ledger.commit()
    clock.now = MARCH + 2.5 * 86_400
    ledger.commit()
    assert count(path) == 1
    assert found(path, record(2, at=MARCH + 86_400).id) is not None
    ledger.close()


def test_one_transaction_a_second_unless_many_wait(tmp_path: Path) -> None:
    path, clock = tmp_path / "one.db", Clock()
    ledger = explaining(path, clock)
    ledger.explanations.keep(record(1))
    ledger.commit()
    ledger.explanations.keep(record(2))
    assert not ledger.pending
    ledger.commit()
    assert count(path) == 1
    clock.now += EVERY_S
    assert ledger.pending
    ledger.commit()
    assert count(path) == 2
    for number in range(AT_ONCE + 1):
        ledger.explanations.keep(record(10 + number))
    assert ledger.pending
    ledger.commit()
    assert count(path) == 2 + AT_ONCE  # the rest waits its second
    ledger.close()
    assert count(path) == 3 + AT_ONCE


def test_what_finds_no_room_is_dropped_and_counted(tmp_path: Path) -> None:
    ledger = explaining(tmp_path / "one.db")
    for number in range(WAITING_MAX + 7):
        ledger.explanations.keep(record(number))
    assert (len(ledger.explanations.waiting), ledger.explanations.dropped) == (WAITING_MAX, 7)
    ledger.close()
    told = [fields for _, event, fields in ledger.explanations.say if event == "explanations_dropped"]  # type: ignore[attr-defined]
    assert told == [{"records": 7}]
    assert count(tmp_path / "one.db") == WAITING_MAX


@attrs.define
class Broken:
    def told(self, record: RequestRecord) -> dict[str, object]:
        raise RuntimeError("a bug")


def test_one_that_cannot_be_put_in_words_does_not_hold_up_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    ledger = explaining(path)
    for one in (record(1, decision=Broken()), record(2)):
        ledger.explanations.keep(one)
    ledger.open(opened(5))
    ledger.settle(row(5))
    ledger.commit()
    assert ledger.status().fault is None
    assert ledger.status().rows == 1
    assert found(path, record(2).id) is not None
    assert ledger.explanations.dropped == 1
    assert ledger.explanations.say.events().count("explanation_failed") == 1  # type: ignore[attr-defined]
    ledger.close()


def test_a_model_name_that_is_no_text_is_kept_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    ledger = explaining(path)
    ledger.explanations.keep(record(1, requested_model="m\ud800", model="x" * 100_000))
    ledger.close()
    told = found(path, record(1).id)
    assert told is not None
    assert told["requested_model"] == "m?"
    assert len(told["model"]) < PACKED_MAX_BYTES


def test_a_killed_process_loses_what_waited_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    ledger = explaining(path)
    ledger.explanations.keep(record(1))
    ledger.commit()
    ledger.explanations.keep(record(2))
    kill(ledger)
    again = explaining(path)
    again.close()
    assert found(path, record(1).id) is not None
    assert found(path, record(2).id) is None


def test_what_was_not_kept_is_told_as_far_as_the_ledger_knows_it(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    ledger = explaining(path)
    several = '[["alpha","m","error",503,"overloaded",12,0,0,""],["beta","m","success",200,"",80,10,20,"provider"]]'
    tried = row(3, experiment="trial", variant="treatment")
    for one in (row(1, request_id="theirs"), row(2, attempts=several, request_id="other", error_type=""), tried):
        ledger.open(opened(1))
        ledger.settle(one)
    ledger.close()
    told = found(path, f"{row(1).id:x}")
    assert told is not None
    assert (told["kept_in"], told["request_id"], told["plan"], told["overhead_ms"]) == ("ledger", "theirs", None, None)
    assert (told["tenant"], told["route"], told["model"], told["status"], told["cost_usd"]) == ("acme", "chat", "gpt-4o-mini", 200, 1.5e-6)
    assert told["usage"]["source"] == "provider"
    assert [(one["backend"], one["outcome"]) for one in told["attempts"]] == [("alpha", "success")]
    assert found(path, "theirs") == told
    assert found(path, "theirs", MARCH + 30 * 86_400) is None  # only the last days are looked through for an id of the caller's
    on_trial = found(path, f"{tried.id:x}")
    assert on_trial is not None
    assert (on_trial["experiment"], on_trial["variant"]) == ("trial", "treatment")
    failed_over = found(path, "other")
    assert failed_over is not None
    assert [(one["backend"], one["status"], one["error_type"]) for one in failed_over["attempts"]] == [
        ("alpha", 503, "overloaded"), ("beta", 200, ""),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "xyz", "-1", "1" * 16, "0x1f", "１", "1 OR 1=1", "f" * 15])
def test_what_is_no_ledger_id_leads_to_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "one.db"
    explaining(path).close()
    assert found(path, text) is None
    assert ledger_id(text) == (2**60 - 1 if text == "f" * 15 else -1)
