"""What can be wrong with the store, as values: which kind, and a sentence for the operator."""

import errno
import os
import sqlite3
from typing import Literal

import attrs

Kind = Literal["newer", "foreign", "corrupt", "locked", "full", "unwritable", "in_use", "journal_full"]

_BY_CODE: dict[int, Kind] = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "corrupt",
}

_WORDS: dict[Kind, str] = {
    "corrupt": "is damaged",
    "locked": "is locked by another program",
    "full": "cannot grow: its disk is full",
    "unwritable": "cannot be read or written",
}

FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No room, no quota, or a limit of the process: whichever it is, files cannot grow."""

ROOM_MIN_BYTES = 131_072
"""With less than this on the disk, an I/O error of SQLite's is taken for want of room: it does not tell them apart everywhere."""


@attrs.frozen
class StoreFault:
    """Why the store cannot be used.

    Attributes:
        kind: `newer` (made by a later version), `foreign` (another program's), `corrupt`, `locked`, `full`, `unwritable`, `in_use`
            (by another gateway), `journal_full` (as many segments as may be, and the database takes nothing).
        message: a sentence that names the file.
    """

    kind: Kind
    message: str


def fault_of(error: sqlite3.Error | OSError, path: str) -> StoreFault:
    """What an exception of SQLite or of the operating system means for `path`."""
    if isinstance(error, OSError):
        kind: Kind = "full" if error.errno in FULL_ERRNOS else "unwritable"
        detail = error.strerror or str(error)
    else:
        code = getattr(error, "sqlite_errorcode", 0) or 0
        kind = _BY_CODE.get(code & 0xFF, "unwritable")  # the upper bits are the extended code
        if code & 0xFF == sqlite3.SQLITE_IOERR and _no_room(path):
            kind = "full"
        detail = str(error)
    return StoreFault(kind, f"{path} {_WORDS[kind]} ({detail})")


def _no_room(path: str) -> bool:
    try:
        about = os.statvfs(os.path.dirname(path))
    except OSError:
        return False
    return about.f_bavail * about.f_frsize < ROOM_MIN_BYTES
