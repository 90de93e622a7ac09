"""Time zones by their IANA names. The system's files are asked first, since they are renewed more often; where there are none (small
containers), those of the `tzdata` package.
"""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, available_timezones

from appliance.config.problem import meant


def zone(name: str) -> tzinfo | None:
    """The zone, None where there is none of that name. A folder of the database ("Europe") raises an OSError."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def meant_zone(name: str) -> str:
    """A "did you mean"; also by the city alone ("berlin"). Reads the whole list: for reports of mistakes."""
    known = available_timezones()
    places = {one.rpartition("/")[2].casefold(): one for one in sorted(known)}
    whole = places.get(name.rpartition("/")[2].replace(" ", "_").casefold())
    return f'did you mean "{whole}"?' if whole else meant(name.replace(" ", "_"), known)
