"""One file of the journal: made at its full size, so that writing to it never asks for room.

The rule: bytes below `at` never change. One thread writes, another may read below `at` at the same time.
"""

import os
import re
from pathlib import Path

import attrs

from appliance.store.frame import HEAD_BYTES, MAGIC

_SUFFIX = re.compile(r"\.journal-(\d{8,})")


@attrs.define(eq=False)
class Segment:
    """Attributes are for the journal alone.

    Attributes:
        at: where the next entry goes; taken: up to where the database has it.
        synced: up to where it is on the disk, if anybody asked for that.
    """

    number: int
    path: Path
    fd: int
    size: int
    at: int = HEAD_BYTES
    taken: int = HEAD_BYTES
    synced: int = 0

    def write(self, data: bytes) -> None:
        """Append entries for which there is room. Raises OSError; nothing is appended then, as far as readers can tell."""
        at = self.at
        if os.pwrite(self.fd, data, at) != len(data):  # a regular file takes all of it, or its disk is failing
            os.pwrite(self.fd, bytes(len(data)), at)
            raise OSError(5, "short write to the journal")
        self.at = at + len(data)

    def fresh(self, size_max: int) -> bytes:
        """Entries that the database does not have yet, the oldest first; the last one may be cut."""
        return os.pread(self.fd, min(self.at - self.taken, size_max), self.taken)

    def sync(self) -> None:
        """To the disk with everything that was written before this call."""
        at = self.at
        if at != self.synced:
            os.fdatasync(self.fd)
            self.synced = at

    def close(self) -> None:
        os.close(self.fd)


def make_segment(database: Path, number: int, size: int) -> Segment:
    """A new file, all of its room taken from the disk now. Raises OSError where there is none."""
    path = database.with_name(f"{database.name}.journal-{number:08d}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
        os.pwrite(fd, MAGIC, 0)
    except BaseException:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return Segment(number, path, fd, size)


def segment_paths(database: Path) -> list[tuple[int, Path]]:
    """The files that are there, by number, the oldest first."""
    found = []
    for path in database.parent.glob(f"{database.name}.journal-*"):
        match = _SUFFIX.fullmatch(path.name[len(database.name) :])
        if match is not None:
            found.append((int(match.group(1)), path))
    return sorted(found)
