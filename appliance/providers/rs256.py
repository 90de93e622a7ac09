"""A JSON Web Token signed with RSA and SHA-256 (RFC 7515, RFC 7519), as Google's token endpoint wants it; a pure function.

The rule: `cryptography` is imported when a token is signed, since it takes a tenth of a second and few accounts need it.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from appliance.providers.account import Trouble


def signed_token(claims: Mapping[str, Any], private_key: str, key_id: str = "") -> str | Trouble:
    """The token. private_key: in PEM. key_id: named in the token's head, unless empty."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return Trouble("the service account's private_key cannot be read: it is damaged, or protected by a password", refused=True)
    if not isinstance(key, RSAPrivateKey):
        return Trouble("the service account's private_key is no RSA key", refused=True)
    head = {"alg": "RS256", "typ": "JWT", **({"kid": key_id} if key_id else {})}
    signed = f"{_encoded(head)}.{_encoded(claims)}"
    return f"{signed}.{_base64(key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


def _encoded(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
