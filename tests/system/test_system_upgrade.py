"""A store that an earlier version left, killed in the middle of requests, is taken over whole: rows, keys, spend, and its journal.

`tests/store/earlier` has one of each earlier schema, made by a gateway of that time: 28 requests, an error and a stream among them, the
last six in the journal alone; and three that were under way when it was killed. A new migration needs one more of them.
"""

import json
import sqlite3
import subprocess
import sys
import tarfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledger_reader import ledger_rows, reading
from rig import KEY, Gateway, Simulator, call, chat, one_backend, running

from appliance.store.schema import VERSION

EARLIER = Path(__file__).parents[1] / "store" / "earlier"
SETTLED = {f"asked-{number}" for number in (*range(22), *range(30, 36))}
UNDER_WAY = {f"asked-{number}" for number in range(100, 103)}
KEPT = "journal_segment_bytes = 65536\nretention_days = 36500"


def command(*words: str, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance", *words, "-c", str(config)], capture_output=True, text=True, timeout=60, check=False
    )


def schema_of(store: Path) -> int:
    with reading(store) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def laid_out(version: int, folder: Path) -> str:
    """The files of that version's store, as `gateway.db` in the folder. Gives the key of acme's."""
    with tarfile.open(EARLIER / f"schema-{version}.tar.xz") as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and newer
            archive.extraction_filter = staticmethod(tarfile.data_filter)
        archive.extractall(folder)
    return (folder / "key.txt").read_text()


def test_there_is_a_store_of_each_earlier_schema() -> None:
    assert {path.name for path in EARLIER.iterdir()} == {f"schema-{version}.tar.xz" for version in range(1, VERSION)}


@pytest.mark.parametrize("version", range(1, VERSION))
def test_what_an_earlier_version_left_is_taken_over(version: int, tmp_path: Path, simulator: Simulator) -> None:
    key = laid_out(version, tmp_path)
    store = tmp_path / "gateway.db"
    assert schema_of(store) == version
    before = {row["request_id"] for row in ledger_rows(store)}
    assert before < SETTLED, "some are in the journal alone"
    gateway = Gateway(tmp_path, one_backend(simulator), store=KEPT)
    with running(gateway):
        assert schema_of(store) == VERSION
        for secret in (key, KEY):
            assert call(gateway.url + "/v1/chat/completions", chat("sim"), authorization=f"Bearer {secret}")[0] == 200
        usage = json.loads(command("usage", "--by", "tenant", "--since", "36000d", "--json", config=gateway.config_path).stdout)
        assert gateway.stop() == 0
    rows = ledger_rows(store)
    told = Counter(row["request_id"] or "ours" for row in rows)
    assert told.pop("ours") == 2
    assert set(told) == SETTLED | UNDER_WAY
    assert set(told.values()) == {1}, "nothing counts twice"
    by_id: dict[str, dict[str, Any]] = {row["request_id"]: row for row in rows}
    assert {(by_id[one]["usage_source"], by_id[one]["error_type"]) for one in UNDER_WAY} == {("estimated", "recovered")}
    assert {by_id[one]["usage_source"] for one in SETTLED} == {"provider", "none"}
    assert {row["tenant"]: row["requests"] for row in usage["rows"]} == dict(Counter(row["tenant"] for row in rows))
    with reading(store) as connection:
        spent = connection.execute("SELECT sum(spent_nusd) FROM spend WHERE scope = 'tenant:acme'").fetchone()[0]
    assert spent == sum(row["cost_nusd"] for row in rows if row["tenant"] == "acme") > 0
    checked = command("store", "check", config=gateway.config_path)
    assert checked.returncode == 0, checked
    assert "ledger_recovered" in gateway.log


@pytest.mark.parametrize("words", [("serve",), ("key", "list"), ("usage",), ("store", "check"), ("store", "backup", "copy.db")])
def test_an_earlier_version_refuses_what_a_later_one_wrote(words: tuple[str, ...], tmp_path: Path) -> None:
    """This version stands for the earlier one: the file says that it is one schema ahead."""
    laid_out(VERSION - 1, tmp_path)
    for path in tmp_path.glob("gateway.db.journal-*"):
        path.unlink()
    config = tmp_path / "gateway.toml"
    config.write_text('[store]\npath = "gateway.db"\n[backends.one]\nprovider = "custom"\nbase_url = "http://127.0.0.1:9/v1"\n')
    assert command("store", "check", config=config).returncode == 0
    with closing(sqlite3.connect(tmp_path / "gateway.db")) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / "gateway.db").read_bytes()
    refused = command(*words, config=config)
    assert refused.returncode == 1
    assert f"was written by a later version of this program (schema {VERSION + 1}, this one knows {VERSION})" in refused.stderr
    assert "start that version, or restore a backup that is older" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (tmp_path / "gateway.db").read_bytes() == before
