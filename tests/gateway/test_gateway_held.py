"""What is held of an upload is given back as it came, from memory and from a file that has no name."""

import gc
import os
import random
from pathlib import Path

import pytest
import trio

from appliance.gateway.held import Held


def deleted_files() -> int:
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        try:
            found += "(deleted)" in str(one.readlink()) or "/#" in str(one.readlink())
        except OSError:
            continue
    return found


async def read_all(held: Held, chance: random.Random) -> bytes:
    data = b""
    while len(data) < held.size:
        piece = await held.read(len(data), chance.randint(1, 300))
        assert piece
        data += piece
    return data


@pytest.mark.parametrize("memory", [0, 1, 500, 100_000])
async def test_it_gives_back_what_it_was_given(memory: int) -> None:
    chance = random.Random(memory)
    pieces = [chance.randbytes(chance.randint(1, 200)) for _ in range(40)]
    held = Held(memory, 100_000)
    try:
        for piece in pieces:
            if held.full:
                assert await held.spool(piece)
            else:
                held.add(piece)
        whole = b"".join(pieces)
        assert held.size == len(whole)
        assert await read_all(held, chance) == whole
        for _ in range(50):
            place = chance.randrange(len(whole))
            piece = await held.read(place, 70)
            assert whole[place:].startswith(piece)
        assert held.in_memory == (memory == 100_000)
        if held.in_memory:
            assert held.whole() == whole
    finally:
        held.close()


async def test_the_bounds_hold() -> None:
    held = Held(100, 1000)
    try:
        held.add(b"x" * 99)
        assert not held.full
        held.add(b"x" * 50)  # the piece that reaches the bound
        assert held.full
        assert await held.spool(b"y" * 600)
        assert not await held.spool(b"y" * 401)
        assert held.size == 749
        assert await held.spool(b"y" * 400)
    finally:
        held.close()


async def test_its_file_has_no_name_and_is_gone_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = deleted_files()
    held = Held(0, 1000)
    await held.spool(b"abc")
    assert list(tmp_path.iterdir()) == []
    assert deleted_files() == before + 1
    held.close()
    held.close()
    assert deleted_files() == before


async def test_a_disk_that_takes_nothing_is_an_os_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(OSError):  # noqa: PT011
        await Held(0, 1000).spool(b"abc")


async def test_cancelled_while_the_file_is_opened_nothing_is_left_open() -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    held = Held(0, 1000)
    with trio.CancelScope() as scope:
        scope.cancel()
        await held.spool(b"abc")
    held.close()
    assert len(os.listdir("/proc/self/fd")) == before
