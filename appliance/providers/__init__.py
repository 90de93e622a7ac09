"""The vendors: one frozen row each; a file of its own only where a row is not enough.

`PROVIDERS` is the table; the functions say what follows from a row. A provider imports core and dialects, never another provider.
"""

from appliance.providers.manner import Manner, manner
from appliance.providers.row import Provider, Rename
from appliance.providers.table import PROVIDERS
from appliance.providers.wire import (
    auth_headers,
    bare_model,
    endpoint,
    models_language,
    refused_thoughts,
    request_rewrite,
    shaped,
    translation_target,
)

__all__ = [
    "PROVIDERS", "Manner", "Provider", "Rename", "auth_headers", "bare_model", "endpoint", "manner", "models_language", "refused_thoughts",
    "request_rewrite", "shaped", "translation_target",
]  # fmt: skip
