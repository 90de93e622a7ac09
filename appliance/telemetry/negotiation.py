"""Which exposition format a scraper gets, from its Accept header (RFC 9110 §12.5.1).

Prometheus names several versions of both formats with q-values; browsers and curl name neither and get text. There is no 406: whoever asks
for something else is better served with text than with nothing.
"""

from appliance.telemetry.exposition import OPENMETRICS, TEXT, Format

# Longest Accept header looked at; Prometheus sends about 300 bytes.
ACCEPT_MAX_CHARS = 4096

# Media type → the format, and the `version` parameters that mean it. No version means the one we have.
OFFERS = {
    "application/openmetrics-text": (OPENMETRICS, frozenset({"", "1.0.0", "0.0.1"})),
    "text/plain": (TEXT, frozenset({"", "0.0.4"})),
}


def negotiate(accept: str) -> Format:
    """The offered format with the highest q; between equals the one named first. Wildcards mean text."""
    best, best_q, exact = TEXT, 0.0, False
    for item in accept[:ACCEPT_MAX_CHARS].split(","):
        media, q, version = _parsed(item)
        if media in OFFERS:
            form, versions = OFFERS[media]
            if version in versions and q > 0 and (not exact or q > best_q):
                best, best_q, exact = form, q, True
    if best is OPENMETRICS and _wildcard_q(accept) > best_q:
        return TEXT
    return best


def _wildcard_q(accept: str) -> float:
    """What text is worth when only a wildcard covers it; 0 when text is named itself."""
    items = [_parsed(item) for item in accept[:ACCEPT_MAX_CHARS].split(",")]
    if any(media == "text/plain" for media, _, _ in items):
        return 0.0
    return max((q for media, q, _ in items if media in ("*/*", "text/*")), default=0.0)


def _parsed(item: str) -> tuple[str, float, str]:
    media, *parameters = [part.strip() for part in item.lower().split(";")]
    q, version = 1.0, ""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            q = _quality(value.strip())
        elif name.strip() == "version":
            version = value.strip().strip('"')
    return media, q, version


def _quality(text: str) -> float:
    """0 to 1; anything else is no wish at all."""
    try:
        q = float(text)
    except ValueError:
        return 0.0
    return q if 0.0 <= q <= 1.0 else 0.0
