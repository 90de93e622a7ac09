"""The [tenants.NAME] tables: who may call, with which keys, for how much. See `schema` for the rule."""

from datetime import datetime
from typing import Literal

import attrs

from appliance.config.knob import knob, required

Period = Literal["day", "week", "month", "total"]


@attrs.frozen
class Budget:
    """A spend ceiling."""

    usd: float = required("ceiling", unit="USD")
    period: Period = knob("month", "when it starts anew")
    timezone: str = knob("UTC", "whose midnight counts")
    on_exceeded: Literal["refuse", "warn"] = knob("refuse", "402, or a warning alone")


@attrs.frozen
class Key:
    """A static key; its secret is never in the file, only the SHA-256 of it."""

    id: str = required("names it in logs and usage")
    sha256: str = required("hex SHA-256 of the key")
    expires: datetime | None = knob(None, "a TOML date or date-time; a date means its first moment in UTC")
    models: tuple[str, ...] = knob(("*",), "globs over the models it may ask for, within the tenant's")
    routes: tuple[str, ...] = knob(("*",), "globs over the routes it may use")
    rpm: int | None = knob(None, "requests per minute", low=1)
    tpm: int | None = knob(None, "tokens per minute", low=1)
    concurrency: int | None = knob(None, "requests at once", low=1)
    budget: Budget | None = knob(None, "its own ceiling, within the tenant's")


@attrs.frozen
class Tenant:
    """Who pays."""

    models: tuple[str, ...] = knob(("*",), "globs over the models its keys may ask for")
    routes: tuple[str, ...] = knob(("*",), "globs over the routes its keys may use")
    pin: bool = knob(True, "may name a backend with the X-Provider header")
    rpm: int | None = knob(None, "requests per minute", low=1)
    tpm: int | None = knob(None, "tokens per minute", low=1)
    concurrency: int | None = knob(None, "requests at once", low=1)
    budget: Budget | None = knob(None, "spend ceiling")
    keys: tuple[Key, ...] = knob((), "static keys; 'appliance key create' makes more at run time, kept in the store")
