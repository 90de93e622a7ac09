"""A million requests in the ledger: what a row costs in bytes and in CPU, and how long usage by day takes.

    make bench-ledger [ROWS=1000000]

The rows go the way of real ones: opened and settled in the journal, moved by the writer in groups. They lie over 90 days, of 20 tenants
with 50 keys, 5 backends with 20 models and a fallback for each; half of them have a request id of the caller's (36 characters). Bytes are
the growth of the database once everything is committed.
"""

import os
import random
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from appliance.config.schema import Store
from appliance.store.embedded import EmbeddedLedger
from appliance.store.row import LedgerRow, Opened, Spent

ROWS = int(os.environ.get("ROWS", "1000000"))
DAYS = 90
BEGIN = 1_767_225_600.0  # 2026-01-01 UTC
BYTES_MAX = 200
QUERY_MAX_S = 0.2
BY_DAY = """
SELECT day, sum(requests), sum(errors), sum(input_tokens), sum(output_tokens), sum(cached_input_tokens), sum(cost_nusd)
FROM daily WHERE day >= ? AND day < ? GROUP BY day
"""
BY_TENANT_AND_MODEL = """
SELECT (SELECT text FROM names WHERE id = tenant), (SELECT text FROM names WHERE id = model), sum(requests), sum(cost_nusd)
FROM daily WHERE day >= ? AND day < ? GROUP BY tenant, model
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder) / "bench.db")


def measure(path: Path) -> int:
    ledger = EmbeddedLedger(Store(path=str(path), retention_days=36500), lambda: BEGIN, lambda *_, **__: None)
    assert ledger.start() is None
    before = size(path)
    begun, writing_s = time.process_time(), 0.0
    for number, (opened, row) in enumerate(requests(ROWS), 1):
        assert ledger.open(opened) is None
        ledger.settle(row)
        if number % 400 == 0:
            at = time.process_time()
            ledger.commit()
            writing_s += time.process_time() - at
    ledger.commit()
    used_s = time.process_time() - begun
    ledger.close()
    growth = (size(path) - before) / ROWS
    took = {name: best(path, query) for name, query in (("by day", BY_DAY), ("by tenant, model", BY_TENANT_AND_MODEL))}
    print(f"{ROWS} rows in {used_s:.0f} s of CPU; the writer's share {writing_s / ROWS * 1e6:.1f} us a row")
    print(f"growth {growth:.1f} bytes a row (at most {BYTES_MAX})")
    for name, (seconds, lines) in took.items():
        print(f"usage {name}: {lines} lines in {seconds * 1000:.1f} ms (at most {QUERY_MAX_S * 1000:.0f})")
    return int(growth > BYTES_MAX or any(seconds > QUERY_MAX_S for seconds, _ in took.values()))


def requests(rows: int):
    draw = random.Random(1)
    for number in range(rows):
        started = BEGIN + DAYS * 86400 * number / rows
        one, other = draw.randrange(50), draw.randrange(20)
        tenant, key = f"tenant-{one % 20}", f"key-{one}"
        model, backend = f"model-{other}", f"backend-{(other + (draw.random() < 0.1)) % 5}"
        request_id = f"{draw.getrandbits(128):032x}-abc" if number % 2 else ""
        common = (int(started * 1e6) + number, started, request_id, tenant, key, "", "chat")
        yield (
            Opened(*common, model, "openai_chat", "chat", True, 500),
            LedgerRow(
                *common, backend, model, "openai_chat", "chat", True, 200, "", "provider", draw.randrange(5000), draw.randrange(1000),
                cached_input_tokens=draw.randrange(500), cost_nusd=draw.randrange(10**7), duration_ms=draw.randrange(60_000),
                ttft_ms=draw.randrange(2000), spent=(Spent(f"tenant:{tenant}", 0, 1),),
            ),
        )  # fmt: skip


def size(path: Path) -> int:
    """Of the database and its log; the journal is a fixed number of files."""
    return sum(one.stat().st_size for one in path.parent.glob("bench.db*") if ".journal-" not in one.name)


def best(path: Path, query: str) -> tuple[float, int]:
    """Seconds of a connection made for it, the best of five, and how many lines it gave."""
    times, lines = [], 0
    for _ in range(5):
        begun = time.perf_counter()
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        lines = len(connection.execute(query, (BEGIN // 86400, BEGIN // 86400 + DAYS)).fetchall())
        connection.close()
        times.append(time.perf_counter() - begun)
    return min(times), lines


if __name__ == "__main__":
    sys.exit(main())
