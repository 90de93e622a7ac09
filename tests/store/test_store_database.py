"""Opening the store: made, migrated forward, and refused where it is not certainly ours and whole."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.store import database
from appliance.store.database import open_database
from appliance.store.fault import StoreFault
from appliance.store.schema import APPLICATION_ID, ROWS_COLUMNS, VERSION, create_rows, rows_table


def opened(path: Path) -> sqlite3.Connection:
    found = open_database(path)
    assert isinstance(found, sqlite3.Connection), found
    return found


def refused(path: Path) -> StoreFault:
    found = open_database(path, busy_s=0.05)
    assert isinstance(found, StoreFault), found
    assert str(path) in found.message
    return found


def test_a_new_store_is_made_with_its_folder_for_its_owner_alone(tmp_path):
    path = tmp_path / "state" / "appliance.db"
    connection = opened(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert os.stat(path).st_mode & 0o077 == 0
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert {"names", "daily", "spend", "tenants", "keys", "audit"} <= tables


def test_a_store_that_is_there_keeps_what_it_has(tmp_path):
    path = tmp_path / "one.db"
    first = opened(path)
    first.execute("INSERT INTO spend VALUES ('tenant:a', 0, 7)")
    first.close()
    assert opened(path).execute("SELECT spent_nusd FROM spend").fetchone() == (7,)


def test_a_store_of_a_later_version_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "one.db"
    one = opened(path)
    one.execute(f"PRAGMA user_version = {VERSION + 1}")
    one.close()
    before = path.read_bytes()
    assert refused(path).kind == "newer"
    assert path.read_bytes() == before


def test_another_programs_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "theirs.db"
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE recipes (name TEXT)")
    theirs.commit()
    theirs.close()
    before = path.read_bytes()
    assert refused(path).kind == "foreign"
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"this is no database, and never was one" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_broken_file_is_called_broken(tmp_path, content):
    path = tmp_path / "one.db"
    path.write_bytes(content)
    assert refused(path).kind == "corrupt"
    assert path.read_bytes() == content


def test_what_cannot_be_reached_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    assert refused(tmp_path / "file" / "one.db").kind == "unwritable"
    assert refused(tmp_path).kind == "unwritable"
    found = open_database(tmp_path / "none.db", make=False)
    assert isinstance(found, StoreFault)
    assert not (tmp_path / "none.db").exists()


def test_a_locked_store_is_called_locked(tmp_path):
    path = tmp_path / "one.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE x (y)")
    holder.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    holder.execute("BEGIN EXCLUSIVE")
    assert refused(path).kind == "locked"


def test_migrations_run_in_order_each_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "one.db"
    opened(path).close()
    second, third = "CREATE TABLE two (a)", "CREATE TABLE three (a); CREATE TABLE two (a)"  # the third fails half way
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, second, third))
    monkeypatch.setattr(database, "VERSION", VERSION + 2)
    assert refused(path).kind == "unwritable"
    looked = sqlite3.connect(path)
    assert looked.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
    assert [name for (name,) in looked.execute("SELECT name FROM sqlite_schema WHERE name IN ('two', 'three')")] == ["two"]


def test_many_may_open_a_new_store_at_once(tmp_path):
    for number in range(10):
        path = tmp_path / f"{number}.db"
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(open_database, [path] * 8))
        assert [one for one in found if not isinstance(one, sqlite3.Connection)] == []


def test_opening_it_again_leaves_the_locks_of_this_process_alone(tmp_path):
    """Another process that closes the database while we have it open must not take itself for the last one."""
    path = tmp_path / "one.db"
    ours = opened(path)
    opened(path).close()
    ours.execute("INSERT INTO spend VALUES ('a', 0, 1)")
    look = f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('SELECT * FROM spend').fetchall(); c.close()"
    subprocess.run([sys.executable, "-c", look], check=True, timeout=60)
    assert (tmp_path / "one.db-wal").exists()
    ours.execute("INSERT INTO spend VALUES ('b', 0, 1)")
    assert len(opened(path).execute("SELECT * FROM spend").fetchall()) == 2


def test_a_months_rows_have_a_table_of_their_own(tmp_path):
    connection = opened(tmp_path / "one.db")
    connection.execute(create_rows(rows_table(2026, 3)))
    columns = [column[1] for column in connection.execute("PRAGMA table_info(rows_2026_03)")]
    assert columns == list(ROWS_COLUMNS)
