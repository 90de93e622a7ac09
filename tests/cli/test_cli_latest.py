"""The list of the latest requests, for terminals of any width and with whatever a caller calls things."""

from telemetry.telemetry_samples import attempt, request

from appliance.cli.latest import WIDTHS_MAX, table

ROWS = [
    request(attempt(), requested_model="\x1b[2J\nmodel").as_dict(),
    request(requested_model="m" * 500, tenant="t" * 200).as_dict(),
]


def test_what_a_caller_chose_moves_no_cursor_and_widens_no_column() -> None:
    heading, *lines = table(ROWS).split("\n")
    assert len(lines) == 2
    assert "\x1b" not in lines[0]
    assert "\\x1b[2J\\nmodel" in lines[0]
    for line in (heading, *lines):
        assert len(line) <= sum(WIDTHS_MAX) + 2 * (len(WIDTHS_MAX) - 1)
    assert "m" * 19 + "…" in lines[1]


def test_no_line_is_longer_than_the_terminal_is_wide() -> None:
    for width in (1, 20, 80):
        cut = table(ROWS, width).split("\n")
        assert [len(line) <= width for line in cut] == [True] * 3
    assert table([], 20) == "no request is remembered that fits"
