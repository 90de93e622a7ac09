"""When old rows are forgotten, on two clocks: one that counts, and one that may be set."""

from store.ledger_place import Clock, ledger_at, stored
from store.ledger_rows import MARCH, opened, row

from appliance.store.retention import AWAY_S, EVENLY_S, EVERY_S, FIRST_S, JUMP_S, Retention

DAY_S = 86_400.0


class Clocks:
    """The wall's may be set; the other only goes on."""

    wall, passed = MARCH, 5.0

    def go_on(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


def retention() -> tuple[Retention, Clocks]:
    clocks = Clocks()
    return Retention(lambda: clocks.wall, lambda: clocks.passed), clocks


def test_it_is_due_soon_after_the_start_and_every_hour() -> None:
    asked, clocks = retention()
    due = []
    for _ in range(150):
        due.append(asked.due(MARCH))
        clocks.go_on(FIRST_S)
    assert [place for place, now in enumerate(due) if now] == [1, 61, 121]
    assert not asked.doubted


def test_a_clock_that_jumps_ahead_or_back_is_believed_again_after_an_even_day() -> None:
    for jump_s in (400 * DAY_S, -400 * DAY_S, JUMP_S + 1):
        asked, clocks = retention()
        assert not asked.due(MARCH)
        clocks.go_on(EVERY_S)
        assert asked.due(MARCH)
        clocks.wall += jump_s
        clocks.go_on(EVERY_S)
        assert (asked.due(clocks.wall), asked.doubted) == (False, True)  # though rows of the new time have come by now
        clocks.go_on(EVENLY_S - 1)
        assert not asked.due(clocks.wall)
        clocks.go_on(1)
        assert (asked.due(clocks.wall), asked.doubted) == (True, False)


def test_a_start_long_after_the_newest_row_or_before_it_is_not_believed_either() -> None:
    for newest, doubted in ((MARCH - AWAY_S - 1, True), (MARCH + JUMP_S + 1, True), (MARCH - AWAY_S, False), (0.0, False)):
        asked, clocks = retention()
        asked.due(newest)
        assert asked.doubted is doubted
        clocks.go_on(EVERY_S)
        assert asked.due(newest) is not doubted


def test_a_gateway_whose_clock_runs_years_ahead_forgets_nothing_and_says_why(tmp_path) -> None:
    wall, passed = Clock(), Clock()
    ledger = ledger_at(tmp_path / "one.db", wall, retention_days=31)
    ledger.writer.retention.monotonic = passed
    assert ledger.start() is None
    ledger.open(opened(1))
    ledger.settle(row(1))
    ledger.commit()
    wall.now += 1000 * DAY_S
    for _ in range(30):
        passed.now += FIRST_S * 10
        wall.now += FIRST_S * 10
        ledger.commit()
    assert len(stored(tmp_path / "one.db", "id")) == 1
    assert [event for event in ledger.say.events() if event != "ledger_retention"] == ["clock_doubted"]  # type: ignore[attr-defined]
    ledger.close()


def test_rows_that_a_wrong_clock_wrote_before_a_restart_do_not_vouch_for_it(tmp_path) -> None:
    wall, passed = Clock(), Clock()
    for run, ahead_days in enumerate((0, 1000, 0)):
        wall.now += ahead_days * DAY_S
        ledger = ledger_at(tmp_path / "one.db", wall, retention_days=31)
        ledger.writer.retention.monotonic = passed
        assert ledger.start() is None
        ledger.open(opened(started=wall.now))
        ledger.settle(row(started=wall.now))
        for _ in range(30):
            passed.now += FIRST_S * 10
            wall.now += FIRST_S * 10
            ledger.commit()
        events = ledger.say.events()  # type: ignore[attr-defined]
        assert ("ledger_retention" in events, "clock_doubted" in events) == (False, run > 0)
        ledger.close()
    assert len(stored(tmp_path / "one.db", "id")) == 3
