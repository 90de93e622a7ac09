"""What the vendors share whose requests are proven by something that has to be fetched first: a cloud's temporary credentials.

The rule: no secret is in a repr, and words that say what went wrong never repeat what was received.
"""

import re

import attrs

from appliance.providers.sigv4 import Credentials


@attrs.frozen
class Grant:
    """What a source gave.

    Attributes:
        key: an access key to sign with, or a bearer token.
        lifetime_s: from when it was received; infinite where it does not end.
    """

    key: Credentials | str = attrs.field(repr=False)
    lifetime_s: float

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What nobody's answer may repeat, in UTF-8."""
        key = self.key
        parts = (key,) if isinstance(key, str) else (key.secret_access_key, key.session_token, key.access_key_id)
        return tuple(part.encode("utf-8", "replace") for part in parts if part)


@attrs.frozen
class Trouble:
    """Why a source gave nothing.

    Attributes:
        words: what was asked and what came of it.
        refused: the source answered and said no, so that its operator has to act; else it could not be reached, or will come round.
    """

    words: str
    refused: bool = False


@attrs.frozen
class BadAccount:
    """Why an account cannot be used as it is configured: the setting's name, then what is wrong with it and what was expected."""

    reason: str


VISIBLE = re.compile(r"[!-~]+")
"""What a header can carry of a credential."""

LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A part of a host's name (RFC 1035 §2.3.1): regions and locations stand in one."""

_WORD = re.compile(r"[\w .:,-]{1,80}", re.ASCII)


def shown(value: object) -> str:
    """An error's code as a source gave it, if it is a short word; for anything else no more than that there was one."""
    return f'"{value}"' if isinstance(value, str) and _WORD.fullmatch(value) else "something unreadable"


def says_no(status: int) -> bool:
    """Whether a source's status means that asking again as before is pointless."""
    return 400 <= status < 500 and status not in (408, 429)
