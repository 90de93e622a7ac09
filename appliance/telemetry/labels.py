"""Label values that callers or upstreams choose, bounded in number and length.

What is not known and finds no room becomes `other`; memory and series stay bounded whatever anybody sends.
"""

from collections.abc import Iterable

OTHER = "other"

# Longest label value kept. Real model and user names are shorter; a caller can send megabytes.
VALUE_MAX_CHARS = 128


class LabelValues:
    """A set of values that may be at most `limit` strong.

    Attributes:
        dropped: how often a value became `other`.
    """

    __slots__ = ("_known", "dropped", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.dropped = 0
        self._known: dict[str, str] = {"": ""}

    def label(self, raw: str) -> str:
        """The label for this value: itself, cut and cleaned, or `other`."""
        known = self._known.get(raw)
        return self._admit(raw) if known is None else known

    def reserve(self, values: Iterable[str]) -> None:
        """Makes room for values that the operator wrote, beyond the limit if need be: strangers must not crowd them out."""
        for value in values:
            if value not in self._known:
                self._known[value] = _clean(value)
                self.limit += 1

    def _admit(self, raw: str) -> str:
        value = _clean(raw)
        if value in self._known:
            return self._known[value]
        if len(self._known) > self.limit:  # the empty value is free
            self.dropped += 1
            return OTHER
        self._known[value] = value
        return value


def _clean(raw: str) -> str:
    """At most VALUE_MAX_CHARS, and encodable: a lone surrogate in one label would make the whole exposition unsendable."""
    return raw[:VALUE_MAX_CHARS].encode("utf-8", "replace").decode()
