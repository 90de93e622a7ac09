"""What is read from a head about its sender is fit for labels and logs."""

from appliance.core.user_name import USER_MAX_CHARS
from appliance.server.caller import read_caller


def test_a_users_name_in_a_header_is_printable_and_bounded() -> None:
    def named(value: bytes) -> str:
        return read_caller({"headers": [(b"x-user-id", value)]}).user

    assert named(b"ann") == "ann"
    assert named("Zoë".encode()) == "Zoë"
    assert named(b"a\tb\x7f\x9bc") == "abc"
    assert named(b"x" * 5000) == "x" * USER_MAX_CHARS
    assert read_caller({"headers": []}).user == ""
