"""The embedded ledger: every request that settled is a row, once; every one that only opened is explained; whenever the process dies."""

import os
import sqlite3
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.ledger_place import SEGMENT_BYTES, Clock, kill, refused, spent, started, stored
from store.ledger_rows import MARCH, opened, row

from appliance.store import recovery
from appliance.store.database import open_database
from appliance.store.frame import SETTLED, scan, values_of
from appliance.store.journal import HELD_MAX, SETTLED_RESERVE_BYTES
from appliance.store.recovery import add_left
from appliance.store.row import Spent
from appliance.store.segment import Segment, segment_paths


def test_what_settles_is_a_row_after_the_next_round_and_the_journal_goes_with_the_run(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    for number in range(3):
        assert ledger.open(opened(number)) is None
    ledger.settle(row(0, spent=(Spent("tenant:acme", 0, 5),)))
    ledger.settle(row(1))
    ledger.release(opened(2).id)
    assert (ledger.status().rows, ledger.status().queued, ledger.status().open) == (0, 2, 0)
    assert ledger.pending
    ledger.commit()
    assert (ledger.status().rows, ledger.status().queued) == (2, 0)
    assert not ledger.pending
    assert stored(path, "id", "tenant") == [(row(0).id, "acme"), (row(1).id, "acme")]
    assert ledger.spent("tenant:acme", 0) == 5
    ledger.close()
    assert segment_paths(path) == []
    assert not path.with_name("one.db-wal").exists()


def test_a_request_that_was_under_way_when_the_process_died_costs_what_was_reserved_and_says_so(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    reserved = opened(1, input_tokens=11, output_tokens=22, cost_nusd=33, spent=(Spent("tenant:acme", 0, 33),), request_id="theirs")
    ledger.open(reserved)
    kill(ledger)
    again = started(path)
    columns = ("id", "status", "error_type", "usage_source", "input_tokens", "output_tokens", "cost_nusd", "request_id", "backend")
    assert stored(path, *columns) == [(reserved.id, 0, "recovered", "estimated", 11, 22, 33, "theirs", "unknown")]
    assert again.spent("tenant:acme", 0) == 33
    assert [event for event in again.say.events() if event != "ledger_works_again"] == ["ledger_recovered"]
    again.close()


def test_a_second_death_during_the_recovery_counts_nothing_twice(tmp_path, monkeypatch):
    path = tmp_path / "one.db"
    ledger = started(path)
    ledger.open(opened(1, spent=(Spent("x", 0, 1),)))
    ledger.open(opened(2))
    ledger.settle(row(2, spent=(Spent("x", 0, 10),)))
    kill(ledger)

    def dies(left, tables):
        add_left(left, tables)
        raise OSError(5, "died here")

    monkeypatch.setattr(recovery, "add_left", dies)
    assert refused(path).kind == "unwritable"
    monkeypatch.undo()
    assert len(segment_paths(path)) == 2, "kept until all of it is done"
    again = started(path)
    assert stored(path, "id") == [(opened(1).id,), (opened(2).id,)]
    assert spent(path, "x") == 11
    again.close()


OPEN, SETTLE, RELEASE, COMMIT, DIE, PASS = range(6)
choices = st.sampled_from([OPEN, OPEN, OPEN, SETTLE, SETTLE, RELEASE, COMMIT, DIE, PASS])
steps = st.lists(st.tuples(choices, st.integers(0, 9)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 8000), st.booleans())
def test_whatever_happens_in_whichever_order_every_request_is_explained_once(tmp_path_factory, taken, padding, together):
    """Against a plain model: who settled, who only opened. Long user names make segments turn over often. Where ends are written together,
    a death before that leaves what was known when they began."""
    path = tmp_path_factory.mktemp("any") / "one.db"
    ledger, due = started(path), Due()
    ledger.defer = due.defer if together else ledger.defer
    number, running, expected = 0, [], {}
    for step, pick in taken:
        if step == OPEN:
            number += 1
            if ledger.open(opened(number, user="u" * padding, spent=(Spent("x", 0, 1000),))) is None:
                running.append(number)
        elif step in (SETTLE, RELEASE) and running:
            ended = running.pop(pick % len(running))
            if step == SETTLE:
                ledger.settle(row(ended, user="u" * padding, spent=(Spent("x", 0, ended),)))
                expected[ended] = "provider"
            else:
                ledger.release(opened(ended).id)
        elif step == COMMIT:
            ledger.commit()
        elif step == PASS:
            due.come()
            assert not ledger.journal.held
        elif step == DIE:
            kill(ledger)
            expected |= dict.fromkeys((*running, *held_by(ledger)), "estimated")
            running, due = [], Due()
            ledger = started(path)
            ledger.defer = due.defer if together else ledger.defer
    kill(ledger)
    expected |= dict.fromkeys((*running, *held_by(ledger)), "estimated")
    ledger = started(path)
    ledger.close()
    assert stored(path, "id", "usage_source") == [(row(one).id, source) for one, source in sorted(expected.items())]
    assert spent(path, "x") == sum(one if source == "provider" else 1000 for one, source in expected.items())
    assert segment_paths(path) == []


def held_by(ledger):
    return [values_of(payload)[0] - row(0).id for data in ledger.journal.held for _, payload in scan(data, 0).entries]


class Due:
    """What waits for the end of a pass."""

    def __init__(self):
        self.calls = []

    def defer(self, call):
        self.calls.append(call)
        return True

    def come(self):
        calls, self.calls = self.calls, []
        for call in calls:
            call()


def test_ends_are_written_in_one_call_with_what_begins_next_or_at_the_end_of_the_pass(tmp_path, monkeypatch):
    ledger, due = started(tmp_path / "one.db"), Due()
    ledger.defer = due.defer
    written, write = [], os.pwrite

    def counting(fd, data, at):
        written.append(len(scan(data, 0).entries))
        return write(fd, data, at)

    monkeypatch.setattr(os, "pwrite", counting)
    for number in range(4):
        ledger.open(opened(number))
    for number in range(3):
        ledger.settle(row(number))
    assert written == [1, 1, 1, 1]
    assert len(due.calls) == 1, "asked for once a pass"
    ledger.open(opened(4))
    assert written[4:] == [4]
    due.come()
    ledger.settle(row(3))
    ledger.settle(row(4))
    due.come()
    assert written[5:] == [2]
    ledger.commit()
    assert ledger.status().rows == 5
    ledger.close()


def test_the_end_of_a_stream_is_not_held(tmp_path):
    ledger, due = started(tmp_path / "one.db"), Due()
    ledger.defer = due.defer
    ledger.settle(row(1, stream=False))
    ledger.settle(row(2, stream=True))
    assert not ledger.journal.held, "and the one before it went along"
    kill(ledger)
    again = started(tmp_path / "one.db")
    assert stored(tmp_path / "one.db", "usage_source") == [("provider",), ("provider",)]
    again.close()


def test_no_more_than_so_many_ends_are_held(tmp_path):
    ledger, due = started(tmp_path / "one.db"), Due()
    ledger.defer = due.defer
    for number in range(HELD_MAX + 1):
        assert len(ledger.journal.held) == number
        ledger.settle(row(number))
    assert not ledger.journal.held
    assert ledger.journal.held_bytes == 0
    ledger.commit()
    assert ledger.status().rows == HELD_MAX + 1
    ledger.close()


@pytest.mark.parametrize("begins", [True, False])
def test_held_ends_have_their_room_whatever_comes_next(tmp_path, begins):
    """Else they would be written past the end of their segment."""
    ledger, due, long = started(tmp_path / "one.db"), Due(), "u" * 3 * SETTLED_RESERVE_BYTES
    ledger.defer = due.defer
    first, journal = ledger.journal.current, ledger.journal
    ledger.settle(row(1, user=long))
    while first.at + (len(journal.held) + 1) * journal.held_bytes // len(journal.held) <= first.size:
        ledger.settle(row(len(journal.held) + 1, user=long))
    count = len(journal.held)
    if begins:
        assert ledger.open(opened(100, user=long)) is None
    else:
        ledger.settle(row(100, user=long))
    assert [*journal.sealed] == [first]
    assert first.at <= first.size == first.path.stat().st_size
    assert len(scan(first.path.read_bytes()).entries) == count
    ledger.close()


def test_a_segment_is_sealed_with_the_ends_that_were_held_for_it(tmp_path):
    path, number = tmp_path / "one.db", 1
    ledger, due = started(path), Due()
    ledger.defer = due.defer
    first = ledger.journal.current
    while first.at + 2 * SETTLED_RESERVE_BYTES < first.size:
        number += 1
        ledger.settle(row(number))
        due.come()
    assert ledger.open(opened(1)) is None
    while ledger.journal.current is first:
        number += 1
        ledger.settle(row(number))
        assert held_by(ledger) == [number]
        assert ledger.open(opened(10_000 + number, user="u" * SETTLED_RESERVE_BYTES)) is None
    ends = [values_of(payload)[0] for kind, payload in scan(first.path.read_bytes()).entries if kind == SETTLED]
    assert ends[-1] == row(number).id
    ledger.close()


def test_held_ends_that_a_disk_does_not_take_are_kept_in_memory_and_counted_once(tmp_path, monkeypatch):
    ledger, due = started(tmp_path / "one.db"), Due()
    ledger.defer = due.defer

    def failing(fd, data, at):
        raise OSError(5, "no")

    for number in range(3):
        ledger.open(opened(number, spent=(Spent("x", 0, 1000),)))
        ledger.settle(row(number, spent=(Spent("x", 0, 1),)))
    ledger.settle(row(3, spent=(Spent("x", 0, 1),)))
    monkeypatch.setattr(os, "pwrite", failing)
    assert ledger.open(opened(4)) is not None
    due.come()
    assert (len(ledger.journal.held), len(ledger.writer.overflow)) == (0, 2)
    monkeypatch.undo()
    ledger.commit()
    assert ledger.status().rows == 4
    ledger.close()
    assert spent(tmp_path / "one.db", "x") == 4


def test_an_end_for_which_the_journal_turns_over_is_explained_though_the_segment_of_its_beginning_is_gone(tmp_path):
    path = tmp_path / "one.db"
    ledger, due = started(path), Due()
    ledger.defer = due.defer
    ledger.open(opened(1))
    first, number = ledger.journal.current, 1
    while first.at + SETTLED_RESERVE_BYTES < first.size:
        number += 1
        ledger.settle(row(number))
        due.come()
    ledger.settle(row(1, user="u" * SETTLED_RESERVE_BYTES))
    assert [first] == [*ledger.journal.sealed]
    assert held_by(ledger) == [1]
    ledger.commit()
    assert not first.path.exists()
    kill(ledger)
    again = started(path)
    assert stored(path, "id", "usage_source")[0] == (row(1).id, "estimated")
    assert len(stored(path, "id")) == number
    again.close()


def test_what_is_held_at_the_end_of_a_run_is_written(tmp_path):
    ledger, due = started(tmp_path / "one.db"), Due()
    ledger.defer = due.defer
    ledger.open(opened(1))
    ledger.settle(row(1))
    ledger.close()
    assert stored(tmp_path / "one.db", "usage_source") == [("provider",)]


def test_the_journal_turns_over_and_lets_go_of_what_the_database_has(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    woken = []
    ledger.journal.wake = lambda: woken.append(1)
    held = opened(0, user="held")
    ledger.open(held)
    for number in range(1, 2000):
        assert ledger.open(opened(number)) is None, number
        ledger.settle(row(number))
        if woken:
            ledger.commit()
            woken.clear()
    assert ledger.journal.next_number > 8
    assert len(segment_paths(path)) <= 3
    kill(ledger)
    again = started(path)
    assert len(stored(path, "id")) == 2000
    assert stored(path, "user", "error_type")[0] == ("held", "recovered"), "what stayed open was written anew into each segment"
    again.close()


def test_an_open_request_has_room_for_its_end_however_full_the_journal_gets(tmp_path):
    ledger = started(tmp_path / "one.db", journal_segments_max=2)
    number = 0
    while ledger.open(opened(number)) is None:
        number += 1
    assert number > 1.5 * SEGMENT_BYTES / (SETTLED_RESERVE_BYTES + 400)
    fault = ledger.open(opened(number))
    assert fault is not None
    assert fault.kind == "journal_full"
    assert ledger.status().open == number
    for one in range(number):
        ledger.settle(row(one, attempts="x" * 600))
    assert not ledger.writer.overflow
    ledger.commit()
    assert ledger.status().rows == number
    assert ledger.open(opened(number)) is None
    ledger.close()


def test_ends_that_find_no_room_wait_in_memory_then_are_lost_and_counted(tmp_path):
    ledger = started(tmp_path / "one.db", journal_segments_max=2, queue_rows_max=3)
    for number in range(8):
        ledger.open(opened(number))
    for number in range(8):
        ledger.settle(row(number, attempts="x" * 40_000))  # two segments take one each
    status = ledger.status()
    assert (status.queued, status.lost, status.errors) == (5, 3, 3)
    ledger.commit()
    assert (ledger.status().rows, ledger.status().queued, ledger.status().lost) == (5, 0, 3)
    ledger.close()


def test_ids_grow_over_restarts_though_the_clock_goes_back(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    first = [ledger.new_id(MARCH + 3600), ledger.new_id(MARCH + 3600), ledger.new_id(MARCH)]
    assert first == sorted(set(first))
    ledger.open(opened(id=first[-1]))
    kill(ledger)
    again = started(path)
    assert again.new_id(MARCH) > first[-1]
    assert again.new_id(MARCH + 7200) == int((MARCH + 7200) * 1e6)
    again.close()


def test_single_rows_are_forgotten_when_their_time_is_over(tmp_path):
    clock = Clock()
    ledger = started(tmp_path / "one.db", clock, retention_days=31)
    ledger.open(opened(1))
    ledger.settle(row(1))
    ledger.commit()
    clock.now = MARCH + 40 * 86400
    ledger.commit()
    assert len(stored(tmp_path / "one.db", "id")) == 1, "its month ended less than 31 days ago"
    clock.now = MARCH + 63 * 86400
    ledger.commit()
    assert stored(tmp_path / "one.db", "id") == []
    assert ledger.say[-1] == ("info", "ledger_retention", {"dropped": ["rows_2026_03"]})
    ledger.close()


def test_a_store_serves_one_gateway_at_a_time(tmp_path):
    path = tmp_path / "one.db"
    first = started(path)
    assert refused(path).kind == "in_use"
    first.close()
    started(path).close()


@pytest.mark.parametrize("on_failure", ["refuse", "serve"])
def test_a_store_of_a_later_version_stops_the_start(tmp_path, on_failure):
    path = tmp_path / "one.db"
    started(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1000")
    connection.close()
    assert refused(path, on_failure=on_failure).kind == "newer"


def test_a_journal_of_another_version_stops_the_start_and_is_kept(tmp_path):
    path = tmp_path / "one.db"
    later = path.with_name("one.db.journal-00000007")
    later.write_bytes(b"APLJRNL\x02" + b"whatever that means" * 10)
    assert refused(path).kind == "newer"
    assert later.exists()


def test_damage_in_the_journal_costs_no_entry_around_it_and_is_kept_aside(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    places = []
    for number in range(3):
        ledger.open(opened(number))
        places.append(ledger.journal.current.at)
        ledger.settle(row(number))
    kill(ledger)
    (_, segment), *_ = segment_paths(path)
    data = bytearray(segment.read_bytes())
    data[places[1] + 20] ^= 0xFF  # in the end of the second request
    segment.write_bytes(data)
    again = started(path)
    assert stored(path, "id", "error_type") == [(row(0).id, None), (row(1).id, "recovered"), (row(2).id, None)]
    assert "journal_damaged" in again.say.events()
    assert [one.name for one in tmp_path.glob("*.damaged-*")] == ["one.db.damaged-20260301T000000-00000001"]
    again.close()


def test_a_journal_that_was_cut_short_is_read_to_where_it_ends(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    for number in range(2):
        ledger.open(opened(number))
        ledger.settle(row(number))
    at = ledger.journal.current.at
    kill(ledger)
    (_, segment), *_ = segment_paths(path)
    segment.write_bytes(segment.read_bytes()[: at - 30])
    again = started(path)
    assert stored(path, "id", "error_type") == [(row(0).id, None), (row(1).id, "recovered")]
    assert list(tmp_path.glob("*.damaged-*")) == []
    again.close()


def test_a_journal_without_its_database_begins_a_new_one_with_everything_in_it(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    ledger.open(opened(1))
    ledger.settle(row(1))
    kill(ledger)
    for one in tmp_path.glob("one.db*"):
        if ".journal-" not in one.name:
            one.unlink()
    again = started(path)
    assert stored(path, "id") == [(row(1).id,)]
    again.close()


def test_a_command_may_write_beside_a_running_gateway(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path)
    other = open_database(path)
    assert isinstance(other, sqlite3.Connection)
    for number in range(20):
        other.execute("INSERT INTO audit (at_ms, actor, action, target, detail) VALUES (1, 'x', 'y', 'z', '{}')")
        ledger.open(opened(number))
        ledger.settle(row(number))
        ledger.commit()
    assert ledger.status().errors == 0
    other.close()
    ledger.close()


def test_a_segment_that_is_sealed_while_all_are_looked_for_is_among_them(tmp_path):
    """Rows behind it would be committed before its own, and what it holds would not be put on the disk for whoever waits for that."""
    ledger = started(tmp_path / "one.db")
    journal = ledger.journal
    first = journal.current

    class SealedMeanwhile(deque[Segment]):
        def __iter__(self) -> Iterator[Segment]:
            before = list(super().__iter__())
            if not before:
                journal._rotated(0)
            return iter(before)

    journal.sealed = SealedMeanwhile()
    assert first in journal.segments()
    ledger.close()


def test_ids_go_on_from_a_database_that_could_not_be_read_at_the_start_though_the_clock_was_set_back(tmp_path):
    path, clock = tmp_path / "one.db", Clock()
    ledger = started(path, clock)
    first = ledger.new_id(MARCH + 100)
    ledger.open(opened(id=first))
    ledger.settle(row(id=first))
    ledger.close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA journal_mode = DELETE")
    holder.execute("BEGIN EXCLUSIVE")
    ledger = started(path, clock)
    assert ledger.status().fault is not None
    holder.execute("ROLLBACK")
    holder.close()
    ledger.commit()
    assert ledger.status().fault is None
    assert ledger.new_id(MARCH) > first
    ledger.close()


def test_what_was_left_is_brought_in_a_file_at_a_time(tmp_path, monkeypatch):
    path = tmp_path / "one.db"
    ledger = started(path, journal_segments_max=8)
    number = 0
    while len(ledger.journal.sealed) < 4:
        ledger.open(opened(number))
        ledger.settle(row(number))
        ledger.journal.make_spare()  # and nothing is committed
        number += 1
    kill(ledger)
    sizes = []
    added = recovery._added
    monkeypatch.setattr(recovery, "_added", lambda rows, tables: sizes.append(len(rows)) or added(rows, tables))
    again = started(path)
    assert len(stored(path, "id")) == number
    assert max(sizes) <= number / 3
    again.close()
