"""What a vendor refuses or spells otherwise in a request that the gateway writes anew, for a caller of another language.

The rule: it is the caller's vendor that would have taken the field, so what this one refuses is left out and reported instead of failing
the request. Callers of the vendor's own language are not touched by any of it: their requests pass as they are.
"""

from collections.abc import Callable

import attrs

from appliance.core.conversation import Effort
from appliance.core.glob import compile_globs

Applies = Callable[[str], bool]


def _applies(rule: "Refused | Efforts | Limit | Spelled") -> Applies:
    return compile_globs(rule.models)


@attrs.frozen
class Refused:
    """Fields that are left out. models: globs over the bare model; only their requests are changed."""

    fields: tuple[str, ...]
    models: tuple[str, ...] = ("*",)
    applies: Applies = attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(_applies, takes_self=True))


@attrs.frozen
class Spelled:
    """A field that has another name or form here; see dialects.chat_request_writer for the names."""

    field: str
    to: str
    models: tuple[str, ...] = ("*",)
    applies: Applies = attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(_applies, takes_self=True))


@attrs.frozen
class Efforts:
    """The words that `reasoning_effort` may have."""

    words: tuple[Effort, ...]
    models: tuple[str, ...] = ("*",)
    applies: Applies = attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(_applies, takes_self=True))


@attrs.frozen
class Limit:
    """The most tokens that an answer may be bounded by; a higher bound is refused by the vendor."""

    tokens: int
    models: tuple[str, ...]
    applies: Applies = attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(_applies, takes_self=True))


USUAL: tuple[Effort, ...] = ("low", "medium", "high")
"""Words that every vendor knows who has the field at all."""

EVERY: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@attrs.frozen
class Quirks:
    """Of one vendor. Of several `efforts` and `limits` the first that applies counts; without one: USUAL, and no limit that is known."""

    refused: tuple[Refused, ...] = ()
    spelled: tuple[Spelled, ...] = ()
    efforts: tuple[Efforts, ...] = ()
    limits: tuple[Limit, ...] = ()

    def drop(self, model: str) -> tuple[str, ...]:
        return tuple(name for one in self.refused if one.applies(model) for name in one.fields)

    def rename(self, model: str) -> dict[str, str]:
        return {one.field: one.to for one in self.spelled if one.applies(model)}

    def words(self, model: str) -> tuple[Effort, ...]:
        return next((one.words for one in self.efforts if one.applies(model)), USUAL)

    def limit(self, model: str) -> int | None:
        return next((one.tokens for one in self.limits if one.applies(model)), None)


NO_QUIRKS = Quirks()
