"""Thought signatures, and other makers' seals in their place.

The rule: what stands in a `thoughtSignature` for a caller is valid base64 whatever it is, since google-genai keeps the field as bytes (it
decodes what it gets and sends it back in the URL-safe alphabet). So a wrapped seal is encoded once more, and decoded in either alphabet.
"""

import base64

from appliance.core.seal import WRAPPED, Seal, unwrap, wrap

OWN = "gemini"

SKIP = "skip_thought_signature_validator"
"""Google's word for a call that no Gemini made, where Gemini 3 wants a signature (ai.google.dev/gemini-api/docs/thought-signatures)."""

_HIDDEN = "gw1hidden."
"""Marks the seal of thoughts without words: it must not be taken for the signature of the words before it."""

_START = base64.b64encode(WRAPPED[:3].encode()).decode()
"""What `gw1` is in base64."""

WRAPPED_QUOTED = b'"%b' % _START.encode()
"""Starts every other maker's seal in a request of this language."""


def written_seal(seal: Seal, hidden: bool = False) -> str:
    """As a caller of this language gets it."""
    text = wrap(seal, OWN)
    if seal.maker == OWN:
        return text
    return base64.b64encode(((_HIDDEN if hidden else "") + text).encode()).decode()


def read_seal(text: str) -> tuple[Seal | None, bool]:
    """What a caller sent back, and whether it is all there is of its thoughts. None for one that says nothing."""
    if text == SKIP or not text:
        return None, False
    if text.startswith(_START):
        try:
            padded = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
            inner = base64.b64decode(padded, validate=True).decode()
        except ValueError:
            return Seal(OWN, text), False
        seal = unwrap(inner.removeprefix(_HIDDEN), OWN)
        if seal.maker != OWN:
            return seal, inner.startswith(_HIDDEN)
    return Seal(OWN, text), False
