"""What a fault needs to know beside the answer it changes."""

import attrs

from appliance.simulator.language import Language


@attrs.frozen
class FaultContext:
    """`wall_s` is Unix time, for dates in headers."""

    language: Language
    wall_s: float
