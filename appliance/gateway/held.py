"""What is held of an upload, so that it can be sent again: in memory up to a bound, beyond it in an unlinked temporary file.

The rule: bytes are added at the end and read anywhere; the file has no name, so nothing of a caller's is left behind however the process
ends. Whoever writes to or reads from the file does so in a thread: a disk may take its time.
"""

import os
import tempfile
from bisect import bisect_right
from typing import IO

import trio

READ_MAX_BYTES = 262_144
"""Of the file at a time."""


class Held:
    """One upload's bytes from the first on. size: how many there are."""

    __slots__ = ("_file", "_memory_bytes", "_memory_max_bytes", "_pieces", "_spool_max_bytes", "_starts", "size")

    def __init__(self, memory_max_bytes: int, spool_max_bytes: int) -> None:
        self._memory_max_bytes = memory_max_bytes
        self._spool_max_bytes = spool_max_bytes
        self._memory_bytes = 0
        self._pieces: list[bytes] = []
        self._starts: list[int] = []
        self._file: IO[bytes] | None = None
        self.size = 0

    @property
    def full(self) -> bool:
        """Whether no more is kept in memory. The bound may be passed by the one piece that reaches it."""
        return self._file is not None or self._memory_bytes >= self._memory_max_bytes

    @property
    def in_memory(self) -> bool:
        return self._file is None

    def add(self, data: bytes) -> None:
        """To be asked for only while not `full`."""
        self._starts.append(self.size)
        self._pieces.append(data)
        self._memory_bytes += len(data)
        self.size += len(data)

    async def spool(self, data: bytes) -> bool:
        """Add to the file; False when that would be more than its bound. Raises OSError when the disk will not take it."""
        at = self.size - self._memory_bytes
        if at + len(data) > self._spool_max_bytes:
            return False
        if self._file is None:
            # Whoever is cancelled here waits for the thread, and gets what it made.
            self._file = await trio.to_thread.run_sync(_open)
        await trio.to_thread.run_sync(_write_all, self._file.fileno(), data, at)
        self.size += len(data)
        return True

    async def read(self, offset: int, most: int) -> bytes:
        """Some bytes from there on, at least one; offset is below `size`, most above 0. Raises OSError."""
        if offset < self._memory_bytes:
            index = bisect_right(self._starts, offset) - 1
            begin = offset - self._starts[index]
            piece = self._pieces[index]
            return piece if not begin and most >= len(piece) else piece[begin : begin + most]
        assert self._file is not None
        size = min(most, READ_MAX_BYTES)
        return await trio.to_thread.run_sync(os.pread, self._file.fileno(), size, offset - self._memory_bytes)

    def whole(self) -> bytes:
        """All of what is in memory."""
        return b"".join(self._pieces)

    def close(self) -> None:
        """Idempotent. What was held is gone."""
        if self._file is not None:
            self._file.close()
        self._pieces.clear()
        self._starts.clear()


def _open() -> IO[bytes]:
    return tempfile.TemporaryFile(buffering=0)


def _write_all(descriptor: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, at)
        rest, at = rest[written:], at + written
