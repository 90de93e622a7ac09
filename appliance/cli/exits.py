"""How commands end."""

from collections.abc import Sequence

FAILURE = 1
USAGE = 64
CONFIG = 78


class Stop(Exception):
    """Ends a command: lines for standard error and the exit code."""

    def __init__(self, lines: Sequence[str] | str, code: int = FAILURE) -> None:
        self.lines = (lines,) if isinstance(lines, str) else tuple(lines)
        self.code = code
        super().__init__("; ".join(self.lines))


class Unreachable(Stop):
    """Nobody answers where the gateway should be."""
