"""`appliance store` as operators and their cron jobs run it: with the gateway up or down, and one clear line for what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

from ledger_reader import ledger_rows
from rig import Gateway, Simulator, call, chat, one_backend, running

from appliance.store.schema import VERSION


def store(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance", "store", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_store_is_copied_and_checked_with_the_gateway_up_and_down(tmp_path):
    sim = Simulator(tmp_path)
    with running(sim):
        gateway = Gateway(tmp_path, one_backend(sim))
        config = ("-c", gateway.config_path)
        with running(gateway):
            for number in range(3):
                assert call(f"{gateway.url}/v1/chat/completions", chat("sim@tps=0"), x_request_id=f"r{number}")[0] == 200
                gateway.settle()
            up = store("backup", tmp_path / "up.db", *config)
            checked_up = store("check", *config)
        down = store("backup", tmp_path / "down.db", *config)
        checked_down = store("check", *config)
    for copied, name in ((up, "up.db"), (down, "down.db")):
        assert (copied.returncode, copied.stderr) == (0, "")
        assert copied.stdout.startswith(f"{tmp_path / name}: 3 rows")
        assert [row["request_id"] for row in ledger_rows(tmp_path / name)] == ["r0", "r1", "r2"]
        assert os.stat(tmp_path / name).st_mode & 0o077 == 0
    for checked in (checked_up, checked_down):
        assert (checked.returncode, checked.stderr) == (0, "")
        assert f"sound (schema {VERSION}, " in checked.stdout
    again = store("backup", tmp_path / "up.db", *config)
    assert again.returncode == 1
    assert "exists already; --replace replaces it" in again.stderr
    assert store("backup", "--replace", tmp_path / "up.db", *config).returncode == 0

    path = tmp_path / "gateway.db"
    damaged = path.read_bytes()[:4096] + os.urandom(path.stat().st_size - 4096)
    path.write_bytes(damaged)
    for command in (("check", *config), ("backup", tmp_path / "bad.db", *config)):
        failed = store(*command)
        assert failed.returncode == 1
        assert str(path) in failed.stderr
        assert "Traceback" not in failed.stderr
    assert "put a backup in its place" in store("check", *config).stderr
    assert not (tmp_path / "bad.db").exists()
    assert path.read_bytes() == damaged

    path.unlink()
    missing = store("check", *config)
    assert missing.returncode == 1
    assert not path.exists(), "a look makes no store"
    (tmp_path / "up.db").rename(path)
    assert store("check", *config).returncode == 0
