"""Of what came of an answer that broke off, its beginning is looked at, however it was cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.uncounted import READ_MAX_BYTES, _beginning


@given(st.lists(st.integers(0, READ_MAX_BYTES // 3), max_size=12))
def test_a_beginning_is_as_long_as_may_be_read(sizes):
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    assert _beginning(pieces) == b"".join(pieces)[:READ_MAX_BYTES]


@pytest.mark.parametrize("behind", [1, 1_000])
def test_what_is_behind_it_is_not_copied(behind):
    class Unreadable(bytes):
        def __len__(self) -> int:
            raise AssertionError("looked at")

    assert len(_beginning([b"x" * READ_MAX_BYTES, *[Unreadable()] * behind])) == READ_MAX_BYTES
