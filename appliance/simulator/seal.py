"""Opaque reasoning as vendors hand it out and check it when it comes back: signatures beside a text, and texts sealed inside. Pure.

The rule: each issuer has a key of its own, so what one vendor made another refuses; nothing here is secret, only hard to make by mistake.
"""

import base64
import binascii
import hashlib
import hmac

NONCE_BYTES, MAC_BYTES = 16, 32


def key_of(issuer: str) -> bytes:
    return hashlib.sha256(b"simulated key of " + issuer.encode()).digest()


def mac(issuer: str, nonce: bytes, text: bytes) -> bytes:
    return hmac.digest(key_of(issuer), nonce + text, "sha256")


def sign(issuer: str, text: str, seed: bytes) -> str:
    """Base64 of a signature of this text; another `seed` gives another one."""
    nonce = hashlib.sha256(seed).digest()[:NONCE_BYTES]
    return base64.b64encode(nonce + mac(issuer, nonce, text.encode())).decode()


def signed(issuer: str, text: str, signature: str) -> bool:
    """Whether this issuer signed exactly this text."""
    raw = decoded(signature)
    nonce = raw[:NONCE_BYTES]
    return len(raw) == NONCE_BYTES + MAC_BYTES and hmac.compare_digest(raw[NONCE_BYTES:], mac(issuer, nonce, text.encode()))


def seal(issuer: str, text: str, seed: bytes) -> str:
    """Base64 that `unseal` turns into the text again, and that shows nothing of it."""
    nonce = hashlib.sha256(seed).digest()[:NONCE_BYTES]
    data = text.encode()
    return base64.b64encode(nonce + mac(issuer, nonce, data) + masked(issuer, nonce, data)).decode()


def unseal(issuer: str, sealed: str) -> str | None:
    """The text, None where this issuer sealed no such thing."""
    raw = decoded(sealed)
    nonce, given, data = raw[:NONCE_BYTES], raw[NONCE_BYTES : NONCE_BYTES + MAC_BYTES], raw[NONCE_BYTES + MAC_BYTES :]
    text = masked(issuer, nonce, data)
    return text.decode() if len(given) == MAC_BYTES and hmac.compare_digest(given, mac(issuer, nonce, text)) else None


def masked(issuer: str, nonce: bytes, data: bytes) -> bytes:
    pad = hashlib.shake_256(key_of(issuer) + nonce).digest(len(data))
    return bytes(a ^ b for a, b in zip(data, pad, strict=True))


def decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
