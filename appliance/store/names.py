"""The dictionary of texts that rows repeat: a small number for each tenant, key, route, backend, model and so on.

The rule: it is bounded. Callers can name models of their own; past `names_max` of a kind new texts count as `other`.
"""

import sqlite3

import attrs

OTHER = "other"


@attrs.define(eq=False)
class Names:
    """What one connection knows of the table; another program may add to it at any time.

    Attributes:
        new: found or made within the running transaction, forgotten when that fails.
    """

    names_max: int
    known: dict[tuple[str, str], int] = attrs.field(factory=dict)
    new: dict[tuple[str, str], int] = attrs.field(factory=dict)
    counts: dict[str, int] = attrs.field(factory=dict)

    def number(self, connection: sqlite3.Connection, kind: str, text: str) -> int:
        """The text's number, within a transaction."""
        found = self.known.get((kind, text)) or self.new.get((kind, text))
        return found if found is not None else self._looked_up(connection, kind, text)

    def _looked_up(self, connection: sqlite3.Connection, kind: str, text: str) -> int:
        wanted = (kind, text)
        row = connection.execute("SELECT id FROM names WHERE kind = ? AND text = ?", wanted).fetchone()
        if row is None:
            count = self._count(connection, kind)
            if text != OTHER and count >= self.names_max:
                return self.number(connection, kind, OTHER)
            number = connection.execute("INSERT INTO names (kind, text) VALUES (?, ?)", wanted).lastrowid
            self.counts[kind] = count + 1
        else:
            (number,) = row
        assert number is not None  # an INSERT has an id
        self.new[wanted] = number
        return number

    def _count(self, connection: sqlite3.Connection, kind: str) -> int:
        if kind not in self.counts:
            (self.counts[kind],) = connection.execute("SELECT count(*) FROM names WHERE kind = ?", (kind,)).fetchone()
        return self.counts[kind]

    def keep(self) -> None:
        """The transaction is committed."""
        self.known |= self.new
        self.new.clear()

    def forget(self) -> None:
        """The transaction failed, or may have."""
        self.new.clear()
        self.counts.clear()
