"""The store as `key`, `tenant` and `usage` open it: by themselves, whether a gateway runs or not, which sees a change within a second."""

import contextlib
import getpass
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.cli.exits import FAILURE, USAGE, Stop
from appliance.cli.source import load_or_stop, to_show
from appliance.config.loader import Loaded
from appliance.config.report import problem_text
from appliance.store.audit import Note
from appliance.store.database import open_database
from appliance.store.fault import StoreFault, fault_of
from appliance.store.tenancy_change import Denied
from appliance.store.tenancy_desk import Desk, Invalid, View

ROOT = 0


def told(done: View | Denied | Invalid) -> View:
    """What came of a change; a command ends with whatever was wrong."""
    match done:
        case Denied():
            raise Stop(done.message, FAILURE)
        case Invalid():
            raise Stop([problem_text(problem) for problem in done.problems], USAGE)
    return done


@contextlib.contextmanager
def desk(config: str | None) -> Iterator[Desk]:
    """Tenants and keys of the store that the configuration names; it is made where there is none. `config` is what -c gave."""
    loaded = load_or_stop(to_show(config))
    with store_of(loaded) as connection:
        yield Desk(connection, loaded.config, Note(f"cli:{_user()}", time.time()))


@contextlib.contextmanager
def store_of(loaded: Loaded) -> Iterator[sqlite3.Connection]:
    """The open store. Whatever is wrong with it ends the command in one line."""
    path = Path(loaded.config.store.path)
    is_new = not path.exists()
    connection = open_database(path)
    if isinstance(connection, StoreFault):
        raise Stop(f"store.path: {connection.message}", FAILURE)
    if is_new:
        _hand_over(path)
    try:
        yield connection
    except sqlite3.Error as error:
        raise Stop(f"store.path: {fault_of(error, str(path)).message}", FAILURE) from None
    finally:
        connection.close()


def _hand_over(path: Path) -> None:
    """What root made belongs to whom the folder belongs to: the gateway, which is not root, has to write it."""
    if os.geteuid() != ROOT:
        return
    owner = path.parent.stat()
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            os.chown(f"{path}{end}", owner.st_uid, owner.st_gid)


def _user() -> str:
    """For the audit: who is logged in here; the number where nobody has a name, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
