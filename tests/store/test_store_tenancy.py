"""Tenants and keys in the store: checked whole, changed whole, audited, never with a secret."""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.config.loader import Loaded, load_text
from appliance.config.schema import Config
from appliance.gateway.tenancy import tenancy_of
from appliance.store import audit, tenancy_change
from appliance.store.audit import Note, read_audit, revision
from appliance.store.database import open_database
from appliance.store.tenancy import note_used, read_stored
from appliance.store.tenancy_change import Denied
from appliance.store.tenancy_desk import Desk, Invalid

FILE = """
[tenants.filed]
rpm = 7
keys = [ { id = "ci", sha256 = "%s" } ]
""" % ("ab" * 32)
NOW = 1_800_000_000.0


def config_of(text: str = FILE) -> Config:
    loaded = load_text(text, env={}, providers={})
    assert isinstance(loaded, Loaded), loaded
    return loaded.config


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    found = open_database(tmp_path / "one.db")
    assert isinstance(found, sqlite3.Connection)
    return found


@pytest.fixture
def at(connection: sqlite3.Connection) -> Callable[..., Desk]:
    """A desk at a time, in seconds after NOW."""
    return lambda seconds=0.0: Desk(connection, config_of(), Note("cli:me", NOW + seconds))


def test_a_tenant_is_kept_as_it_was_given_and_shown_with_every_default(at, connection):
    made = at().create_tenant("acme", {"rpm": 60, "models": ["gpt-*"], "budget": {"usd": 5}})
    assert (made["name"], made["source"], made["rpm"], made["models"], made["tpm"]) == ("acme", "store", 60, ["gpt-*"], None)
    assert made["budget"] == {"usd": 5.0, "period": "month", "timezone": "UTC", "on_exceeded": "refuse"}
    (kept,) = read_stored(connection).tenants
    assert json.loads(kept.settings).keys() == {"rpm", "models", "budget"}, "defaults are resolved at load"
    assert at().tenant("acme") == made
    assert [one["name"] for one in at().all_tenants()] == ["acme", "filed"]


def test_every_problem_is_told_at_once_with_its_path_and_nothing_is_written(at, connection):
    wrong = {"rpm": 0, "budget": {"usd": "5", "timezone": "Mars"}, "modles": ["x"], "models": ["", 5], "pin": "yes"}
    refused = at().create_tenant("acme", wrong)
    assert isinstance(refused, Invalid)
    told = {problem.path for problem in refused.problems}
    assert told == {"rpm", "budget.usd", "budget.timezone", "modles", "models[0]", "models[1]", "pin"}
    assert any("models" in problem.hint for problem in refused.problems if problem.path == "modles")
    refused = at().create_key("filed", "k", {"expires": "soon", "tpm": -1, "sha256": "ab"})
    assert isinstance(refused, Invalid)
    refused = at().create_key("filed", "k", {"expires": "soon", "tpm": -1})
    assert isinstance(refused, Invalid)
    assert {problem.path for problem in refused.problems} == {"expires", "tpm"}
    for name in ("", "a/b", "direct", "x" * 129, "a b"):
        assert isinstance(at().create_tenant(name, {}), Invalid), name
        assert [one.path for one in at().create_key("filed", name, {}).problems] == ["id"], name
    assert [one.path for one in at().create_key("a/b", "k", {}).problems] == ["tenant"]
    assert [one.path for one in at().create_tenant("a/b", {}).problems] == ["name"]
    assert read_stored(connection).tenants == ()
    assert read_stored(connection).keys == ()
    assert revision(connection) == 0


def test_what_the_file_names_cannot_be_changed(at, connection):
    desk = at()
    refused = [
        desk.create_tenant("filed", {}), desk.replace_tenant("filed", {}), desk.change_tenant("filed", {"rpm": 1}),
        desk.remove_tenant("filed"), desk.create_key("filed", "ci", {}), desk.revoke_key("ci"), desk.rotate_key("ci"),
    ]  # fmt: skip
    for one in refused:
        assert isinstance(one, Denied)
        assert one.kind == "conflict"
        assert "file" in one.message
    assert revision(connection) == 0


def test_a_key_is_told_once_and_kept_as_its_hash(at, connection, tmp_path):
    made = at().create_key("filed", "new", {"models": ["gpt-*"], "expires": "2099-01-01"})
    secret = made["key"]
    assert secret.startswith("sk-gw-")
    assert len(secret) == 38
    assert made["prefix"] == secret[:10]
    assert made["expires"] == "2099-01-01T00:00:00Z"
    (kept,) = read_stored(connection).keys
    assert kept.sha256 == hashlib.sha256(secret.encode()).digest()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in everything
    assert secret[12:].encode() not in everything
    assert "key" not in at().all_keys()[0]
    hashes = kept.sha256.hex(), repr(kept.sha256)
    shown = repr(kept) + json.dumps(at().all_keys()) + json.dumps(read_audit(connection, 10))
    assert not any(text in shown for text in (*hashes, secret))


