"""One request at a backend for many that are the same and come at once.

The rule: who leads owes the others an end. Whatever becomes of the leader, its flight lands in `finally`: with the answer, or with word
that each is to go by itself, or with nothing, and then one of those who waited leads the next.
"""

import attrs
import trio

from appliance.gateway.cache import Entry


@attrs.define(eq=False)
class Flight:
    """Attributes:
    entry: the answer, once it has landed with one. alone: this answer is for nobody else; the others need not wait for another.
    waiting: how many do.
    """

    entry: Entry | None = None
    alone: bool = False
    waiting: int = 0
    landed: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Flights:
    """Those in the air, by tenant and by key."""

    _flying: dict[str, dict[bytes, Flight]] = attrs.field(factory=dict)

    def flying(self, tenant: str, key: bytes) -> Flight | None:
        """The one that a request may wait for."""
        flights = self._flying.get(tenant)
        return None if flights is None else flights.get(key)

    def lead(self, tenant: str, key: bytes) -> Flight:
        """Begin one. There is none of this key."""
        flight = self._flying.setdefault(tenant, {})[key] = Flight()
        return flight

    def land(self, tenant: str, key: bytes, flight: Flight) -> None:
        """It is over, with whatever was written into it."""
        flights = self._flying[tenant]
        del flights[key]
        if not flights:
            del self._flying[tenant]
        flight.landed.set()

    @property
    def waiting(self) -> int:
        """Requests that wait for the answer to another."""
        return sum(flight.waiting for flights in self._flying.values() for flight in flights.values())
