"""How fast one direction of a connection moves, judged by samples and not by clocks.

The sweeper looks at every connection a few times a second. Only what it sees *waiting for the client* counts, so neither a slow
application nor a slow upstream is ever held against the client, and a request that never waits costs nothing here.
"""

import attrs

from appliance.http1.server_limits import ServerLimits


@attrs.define(eq=False)
class Pace:
    """One direction. `waiting` is set by whoever waits for the client, `late` by the sweeper when that has taken too long."""

    waiting: bool = False
    late: bool = False
    _seen_bytes: int = 0
    _silent_s: float = 0.0
    _window_s: float = 0.0
    _window_bytes: int = 0

    def too_slow(self, elapsed_s: float, total_bytes: int, stall_s: float, limits: ServerLimits) -> bool:
        """One sample while waiting: `total_bytes` is all that this direction ever moved, `elapsed_s` the time since the last sample."""
        moved = total_bytes - self._seen_bytes
        self._seen_bytes = total_bytes
        self._silent_s = self._silent_s + elapsed_s if moved <= 0 else 0.0
        self._window_s += elapsed_s
        self._window_bytes += moved
        if self._silent_s > stall_s:
            return True
        if self._window_s < limits.rate_grace_s:
            return False
        slow = self._window_bytes < limits.min_rate_bytes_s * self._window_s
        self._window_s, self._window_bytes = 0.0, 0
        return slow
