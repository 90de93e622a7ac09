"""Copies of a store that is in use are whole, and a look at one finds what is wrong with it."""

import os
import random
import sqlite3
import threading

import pytest
from store.ledger_place import kill, started, stored
from store.ledger_rows import opened, row

from appliance.store.copy import Copied, back_up, check, in_use
from appliance.store.fault import StoreFault
from appliance.store.schema import VERSION


def test_a_copy_has_what_is_settled_though_the_database_does_not_have_it_yet(tmp_path):
    ledger = started(tmp_path / "one.db")
    for number in range(4):
        ledger.open(opened(number))
    for number in range(2):
        ledger.settle(row(number))
    ledger.commit()
    ledger.settle(row(2))  # in the journal alone; the fourth is under way
    copied = back_up(tmp_path / "one.db", tmp_path / "copy.db")
    assert copied == Copied(3, 1, 0)
    assert stored(tmp_path / "copy.db", "id") == [(row(number).id,) for number in range(3)]
    assert check(tmp_path / "copy.db").problems == ()
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.db"], "one file, nothing beside it"
    ledger.settle(row(3))
    ledger.commit()
    assert len(stored(tmp_path / "one.db", "id")) == 4, "the copy took nothing away"
    ledger.close()
    started(tmp_path / "copy.db").close()


def test_a_copy_after_a_kill_explains_what_was_under_way(tmp_path):
    ledger = started(tmp_path / "one.db")
    assert in_use(tmp_path / "one.db")
    ledger.open(opened(1))
    kill(ledger)
    assert not in_use(tmp_path / "one.db")
    assert back_up(tmp_path / "one.db", tmp_path / "copy.db") == Copied(1, 0, 1)
    assert stored(tmp_path / "copy.db", "error_type") == [("recovered",)]
    again = started(tmp_path / "one.db")
    assert stored(tmp_path / "one.db", "error_type") == [("recovered",)], "the journal was only read"
    again.close()


def test_copies_made_while_it_is_written_are_whole_and_miss_nothing_that_was_settled_before(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path, journal_segments_max=8)
    over = threading.Event()
    settled = [0]

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            if ledger.open(opened(number)) is None:
                ledger.settle(row(number))
                settled[0] = number
            if number % 40 == 0:
                ledger.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(8):
            before = settled[0]
            copied = back_up(path, tmp_path / f"{number}.db")
            assert isinstance(copied, Copied), copied
            found = [identity for (identity,) in stored(tmp_path / f"{number}.db", "id")]
            assert found == [row(one).id for one in range(1, len(found) + 1)], "no gap"
            assert len(found) >= before
            assert check(tmp_path / f"{number}.db").problems == ()
    finally:
        over.set()
        writer.join()
    ledger.close()


def test_a_copy_does_not_replace_a_file_unless_it_is_told_to(tmp_path):
    started(tmp_path / "one.db").close()
    (tmp_path / "copy.db").write_text("precious")
    refused = back_up(tmp_path / "one.db", tmp_path / "copy.db")
    assert isinstance(refused, StoreFault)
    assert (tmp_path / "copy.db").read_text() == "precious"
    assert isinstance(back_up(tmp_path / "one.db", tmp_path / "copy.db", replace=True), Copied)
    assert check(tmp_path / "copy.db").problems == ()


@pytest.mark.parametrize("what", ["nothing", "noise", "another"])
def test_what_is_no_store_is_not_copied_and_leaves_nothing(tmp_path, what):
    path = tmp_path / "one.db"
    if what == "noise":
        path.write_bytes(os.urandom(9000))
    elif what == "another":
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE recipes (name)")
        connection.close()
    assert isinstance(back_up(path, tmp_path / "copy.db"), StoreFault)
    assert list(tmp_path.glob("copy*")) == []
    found = check(path)
    assert len(found.problems) == 1
    assert found.damaged == (what == "noise")
    assert path.exists() == (what != "nothing")


def test_a_sound_store_is_called_sound_in_use_or_not(tmp_path):
    ledger = started(tmp_path / "one.db")
    ledger.open(opened(1))
    ledger.settle(row(1))
    assert check(tmp_path / "one.db").problems == ()
    ledger.commit()
    found = check(tmp_path / "one.db")
    assert (found.problems, found.rows, found.version) == ((), 1, VERSION)
    ledger.close()
    assert check(tmp_path / "one.db").rows == 1


def test_damage_is_found_wherever_it_is(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    for number in range(3000):
        ledger.open(opened(number))
        ledger.settle(row(number, request_id=f"{number:064d}"))
        if number % 20 == 0:
            ledger.commit()
    ledger.close()
    whole = path.read_bytes()
    draw = random.Random(5)
    found = 0
    for _ in range(20):
        at = draw.randrange(1, len(whole) // 4096) * 4096
        path.write_bytes(whole[:at] + os.urandom(4096) + whole[at + 4096 :])
        result = check(path)
        found += bool(result.problems and result.damaged)
    assert found == 20


def test_sums_that_are_not_those_of_the_rows_are_found(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    ledger.open(opened(1))
    ledger.settle(row(1))
    ledger.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE daily SET requests = 0")
    connection.commit()
    connection.close()
    assert "daily sums" in check(path).problems[0]


def test_damage_in_the_journal_is_found(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    for number in range(3):
        ledger.open(opened(number))
    segment = ledger.journal.current.path
    kill(ledger)
    data = bytearray(segment.read_bytes())
    data[30] ^= 1
    segment.write_bytes(data)
    found = check(path)
    assert "journal is damaged" in found.problems[0]
    assert not found.damaged


def test_a_copy_never_takes_the_place_of_the_store_itself(tmp_path):
    ledger = started(tmp_path / "one.db")
    (tmp_path / "link.db").symlink_to("one.db")
    for target in ("one.db", "link.db"):
        found = back_up(tmp_path / "one.db", tmp_path / target, replace=True)
        assert isinstance(found, StoreFault)
        assert "the store itself" in found.message
    ledger.commit()
    assert ledger.say.events() == []
    ledger.close()


def test_a_copy_is_not_spoilt_by_what_lies_beside_the_one_it_replaces(tmp_path):
    started(tmp_path / "one.db").close()
    target = tmp_path / "copy.db"
    older = sqlite3.connect(target)
    older.executescript("PRAGMA journal_mode = WAL; CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)")
    kept = {end: (tmp_path / f"copy.db{end}").read_bytes() for end in ("", "-wal")}
    older.close()
    for end, data in kept.items():
        (tmp_path / f"copy.db{end}").write_bytes(data)  # as a kill leaves it
    assert isinstance(back_up(tmp_path / "one.db", target, replace=True), Copied)
    assert check(target).problems == ()
    assert stored(target, "id") == []
