"""Which authorities an upstream's certificate may come from.

The rule: every choice is a set of authorities to verify against; none of them is "do not verify".
"""

import ssl

import attrs
import certifi

from appliance.http1.tls import tls_context


@attrs.frozen
class BadTrust:
    """Why a `ca` setting cannot be used."""

    reason: str


def upstream_tls(ca: str) -> ssl.SSLContext | BadTrust:
    """The TLS context for one backend; build it once, it takes some 40 ms.

    Args:
        ca: "certifi" (Mozilla's list, shipped with the program), "system" (the machine's store), or the path of a PEM file.
    """
    ca_file = {"certifi": certifi.where(), "system": None}.get(ca, ca)
    try:
        return tls_context(ca_file)
    except ssl.SSLError:
        return BadTrust("holds no certificate in PEM form")
    except OSError as error:
        return BadTrust(f"cannot be read: {error.strerror}")
