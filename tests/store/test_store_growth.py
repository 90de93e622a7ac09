"""What a request costs in bytes, and that sums are read instead of rows. `make bench-ledger` measures the same with a million."""

import uuid

from store.ledger_place import started
from store.ledger_rows import MARCH, opened, row

from appliance.store.row import Spent

ROWS = 20_000
BYTES_MAX = 200


def test_a_request_costs_less_than_200_bytes_though_its_caller_names_it(tmp_path):
    path = tmp_path / "one.db"
    ledger = started(path, journal_segment_bytes=1 << 24)
    before = path.stat().st_size
    for number in range(ROWS):
        at = MARCH + number * 86400 * 10 / ROWS
        several = {"tenant": f"t{number % 7}", "model": f"m{number % 5}", "request_id": str(uuid.UUID(int=number))}
        assert ledger.open(opened(number, at, **several)) is None
        ended = row(
            number, at, **several, input_tokens=1234 + number, output_tokens=567, cached_input_tokens=89, reasoning_tokens=50, ttft_ms=345,
            duration_ms=12_345, cost_nusd=123_456_789, stream=True, spent=(Spent(f"tenant:{several['tenant']}", 0, 1),),
        )  # fmt: skip
        ledger.settle(ended)
        if number % 500 == 499:
            ledger.commit()
    ledger.close()
    growth = (path.stat().st_size - before) / ROWS
    print(f"{growth:.1f} bytes a row")
    assert growth <= BYTES_MAX