def test_ids_are_of_one_key_alone_also_when_it_is_revoked(at):
    at().create_tenant("acme", {})
    assert at().create_key("acme", "k", {})["key"]
    assert at().create_key("filed", "k", {}).kind == "conflict"
    assert at().revoke_key("k")["state"] == "revoked"
    again = at().create_key("acme", "k", {})
    assert (again.kind, "revoked" in again.message) == ("conflict", True)
    assert at().revoke_key("k")["state"] == "revoked", "revoking again is no mistake"
    assert at().rotate_key("k").kind == "conflict"
    assert at().create_key("nobody", "x", {}).kind == "missing"
    assert at().revoke_key("nothing").kind == "missing"


def opens(connection: sqlite3.Connection, secret: str, seconds: float = 0.0) -> bool:
    digest = hashlib.sha256(secret.encode()).digest()
    found = [one for one in tenancy_of(config_of(), read_stored(connection)).secrets if one.sha256 == digest]
    return any(one.until is None or one.until > NOW + seconds for one in found)


def test_a_rotated_secret_works_on_for_its_grace_and_no_third_one_does(at, connection):
    first = at().create_key("filed", "k", {})["key"]
    second = at(10).rotate_key("k", 100)
    assert second["rotated_from"]["prefix"] == first[:10]
    assert opens(connection, first, 109)
    assert not opens(connection, first, 110)
    assert opens(connection, second["key"], 1e9)
    third = at(20).rotate_key("k", 100)["key"]
    assert not opens(connection, first, 20), "of several rotations only the last one's grace counts"
    assert opens(connection, second["key"], 119)
    fourth = at(30).rotate_key("k", 0)["key"]
    assert not opens(connection, third, 30)
    at(40).revoke_key("k")
    assert not opens(connection, fourth, 40)


def test_grace_is_bounded_and_never_outlives_the_key(at, connection):
    assert isinstance(at().rotate_key("k", -1), Invalid)
    assert isinstance(at().rotate_key("k", 1e9), Invalid)
    assert isinstance(at().rotate_key("k", float("nan")), Invalid)
    made = at().create_key("filed", "k", {"expires": "2027-01-15T10:00:00+01:00"})
    assert made["expires"] == "2027-01-15T09:00:00Z"
    rotated = at(3000).rotate_key("k", 1000)
    assert opens(connection, made["key"], 3599)
    assert not opens(connection, made["key"], 3600)
    assert not opens(connection, rotated["key"], 3600)
    assert at(3601).rotate_key("k").kind == "conflict"
    assert [one["state"] for one in at(3601).all_keys()] == ["active", "expired"]
    past = at().create_key("filed", "late", {"expires": "2026-12-31"})
    assert isinstance(past, Invalid)
    assert past.problems[0].path == "expires"


def test_a_tenant_goes_with_its_keys(at, connection):
    at().create_tenant("acme", {})
    secret = at().create_key("acme", "k", {})["key"]
    assert at().remove_tenant("acme")["removed_keys"] == ["k"]
    assert not opens(connection, secret)
    assert at().remove_tenant("acme").kind == "missing"


def test_a_change_of_some_settings_leaves_the_others(at):
    at().create_tenant("acme", {"rpm": 60, "tpm": 5, "budget": {"usd": 5, "period": "day"}})
    changed = at(5).change_tenant("acme", {"rpm": 70, "tpm": None, "budget": {"usd": 6}})
    assert (changed["rpm"], changed["tpm"], changed["budget"]["usd"], changed["budget"]["period"]) == (70, None, 6.0, "day")
    assert at().replace_tenant("acme", {"rpm": 1})["budget"] is None
    assert at().change_tenant("nobody", {}).kind == "missing"


def test_every_change_is_audited_in_its_own_transaction(at, connection):
    at().create_tenant("acme", {"rpm": 1})
    at(1).change_tenant("acme", {"rpm": 2})
    at(2).create_key("acme", "k", {})
    at(3).rotate_key("k")
    at(4).revoke_key("k")
    at(5).remove_tenant("acme")
    entries = read_audit(connection, 100)
    done = [one["action"] for one in reversed(entries)]
    assert done == ["tenant.create", "tenant.set", "key.create", "key.rotate", "key.revoke", "tenant.remove"]
    assert {one["actor"] for one in entries} == {"cli:me"}
    assert entries[-2] | {"id": 0} == {
        "id": 0, "at": "2027-01-15T08:00:01Z", "actor": "cli:me", "action": "tenant.set", "target": "acme",
        "before": {"rpm": 1}, "after": {"rpm": 2},
    }  # fmt: skip
    assert revision(connection) == entries[0]["id"] == 6
    assert [one["id"] for one in read_audit(connection, 2, before=5)] == [4, 3]


