"""`key`, `tenant` and `usage` with no gateway running: what they say, what they keep, and how they end."""

import csv
import io
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.store.database import open_database
from appliance.store.names import Names
from appliance.store.row import LedgerRow
from appliance.store.tables import Tables


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('[tenants.filed]\nkeys = [ { id = "ci", sha256 = "%s" } ]\n' % ("ab" * 32))
    return path


def run(config: Path, command: str, status: int = 0) -> tuple[str, str]:
    """Standard output and standard error of a command that ended as expected."""
    arguments = [sys.executable, "-m", "appliance", *command.split(), "-c", str(config)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_a_key_stands_alone_on_standard_output_and_is_never_shown_again(config: Path) -> None:
    run(config, "tenant create acme --model gpt-* --rpm 60 --budget 5/day --timezone Europe/Berlin")
    made, words = run(config, "key create --tenant acme --id ci-2 --expires 90d --tpm 1000")
    assert made.startswith("sk-gw-")
    assert made.count("\n") == 1
    assert "this once" in words
    listed, _ = run(config, "key list")
    assert made.strip() not in listed
    assert made[:10] + "…" in listed
    lines = listed.splitlines()
    assert lines[0].split()[:5] == ["tenant", "id", "prefix", "state", "source"]
    assert [line.split()[1] for line in lines[1:]] == ["ci-2", "ci"]
    place = lines[0].index("limits")
    assert [line[place:].split("  ")[0] for line in lines[1:]] == ["1000 tpm", "-"], "columns are aligned"
    tenants, _ = run(config, "tenant list")
    assert "$5/day Europe/Berlin" in tenants
    keys = json.loads(run(config, "key list --json --tenant acme")[0])
    assert [(one["id"], one["state"], one["source"]) for one in keys] == [("ci-2", "active", "store")]


def test_settings_are_changed_one_by_one_and_taken_away(config: Path) -> None:
    run(config, "tenant create acme --rpm 60 --tpm 5")
    run(config, "tenant set acme --rpm none --budget 7/week --no-pin")
    (tenant,) = [one for one in json.loads(run(config, "tenant list --json")[0]) if one["name"] == "acme"]
    assert (tenant["rpm"], tenant["tpm"], tenant["pin"]) == (None, 5, False)
    assert (tenant["budget"]["usd"], tenant["budget"]["period"]) == (7.0, "week")
    assert "nothing to change" in run(config, "tenant set acme", 64)[1]


def test_mistakes_are_told_at_once_and_teach(config: Path) -> None:
    _, words = run(config, "tenant create acme --rpm 0 --timezone berlin --budget 5/year", 64)
    for word in ("rpm", "budget.timezone", "budget.period", "Europe/Berlin"):
        assert word in words
    assert "no tenant 'nobody'" in run(config, "key create --tenant nobody", 1)[1]
    assert "configuration file" in run(config, "key revoke ci", 1)[1]
    assert "90d" in run(config, "key create --tenant filed --expires soon", 64)[1]
    assert "24h" in run(config, "key rotate ci --grace long", 64)[1]
    assert "100/month" in run(config, "tenant create acme --budget much", 64)[1]
    assert "whole number" in run(config, "tenant create acme --rpm many", 64)[1]
    assert "--by" in run(config, "usage --by colour", 64)[1]
    assert "key create" in run(config, "key list --tenant nobody")[1]


def test_a_tenant_whose_keys_work_is_removed_only_when_that_is_meant(config: Path) -> None:
    run(config, "tenant create acme")
    run(config, "key create --tenant acme --id k")
    assert "--yes" in run(config, "tenant remove acme", 1)[1]
    run(config, "key revoke k")
    assert "acme is removed" in run(config, "tenant remove acme")[0]


def test_the_audit_names_who_was_at_the_keyboard(config: Path) -> None:
    run(config, "tenant create acme")
    connection = sqlite3.connect(config.parent / "state" / "appliance.db")
    assert connection.execute("SELECT actor, action, target FROM audit").fetchone()[1:] == ("tenant.create", "acme")
    ((actor,),) = connection.execute("SELECT actor FROM audit").fetchall()
    assert actor.startswith("cli:")
    assert len(actor) > 4
    connection.close()


def test_usage_is_told_to_people_programs_and_spreadsheets(config: Path) -> None:
    now = time.time()
    found = open_database(config.parent / "state" / "appliance.db")
    assert isinstance(found, sqlite3.Connection)
    rows = [
        LedgerRow(
            int((now - number) * 1e6), now - number, "", "acme" if number % 3 else "filed", "k", "", "r", "b", "m", "d", "chat", False, 200,
            "", "provider", 1000, 10, cost_nusd=2_500_000,
        )
        for number in range(6)
    ]  # fmt: skip
    Tables(found, Names(100)).add(rows)
    found.close()
    text, _ = run(config, "usage --by tenant --since 2d")
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["tenant", "requests", "errors", "input", "output", "cached", "USD", "estimated"],
        ["acme", "4", "0", "4,000", "40", "0", "0.0100", "0"],
        ["filed", "2", "0", "2,000", "20", "0", "0.0050", "0"],
        ["total", "6", "0", "6,000", "60", "0", "0.0150", "0"],
    ]
    twice, at_once = (run(config, f"usage {by} --since 2d --csv")[0] for by in ("--by tenant --by key", "--by tenant,key"))
    assert twice == at_once
    view = json.loads(run(config, "usage --by tenant,key --tenant acme --since 2d --json")[0])
    assert list(view) == ["from", "to", "by", "rows", "total"]
    assert view["total"] == {
        "requests": 4, "errors": 0, "input_tokens": 4000, "output_tokens": 40, "cached_input_tokens": 0, "cost_usd": 0.01,
        "estimated_requests": 0,
    }  # fmt: skip
    table = list(csv.DictReader(io.StringIO(run(config, "usage --by model --since 2d --csv")[0])))
    assert [(one["model"], one["requests"], one["cost_usd"]) for one in table] == [("m", "6", "0.015")]


def test_a_store_that_cannot_be_made_is_one_clear_line(config: Path) -> None:
    (config.parent / "state").write_text("a file where the folder should be")
    _, words = run(config, "tenant create acme", 1)
    assert words.startswith("appliance: store.path:")


def test_another_programs_file_is_one_clear_line(config: Path) -> None:
    (config.parent / "state").mkdir()
    (config.parent / "state" / "appliance.db").write_bytes(b"not a database" * 200)
    for command in ("tenant list", "key list", "usage", "tenant create acme"):
        _, words = run(config, command, 1)
        assert words.startswith("appliance: store.path:")
        assert words.count("\n") == 1
