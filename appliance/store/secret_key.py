"""Secrets of keys that are made here. Only their hash is ever kept; they are shown once, to whoever made them."""

import hashlib
import secrets
import string

from appliance.config.secret import Secret

SECRET_PREFIX = "sk-gw-"
"""What scanners for leaked secrets can know them by."""

DRAWN_CHARS = 32
"""Of 62 letters and digits: 190 bits."""

SHOWN_CHARS = 10
"""Of the whole secret, kept and shown so that a key can be recognised; four of them are drawn."""

_ALPHABET = string.ascii_letters + string.digits


def new_secret() -> Secret:
    return Secret(SECRET_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(DRAWN_CHARS)))


def new_key_id() -> str:
    """For a key whose maker named none."""
    return "key-" + secrets.token_hex(4)


def digest_of(secret: Secret) -> bytes:
    return hashlib.sha256(secret.reveal().encode()).digest()


def prefix_of(secret: Secret) -> str:
    return secret.reveal()[:SHOWN_CHARS]
