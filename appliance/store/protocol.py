"""What the rest of the program may ask of a ledger. The embedded one is `embedded.EmbeddedLedger`; another engine comes behind this.

The rule: nothing here waits. `open`, `settle` and `release` are on the way of every request; what makes them durable is the journal,
what makes them visible is the writer that follows it.
"""

from typing import Protocol

import attrs

from appliance.store.fault import StoreFault
from appliance.store.row import LedgerRow, Opened


@attrs.frozen
class LedgerStatus:
    """How it is doing.

    Attributes:
        rows: written to the database since start; queued: settled, and not there yet; lost: neither there nor in the journal, since
            what they would have been written to was full for too long (only with `on_failure = "serve"`).
        errors: failed writes since start.
        open: requests that reserved and have not settled.
        fault: why the database or the journal cannot be written right now; None while all is well.
        refusing: requests are refused for it.
    """

    rows: int = 0
    queued: int = 0
    lost: int = 0
    errors: int = 0
    open: int = 0
    fault: StoreFault | None = None
    refusing: bool = False


class Ledger(Protocol):
    """One row per request that reached a backend, once, whatever happens to the process."""

    def new_id(self, wall: float) -> int:
        """A ledger id for a request of this time (seconds since the epoch): greater than every one before, of earlier runs too."""
        ...

    def open(self, entry: Opened) -> StoreFault | None:
        """Write down a reservation, before upstream sees the request. A fault where it must not go on: nothing was written then."""
        ...

    def settle(self, row: LedgerRow) -> None:
        """Write down what became of an opened request. Never fails for want of room: `open` kept it."""
        ...

    def release(self, ledger_id: int) -> None:
        """An opened request that no backend saw: its reservation is void, and it leaves no row."""
        ...

    def spent(self, scope: str, period_start: int) -> int:
        """Nano-USD that the rows of a budget's period cost, as the database has them now; those still `queued` are not among them."""
        ...

    def status(self) -> LedgerStatus:
        """The present instant."""
        ...
