"""How a request's or attempt's `error_type` reads in words that several vocabularies share, derived from the fault table.

Cells keep the fault's metric label and nothing else; whose fault it was, the caller's, an upstream's or our own, follows from it here.
"""

from appliance.core.fault import FAULTS, Blame, FaultKind

CLIENT_GONE = FAULTS[FaultKind.CLIENT_GONE].label

# Every kind that shares a label shares its blame; a test holds the table to that.
BLAME: dict[str, Blame] = {row.label: row.blame for row in FAULTS.values()}

OF_UPSTREAM: frozenset[str] = frozenset(label for label, blame in BLAME.items() if blame is Blame.UPSTREAM)
OF_GATEWAY: frozenset[str] = frozenset(label for label, blame in BLAME.items() if blame is Blame.GATEWAY)
OF_CALLER: frozenset[str] = frozenset(label for label, blame in BLAME.items() if blame is Blame.CALLER)
ANY_ERROR: frozenset[str] = frozenset(BLAME)
NO_ERROR: frozenset[str] = frozenset({""})
