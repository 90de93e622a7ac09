"""What strangers call their users cannot start a line, move a terminal or fill a log; and two users stay two."""

import pytest

from appliance.core.user_name import USER_MAX_CHARS, user_name, user_of_header


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("u-1", "u-1"),
        ("Zoë 東京", "Zoë 東京"),
        ("a\r\nb\x00c\x1b[2J\x7f\x9b", "abc[2J"),
        ("lone\ud800", "lone"),
        ("\n", ""),
        ("x" * 10_000, "x" * USER_MAX_CHARS),
        ("\x00" * 10_000 + "x", "x"),
    ],
)
def test_a_name_is_printable_and_bounded(text: str, name: str) -> None:
    assert user_name(text) == name


@pytest.mark.parametrize(
    ("value", "name"),
    [(b"u-1", "u-1"), ("Zoë".encode(), "Zoë"), ("Zoë".encode("latin-1"), "Zoë"), (b"a\tb\x80", "ab"), (b"", "")],
)
def test_a_header_is_read_as_clients_write_it(value: bytes, name: str) -> None:
    assert user_of_header(value) == name


def test_names_that_differ_in_one_letter_stay_two() -> None:
    assert user_of_header("Ä".encode()) != user_of_header("Å".encode())
