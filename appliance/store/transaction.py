"""One instant of the database for several queries, and several statements as one change."""

import contextlib
import sqlite3
from collections.abc import Iterator


@contextlib.contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """Queries that see the same instant. Raises sqlite3.Error."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:  # some errors end it by themselves
            connection.execute("ROLLBACK")


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything or nothing: whatever is raised within undoes all of it. Raises sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
