"""The promise of budgets and the ledger under fire: see ledger_fire. `make soak-ledger` runs it for fifty rounds."""

import os
from pathlib import Path

from ledger_fire import Fire
from rig import Simulator, running

ROUNDS = int(os.environ.get("LEDGER_ROUNDS", "3"))
REQUESTS = int(os.environ.get("LEDGER_REQUESTS", "1000"))


def test_killed_at_any_moment_no_budget_is_passed_and_every_request_is_in_the_ledger_once(tmp_path: Path, simulator: Simulator) -> None:
    fire = Fire(tmp_path, simulator, REQUESTS, seed=int(os.environ.get("LEDGER_SEED", "1")))
    rounds = []
    try:
        for number in range(1, ROUNDS + 1):
            rounds.append(fire.round(number))
            print(rounds[-1], flush=True)
    finally:
        with running(fire.gateway):
            pass
    assert all(one.provider_rows for one in rounds)
    assert any(one.recovered_rows for one in rounds)
    assert any(one.refused for one in rounds)