def test_the_audit_is_bounded_and_its_numbers_go_on(at, connection, monkeypatch):
    monkeypatch.setattr(audit, "AUDIT_MAX", 3)
    for number in range(5):
        at().create_tenant(f"t{number}", {})
    assert [one["id"] for one in read_audit(connection, 100)] == [5, 4, 3]


def test_tenants_keys_and_revoked_keys_are_bounded(at, monkeypatch):
    monkeypatch.setattr(tenancy_change, "TENANTS_MAX", 1)
    monkeypatch.setattr(tenancy_change, "KEYS_MAX", 3)
    monkeypatch.setattr(tenancy_change, "REVOKED_MAX", 1)
    at().create_tenant("one", {})
    assert at().create_tenant("two", {}).kind == "full"
    for name in ("a", "b", "c"):
        assert at().create_key("one", name, {})["key"]
    assert at().create_key("one", "d", {}).kind == "full"
    at(1).revoke_key("a")
    at(2).revoke_key("b")
    assert [one["id"] for one in at().all_keys()] == ["ci", "b", "c"]


def test_changes_that_come_at_once_do_not_mix(connection, tmp_path):
    def make(number: int) -> None:
        own: Any = open_database(tmp_path / "one.db")
        for turn in range(10):
            Desk(own, config_of(), Note("cli:me", NOW)).create_key("filed", f"k{number}-{turn}", {})
        own.close()

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_stored(connection).keys) == revision(connection) == 40


def test_last_use_only_moves_forward(at, connection):
    at().create_key("filed", "k", {})
    note_used(connection, {"k": NOW + 5, "ci": NOW, "gone": NOW})
    note_used(connection, {"k": NOW + 3})
    before = revision(connection)
    assert [one["last_used_at"] for one in at().all_keys()] == [None, "2027-01-15T08:00:05Z"]
    assert revision(connection) == before, "nobody has to load all keys again because one was used"


def test_a_file_that_names_what_the_store_has_wins(at, connection):
    at().create_tenant("acme", {"rpm": 1})
    hers, shared = at().create_key("acme", "hers", {})["key"], at().create_key("acme", "both", {})["key"]
    later = config_of('[tenants.acme]\nrpm = 9\nkeys = [ { id = "both", sha256 = "%s" } ]' % ("cd" * 32))
    tenancy = tenancy_of(later, read_stored(connection))
    assert tenancy.tenants["acme"].rpm == 9
    digests = {one.sha256 for one in tenancy.secrets}
    assert hashlib.sha256(hers.encode()).digest() in digests
    assert hashlib.sha256(shared.encode()).digest() not in digests
    assert any("both" in line and "shadowed" in line for line in tenancy.problems)
    states = {(one["id"], one["source"]): one["state"] for one in Desk(connection, later, Note("", NOW)).all_keys()}
    assert states == {("hers", "store"): "active", ("both", "store"): "shadowed", ("both", "file"): "active"}
    orphaned = tenancy_of(config_of(""), read_stored(connection))
    assert len(orphaned.secrets) == 2


def test_a_key_whose_tenant_left_the_file_does_not_count(at, connection):
    secret = at().create_key("filed", "k", {})["key"]
    tenancy = tenancy_of(config_of(""), read_stored(connection))
    assert (tenancy.secrets, tenancy.empty) == ((), True)
    assert any("no tenant" in line for line in tenancy.problems)
    assert secret


def test_settings_that_this_version_does_not_know_let_nobody_in(connection):
    connection.execute("INSERT INTO tenants VALUES ('odd', '{\"colour\": 1}', 0, 0)")
    connection.execute("INSERT INTO keys (id, tenant, sha256, prefix, settings, created_at) VALUES ('k', 'odd', x'00', 'p', '{}', 0)")
    tenancy = tenancy_of(config_of(""), read_stored(connection))
    assert tenancy.tenants == {}
    assert tenancy.secrets == ()
    assert any("colour" in line for line in tenancy.problems)


def test_nobody_is_let_in_without_a_key_while_the_store_cannot_be_read(connection):
    assert tenancy_of(config_of(""), None).empty is False
    assert tenancy_of(config_of(""), read_stored(connection)).empty is True
