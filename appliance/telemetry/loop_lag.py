"""How late the event loop's timers fire: the time that every request waits behind whatever holds the loop.

A service: it runs until cancelled. Sleep and clock are handed in, so this room needs no event loop of its own to be tested.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from appliance.telemetry.histogram import Histogram

# Ten looks a second see any stall that a user could notice, for about 0.05 % of a core.
INTERVAL_S: Final = 0.1


async def watch_lag(
    lag: Histogram, sleep: Callable[[float], Awaitable[object]], clock: Callable[[], float], interval_s: float = INTERVAL_S
) -> None:
    """Observes, in seconds, how much later than asked each sleep returned. `clock` is monotonic, in seconds."""
    while True:
        due = clock() + interval_s
        await sleep(interval_s)
        lag.observe(max(0.0, clock() - due))
