"""What all connections of a process do together: reading streams that flow steadily, and writing what is small."""

import attrs

from appliance.http1.arrivals import Arrivals
from appliance.http1.departures import Departures


@attrs.frozen(eq=False)
class Traffic:
    """Both services, each to be run."""

    arrivals: Arrivals
    departures: Departures = attrs.field(factory=Departures)
