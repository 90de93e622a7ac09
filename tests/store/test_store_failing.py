"""A disk that is full, a file that is locked, damaged or gone: said, never a crash, nothing lost that was let in, and over by itself."""

import os
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from store.ledger_place import SEGMENT_BYTES, kill, ledger_at, refused, started, stored
from store.ledger_rows import opened, row

from appliance.store import writer
from appliance.store.embedded import EmbeddedLedger
from appliance.store.row import LedgerRow, Spent


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LOCK_WAIT_S", 0.05)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def one_request(ledger: EmbeddedLedger, number: int, **fields: object) -> LedgerRow:
    assert ledger.open(opened(number)) is None, number
    ended = row(number, **fields)
    ledger.settle(ended)
    return ended


def kind_of(ledger: EmbeddedLedger) -> str:
    ledger.commit()
    fault = ledger.status().fault
    return "" if fault is None else fault.kind


def ids(path: Path) -> list[int]:
    return [number for (number,) in stored(path, "id")]


def test_a_locked_file_refuses_requests_until_it_is_free_and_nothing_is_lost(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    with locked(path):
        first = one_request(ledger, 1)
        ledger.open(opened(2))
        assert kind_of(ledger) == "locked"
        fault = ledger.open(opened(3))
        assert fault is not None
        assert fault.kind == "locked"
        second = row(2)
        ledger.settle(second)  # it was let in before
        assert kind_of(ledger) == "locked"
        assert (ledger.status().queued, ledger.status().errors, ledger.status().refusing) == (2, 2, True)
        assert ledger.pending, "it is tried again"
    assert kind_of(ledger) == ""
    assert ids(path) == [first.id, second.id]
    assert ledger.open(opened(3)) is None
    assert ledger.say.events() == ["ledger_failing", "ledger_works_again"]
    ledger.close()


def test_with_serve_requests_go_on_and_their_rows_come_later(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path, on_failure="serve", queue_rows_max=20)
    with locked(path):
        written = []
        for number in range(2000):  # far more than three segments hold
            written.append(one_request(ledger, number).id)
            if number % 50 == 0:
                assert kind_of(ledger) == "locked"
        status = ledger.status()
        assert not status.refusing
        assert status.lost > 0
        assert status.queued == 2000 - status.lost
        assert status.queued > 3 * SEGMENT_BYTES / 700, "the journal and the memory are full"
        assert ledger.writer.overflow.maxlen is None
        assert len(ledger.writer.overflow) == 20
    assert kind_of(ledger) == ""
    assert set(ids(path)) <= set(written)
    assert len(ids(path)) == ledger.status().rows == 2000 - status.lost
    ledger.close()


def test_a_disk_that_has_no_room_for_the_next_segment_is_a_failure_before_any_end_is_lost(tmp_path):
    path = tmp_path / "one.db"
    segment_bytes = 4_194_304  # the database stays far below that
    ledger = started(path, journal_segment_bytes=segment_bytes)
    number, written = 0, []
    with files_no_larger_than(segment_bytes - 1):
        while ledger.open(opened(number, user="u" * 8000)) is None:
            written.append(number)
            number += 1
            if number % 50 == 0:
                for one in written[-50:]:
                    ledger.settle(row(one))
                ledger.commit()
        for one in written[number // 50 * 50 :]:
            ledger.settle(row(one))
        fault = ledger.status().fault
        assert fault is not None
        assert fault.kind == "full"
        assert "journal" in fault.message
        assert not ledger.writer.overflow
    assert kind_of(ledger) == ""
    assert ids(path) == [row(one).id for one in written]
    assert ledger.open(opened(number)) is None
    ledger.close()


def test_a_database_that_cannot_grow_is_a_failure_and_goes_on_when_it_can(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    first = one_request(ledger, 1)
    assert kind_of(ledger) == ""
    second = one_request(ledger, 2)
    with files_no_larger_than(4096):
        assert kind_of(ledger) in ("full", "unwritable")
        assert ledger.open(opened(3)) is not None
        assert kind_of(ledger) in ("full", "unwritable")
    assert kind_of(ledger) == ""
    assert ids(path) == [first.id, second.id]
    ledger.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a small file system")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_called_full_and_over_when_there_is_room_again(small_disk):
    path = small_disk / "one.db"
    ledger = started(path)
    written = [one_request(ledger, number).id for number in range(20)]
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
    while kind_of(ledger) == "":
        written.append(one_request(ledger, len(written)).id)
    assert ledger.status().fault.kind == "full"
    assert ledger.open(opened(9999)) is not None
    ballast.unlink()
    assert kind_of(ledger) == ""
    assert ids(path) == written
    ledger.close()


def test_a_full_disk_at_the_start_is_waited_out(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1000 * 1024))
    path = small_disk / "one.db"
    ledger = started(path)
    assert ledger.open(opened(1)).kind == "full"
    ballast.unlink()
    assert kind_of(ledger) == ""
    first = one_request(ledger, 1)
    assert kind_of(ledger) == ""
    assert ids(path) == [first.id]
    ledger.close()


@pytest.mark.parametrize("damage", ["head", "whole"])
def test_a_damaged_file_stops_the_start_where_requests_are_refused_and_is_left_as_it_is(tmp_path, damage):
    path = tmp_path / "one.db"
    data = broken(path, damage)
    assert refused(path).kind == "corrupt"
    assert path.read_bytes() == data
    assert refused(path).kind == "corrupt", "again: it was not taken for a new one"


@pytest.mark.parametrize("damage", ["head", "whole"])
def test_with_serve_a_damaged_file_is_kept_aside_and_a_new_one_begun_loudly(tmp_path, damage):
    path = tmp_path / "one.db"
    data = broken(path, damage)
    ledger = started(path, on_failure="serve")
    assert kind_of(ledger) == ""
    assert path.with_name("one.db.corrupt-20260301T000000").read_bytes() == data
    assert "ledger_corrupt" in ledger.say.events()
    one_request(ledger, 5)
    assert kind_of(ledger) == ""
    assert len(ids(path)) == 1
    ledger.close()


def broken(path: Path, damage: str) -> bytes:
    ledger = started(path)
    one_request(ledger, 1)
    ledger.close()
    data = bytearray(path.read_bytes())
    if damage == "head":
        data[:16] = b"not SQLite at al"
    else:
        data[:] = os.urandom(len(data))
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("on_failure", ["refuse", "serve"])
def test_damage_while_it_runs_is_found_and_the_file_kept(tmp_path, on_failure):
    path = tmp_path / "one.db"
    ledger = started(path, on_failure=on_failure)
    for number in range(500):
        one_request(ledger, number, request_id=f"{number:0128d}")
        if number % 50 == 0:
            ledger.commit()
    ledger.commit()
    ledger.writer.detach()  # as after any failure; all of it is in the file now
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    data = path.read_bytes()
    later = [one_request(ledger, number).id for number in range(1000, 1003)]
    if on_failure == "refuse":
        assert kind_of(ledger) == "corrupt"
        assert ledger.open(opened(2000)).kind == "corrupt"
        assert path.read_bytes() == data
        path.rename(tmp_path / "bad")  # the operator puts a backup in its place
        good = started(tmp_path / "good.db")
        good.close()
        (tmp_path / "good.db").rename(path)
    else:
        assert kind_of(ledger) == "corrupt"
        assert (tmp_path / "one.db.corrupt-20260301T000000").read_bytes()[4096:] == data[4096:]
    assert kind_of(ledger) == ""
    assert ids(path) == later
    ledger.close()


def test_a_file_that_is_taken_away_is_missed(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    first = one_request(ledger, 1)
    ledger.commit()
    path.rename(tmp_path / "elsewhere.db")
    assert kind_of(ledger) == "unwritable"
    assert "removed" in ledger.status().fault.message
    assert ledger.open(opened(2)) is not None
    assert not path.exists(), "no empty one in its place"
    (tmp_path / "elsewhere.db").rename(path)
    assert kind_of(ledger) == ""
    second = one_request(ledger, 2)
    ledger.commit()
    assert ids(path) == [first.id, second.id]
    ledger.close()


def test_with_serve_a_file_that_is_taken_away_is_begun_anew_loudly(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path, on_failure="serve")
    one_request(ledger, 1)
    ledger.commit()
    path.rename(tmp_path / "elsewhere.db")
    second = one_request(ledger, 2)
    assert kind_of(ledger) == ""
    assert ids(path) == [second.id]
    assert ledger.say.events() == ["ledger_replaced"]
    ledger.close()


def test_a_folder_that_cannot_be_written_stops_the_start_where_requests_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert refused(tmp_path / "file" / "one.db").kind == "unwritable"


def test_with_serve_a_folder_that_cannot_be_written_is_waited_for(tmp_path):
    folder = tmp_path / "state"
    folder.write_text("no folder")
    ledger = started(folder / "one.db", on_failure="serve")
    assert ledger.status().fault.kind == "unwritable"
    first = one_request(ledger, 1, spent=(Spent("x", 0, 2**63),))  # in memory, and cut as it would be in the journal
    assert kind_of(ledger) == "unwritable"
    folder.unlink()
    assert kind_of(ledger) == ""
    second = one_request(ledger, 2)
    assert kind_of(ledger) == ""
    assert ids(folder / "one.db") == [first.id, second.id]
    assert ledger_at(folder / "one.db").start().kind == "in_use"
    ledger.close()


def test_a_death_while_nothing_can_be_committed_loses_nothing(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path, on_failure="serve")
    with locked(path):
        written = [one_request(ledger, number).id for number in range(50)]
        assert kind_of(ledger) == "locked"
        kill(ledger)
        again = ledger_at(path, on_failure="serve")
        assert again.start() is None, "it serves, and waits for the file"
        written.append(one_request(again, 100).id)
        assert kind_of(again) == "locked"
    assert kind_of(again) == ""
    assert ids(path) == written
    again.close()


def test_a_bug_in_the_writer_is_a_failure_too(tmp_path, monkeypatch):
    ledger = started(tmp_path / "one.db")
    one_request(ledger, 1)
    monkeypatch.setattr(writer, "scan", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ledger.commit()
    assert ledger.open(opened(2)).kind == "unwritable"
    monkeypatch.undo()
    assert kind_of(ledger) == ""
    ledger.close()
