"""Noticing changes of tenants and keys: every one, and nothing else."""

import sqlite3
import time
from pathlib import Path

import pytest

from appliance.config.schema import Config
from appliance.store.audit import Note
from appliance.store.database import open_database
from appliance.store.fault import StoreFault
from appliance.store.names import Names
from appliance.store.row import LedgerRow
from appliance.store.tables import Tables
from appliance.store.tenancy import Stored
from appliance.store.tenancy_desk import Desk
from appliance.store.tenancy_reader import TenancyReader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    opened(tmp_path / "one.db").close()
    return tmp_path / "one.db"


def opened(path: Path) -> sqlite3.Connection:
    found = open_database(path)
    assert isinstance(found, sqlite3.Connection), found
    return found


def desk(path: Path) -> Desk:
    return Desk(opened(path), Config(), Note("cli:me", time.time()))


def names(found: object) -> list[str]:
    assert isinstance(found, Stored), found
    return [one.name for one in found.tenants]


def test_a_change_is_seen_once_whoever_makes_it(path):
    reader = TenancyReader(path)
    assert names(reader.look()) == []
    assert reader.look() is None
    at = desk(path)
    at.create_tenant("a", {})
    assert names(reader.look()) == ["a"]
    assert reader.look() is None
    at.create_key("a", "k", {})
    found = reader.look()
    assert isinstance(found, Stored)
    assert [one.id for one in found.keys] == ["k"]
    at.revoke_key("k")
    assert isinstance(reader.look(), Stored)
    assert reader.look() is None


def test_what_the_ledger_writes_and_when_keys_were_used_is_no_change(path):
    reader = TenancyReader(path)
    desk(path).create_tenant("a", {})
    desk(path).create_key("a", "k", {})
    assert isinstance(reader.look(), Stored)
    row = LedgerRow(1, 1.0, "", "a", "k", "", "r", "b", "m", "d", "chat", False, 200, "", "provider")
    Tables(opened(path), Names(10)).add([row])
    assert reader.look() is None
    assert reader.note_used({"k": 5.0}) is None
    assert reader.look() is None
    assert opened(path).execute("SELECT last_used_at FROM keys").fetchone() == (5,)


def test_a_backup_put_in_its_place_is_what_counts(path, tmp_path):
    first = desk(path)
    first.create_tenant("a", {})
    first.connection.close()
    reader = TenancyReader(path)
    assert names(reader.look()) == ["a"]
    other = desk(tmp_path / "other.db")
    other.create_tenant("b", {})
    other.connection.close()
    (tmp_path / "other.db").rename(path)
    assert names(reader.look()) == ["b"], "also with the same number of changes in it"


def test_an_empty_file_in_its_place_revokes_nobody(path):
    desk(path).create_tenant("a", {})
    reader = TenancyReader(path)
    reader.look()
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    opened(path).close()
    assert reader.look() is None
    assert reader.replaced
    assert names(reader.last) == ["a"]
    desk(path).create_tenant("b", {})
    assert names(reader.look()) == ["b"]
    assert not reader.replaced


def test_where_a_damaged_store_was_set_aside_nothing_is_known_until_somebody_makes_a_tenant(path):
    """So that callers without a key are not let in because a file broke."""
    path.with_name(path.name + ".corrupt-20270101T000000Z").write_bytes(b"?")
    reader = TenancyReader(path)
    assert reader.look() is None
    assert (reader.last, reader.replaced) == (None, True)
    desk(path).create_tenant("a", {})
    assert names(reader.look()) == ["a"]
    assert not reader.replaced


def test_a_store_that_cannot_be_read_changes_nothing_and_is_looked_at_again(path, tmp_path):
    desk(path).create_tenant("a", {})
    reader = TenancyReader(path)
    reader.look()
    path.rename(tmp_path / "away.db")
    assert isinstance(reader.look(), StoreFault)
    assert isinstance(reader.note_used({"k": 1.0}), StoreFault)
    assert names(reader.last) == ["a"]
    path.write_bytes(b"not a database" * 100)
    assert isinstance(reader.look(), StoreFault)
    (tmp_path / "away.db").rename(path)
    assert not isinstance(reader.look(), StoreFault)
    assert not path.with_name("none.db").exists()
    assert isinstance(TenancyReader(path.with_name("none.db")).look(), StoreFault)
    assert not path.with_name("none.db").exists(), "looking makes nothing"
