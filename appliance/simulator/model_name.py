"""Model names as the simulator reads them: `NAME[@SPEED][+FAULT…]`. Pure.

`@` starts a speed only where a speed follows (`@tps=20`, `@ttft=300ms,tps=20`), since real names hold it too (`claude@20240620`); `+`
always starts a fault.
"""

import re

import attrs

from appliance.simulator.settings import Speed

DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
DURATION_MAX_S = 3600.0


@attrs.frozen
class ModelName:
    """`asked` is the whole name as it came, `bare` the name without speed and fault."""

    asked: str
    bare: str
    speed: str = ""
    fault: str = ""


def parse_model(asked: str) -> ModelName:
    named, _, fault = asked.partition("+")
    bare, at, speed = named.rpartition("@")
    if at and speed.partition("=")[0] in ("ttft", "tps"):
        return ModelName(asked, bare, speed, fault)
    return ModelName(asked, named, "", fault)


def parse_duration(text: str) -> float | None:
    """Seconds of "3", "3s", "250ms" or "1.5m"; None when it is not one, or above an hour."""
    match = DURATION.fullmatch(text)
    if match is None:
        return None
    seconds = float(match[1]) * UNITS_S[match[2]]
    return seconds if seconds <= DURATION_MAX_S else None


def parse_speed(text: str, default: Speed) -> Speed | str:
    """`ttft=DURATION` and `tps=NUMBER`, in any order, comma between; what is wrong otherwise."""
    speed = default
    for part in text.split(","):
        key, _, value = part.strip().partition("=")
        number = parse_duration(value)
        if key == "ttft" and number is not None:
            speed = attrs.evolve(speed, first_token_s=number)
        elif key == "tps" and re.fullmatch(r"\d{1,7}(\.\d{1,6})?", value):
            speed = attrs.evolve(speed, tokens_per_s=float(value))
        else:
            return f"{part!r} is not a speed: say ttft=300ms, tps=20, or both with a comma between"
    return speed
