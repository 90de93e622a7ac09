"""Thought signatures: what the simulator signs, and whether what comes back is it. Pure.

The real ones are the model's encrypted thoughts; these hold a digest of the call that they stand beside, so that one which comes back with
another call is found out as surely as one that was changed on its way. Source: ai.google.dev/gemini-api/docs/thought-signatures.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from appliance.simulator.prose import seed_of

START = b"\x12\xb0\x01\x0a\xad\x01"  # the look of the real ones: the beginning of a protobuf message
DIGEST_BYTES = 32
THOUGHT_BYTES = 64  # of no meaning
# Google's own words for a call that no Gemini made; they pass wherever a signature is wanted.
SKIPS = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
MARK = "a Gemini thought signature of the simulator"


def sign(content: object) -> str:
    """Base64 in the standard alphabet. `content` is what it stands beside; "" for text, which may be cut and joined on its way."""
    digest = seed_of(MARK, content)
    thoughts = (seed_of(MARK, digest.hex(), 0) + seed_of(MARK, digest.hex(), 1))[:THOUGHT_BYTES]
    return base64.b64encode(START + digest + thoughts + seed_of(MARK, (digest + thoughts).hex())).decode()


def is_ours(signature: str) -> bool:
    raw = decoded(signature)
    inner = raw.removeprefix(START)
    body, mac = inner[: DIGEST_BYTES + THOUGHT_BYTES], inner[DIGEST_BYTES + THOUGHT_BYTES :]
    return raw.startswith(START) and mac == seed_of(MARK, body.hex())


def signs(signature: str, content: object) -> bool:
    return is_ours(signature) and decoded(signature)[len(START) : len(START) + DIGEST_BYTES] == seed_of(MARK, content)


def skips(signature: str) -> bool:
    """One of Google's words, as it stands or (as an SDK sends bytes) in base64."""
    return signature in SKIPS or decoded(signature) in [word.encode() for word in SKIPS]


def decoded(signature: str) -> bytes:
    """In either alphabet; b"" for what is no base64."""
    plain = signature.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def call_content(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """What the signature of a call stands for, however its arguments are ordered."""
    return [name, orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS).decode()]
