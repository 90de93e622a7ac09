"""Opaque values that a vendor hands out and wants back unchanged: signatures of thoughts, encrypted reasoning.

The rule: a seal goes back to the vendor that made it and to nobody else: another would refuse the turn or, worse, misread it. On its way
through the caller's application it travels in whatever field the caller's language has for such things, wrapped so that its maker is known
when it returns. A seal of the caller's own language family travels unwrapped, as its vendor wrote it.
"""

import base64

import attrs

WRAPPED = "gw1."
"""Starts every wrapped seal. No vendor's own begins so: Anthropic's, OpenAI's and Google's are bare base64, which has no full stop."""

WRAPPED_QUOTED = b'"' + WRAPPED.encode()
"""How a wrapped seal looks in JSON, where it is a string of its own: other words may hold those letters, too."""

MAKER_MAX_CHARS = 64

UNSIGNED = WRAPPED + "none."
"""Stands where a caller's language wants a signature and the vendor gave none, so that such reasoning is known when it comes back and goes
to no vendor that checks."""


@attrs.frozen
class Seal:
    """maker: the dialect family that can read it: "anthropic", "openai", "gemini", "bedrock". value: as its vendor wrote it."""

    maker: str
    value: str = attrs.field(repr=False)


def wrap(seal: Seal, own: str) -> str:
    """The seal as text for a caller whose language family is `own`."""
    if seal.maker == own:
        return seal.value
    return f"{WRAPPED}{seal.maker}.{base64.urlsafe_b64encode(seal.value.encode('utf-8', 'replace')).decode().rstrip('=')}"


def unwrap(text: str, own: str) -> Seal:
    """What a caller sent back. What is not wrapped, or not as `wrap` does it, is taken for one of its own family."""
    if text.startswith(WRAPPED):
        maker, dot, value = text[len(WRAPPED) :].partition(".")
        if dot and 0 < len(maker) <= MAKER_MAX_CHARS:
            try:
                return Seal(maker, base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True).decode())
            except ValueError:
                pass
    return Seal(own, text)
