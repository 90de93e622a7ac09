"""A secret's value, wrapped so that no repr, log line, error or dump can show it by accident.

The value leaves only through `reveal()`, which is easy to grep for.
"""

import hmac

MASK = "********"


class Secret:
    """Text that must not be printed. Equality is constant-time; `str`, `repr` and formatting show a mask."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> str:
        raise TypeError("a secret is not to be pickled")
