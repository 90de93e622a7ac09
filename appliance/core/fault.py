"""Every way a request can end badly, as values in one closed table.

Retry, fallback, breaker, metrics, logs and error bodies all read the same row, so they cannot disagree. A `Fault` is returned, never
raised. Blame says who has to act: the caller (their request), the upstream (a provider) or the gateway (us, or the operator's config).
"""

from enum import StrEnum

import attrs


class Blame(StrEnum):
    CALLER = "caller"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"


class FaultKind(StrEnum):
    # The caller's, found by the gateway before any backend was asked.
    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    BUDGET_EXCEEDED = "budget_exceeded"
    MODEL_FORBIDDEN = "model_forbidden"
    UNKNOWN_MODEL = "unknown_model"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA = "unsupported_media"
    RATE_LIMITED = "rate_limit_exceeded"
    CLIENT_GONE = "client_gone"
    # The caller's, found by a backend: its status and body pass when the dialect is the same.
    INVALID_REQUEST = "invalid_request"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTERED = "content_filtered"
    UPSTREAM_NOT_FOUND = "upstream_not_found"
    # The upstream's.
    AUTHENTICATION = "upstream_authentication"
    QUOTA = "upstream_quota"
    UPSTREAM_RATE_LIMITED = "upstream_rate_limited"
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    CONNECT = "connect"
    CONNECTION_LOST = "connection_lost"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    PROTOCOL = "protocol"
    STREAM_CUT = "stream_cut"
    STREAM_ERROR = "stream_error"
    # The gateway's.
    NO_BACKEND = "no_backend"
    BACKEND_BUSY = "backend_busy"
    DRAINING = "draining"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    INTERNAL = "internal"


@attrs.frozen
class FaultRow:
    """What follows from a kind of fault.

    Attributes:
        status: HTTP status for the caller, unless the upstream's own passes (`Fault.surface_status`).
        blame: who has to act.
        label: the `error_type` value in metrics; a small closed set, several kinds may share one.
        retryable: whether the same backend may be asked again. The route's `retry.on` list has the last word on statuses.
        trips: whether it counts against the backend's breaker and passive health.
    """

    status: int
    blame: Blame
    label: str
    retryable: bool
    trips: bool


_CALLER, _UPSTREAM, _GATEWAY = Blame.CALLER, Blame.UPSTREAM, Blame.GATEWAY

FAULTS: dict[FaultKind, FaultRow] = {
    FaultKind.BAD_REQUEST: FaultRow(400, _CALLER, "invalid_request", False, False),
    FaultKind.UNAUTHORIZED: FaultRow(401, _CALLER, "unauthorized", False, False),
    FaultKind.BUDGET_EXCEEDED: FaultRow(402, _CALLER, "budget_exceeded", False, False),
    FaultKind.MODEL_FORBIDDEN: FaultRow(403, _CALLER, "model_forbidden", False, False),
    FaultKind.UNKNOWN_MODEL: FaultRow(404, _CALLER, "unknown_model", False, False),
    FaultKind.NOT_FOUND: FaultRow(404, _CALLER, "not_found", False, False),
    FaultKind.METHOD_NOT_ALLOWED: FaultRow(405, _CALLER, "method_not_allowed", False, False),
    FaultKind.REQUEST_TIMEOUT: FaultRow(408, _CALLER, "request_timeout", False, False),
    FaultKind.BODY_TOO_LARGE: FaultRow(413, _CALLER, "body_too_large", False, False),
    FaultKind.UNSUPPORTED_MEDIA: FaultRow(415, _CALLER, "unsupported_media", False, False),
    FaultKind.RATE_LIMITED: FaultRow(429, _CALLER, "rate_limit_exceeded", False, False),
    FaultKind.CLIENT_GONE: FaultRow(499, _CALLER, "client_gone", False, False),
    FaultKind.INVALID_REQUEST: FaultRow(400, _CALLER, "invalid_request", False, False),
    FaultKind.CONTEXT_LENGTH: FaultRow(400, _CALLER, "context_length", False, False),
    FaultKind.CONTENT_FILTERED: FaultRow(400, _CALLER, "content_filtered", False, False),
    # A 404 from a provider: the model or deployment is not there. Another backend may have it, so `fallback_on` lists 404.
    FaultKind.UPSTREAM_NOT_FOUND: FaultRow(404, _CALLER, "not_found", False, False),
    # The operator's key was refused: never the caller's 401/403. It does not trip the breaker: the backend is up.
    FaultKind.AUTHENTICATION: FaultRow(502, _UPSTREAM, "authentication", False, False),
    FaultKind.QUOTA: FaultRow(502, _UPSTREAM, "quota", False, False),
    FaultKind.UPSTREAM_RATE_LIMITED: FaultRow(429, _UPSTREAM, "rate_limited", True, False),
    FaultKind.SERVER_ERROR: FaultRow(502, _UPSTREAM, "server_error", True, True),
    FaultKind.OVERLOADED: FaultRow(502, _UPSTREAM, "overloaded", True, True),
    FaultKind.CONNECT: FaultRow(502, _UPSTREAM, "connection", True, True),
    FaultKind.CONNECTION_LOST: FaultRow(502, _UPSTREAM, "connection", True, True),
    FaultKind.CONNECT_TIMEOUT: FaultRow(504, _UPSTREAM, "timeout", True, True),
    FaultKind.FIRST_BYTE_TIMEOUT: FaultRow(504, _UPSTREAM, "timeout", True, True),
    FaultKind.IDLE_TIMEOUT: FaultRow(504, _UPSTREAM, "timeout", True, True),
    FaultKind.TOTAL_TIMEOUT: FaultRow(504, _UPSTREAM, "timeout", False, True),
    FaultKind.PROTOCOL: FaultRow(502, _UPSTREAM, "protocol", True, True),
    FaultKind.STREAM_CUT: FaultRow(502, _UPSTREAM, "stream_cut", True, True),
    FaultKind.STREAM_ERROR: FaultRow(502, _UPSTREAM, "server_error", True, True),
    FaultKind.NO_BACKEND: FaultRow(503, _GATEWAY, "no_backend", False, False),
    # Our own bound on a backend: another backend may have room, the backend itself did nothing wrong.
    FaultKind.BACKEND_BUSY: FaultRow(503, _GATEWAY, "backend_busy", True, False),
    FaultKind.DRAINING: FaultRow(503, _GATEWAY, "draining", False, False),
    FaultKind.LEDGER_UNAVAILABLE: FaultRow(503, _GATEWAY, "ledger_unavailable", False, False),
    FaultKind.INTERNAL: FaultRow(500, _GATEWAY, "internal", False, False),
}

ERROR_TYPES: frozenset[str] = frozenset(row.label for row in FAULTS.values())
"""Every value the `error_type` label can take."""


CODE_MAX_CHARS = 64
"""Of a backend's code for an error, where its words are not wanted."""


@attrs.frozen
class Fault:
    """One thing that went wrong.

    Attributes:
        message: what was wrong, where, and what to do, in one sentence for the caller. No secrets, no upstream addresses.
        param: the offending request field, when it is the caller's (`error.param` of OpenAI's envelope).
        code: a machine-readable code for the envelope, when the kind alone is too coarse.
        upstream_status: the status a backend answered with, None when there was no answer.
        retry_after_s: what the upstream (or our limit) asked the caller to wait, in seconds.
        body, content_type: the upstream's own error body, passed verbatim when the fault is the caller's and the dialect the same.
        detail: for logs and `explain` only; may name hosts and ports, never secrets.
    """

    kind: FaultKind
    message: str
    param: str | None = None
    code: str | None = None
    upstream_status: int | None = None
    retry_after_s: float | None = None
    body: bytes | None = attrs.field(default=None, repr=False)
    content_type: bytes | None = None
    detail: str = ""

    @property
    def row(self) -> FaultRow:
        return FAULTS[self.kind]

    @property
    def noted(self) -> str:
        """The message for what is kept: a log, a store. A backend's own words about a request may quote its prompt; they are left out."""
        if self.row.blame is not Blame.CALLER or (self.upstream_status is None and not self.detail):
            return self.message
        status = "an error in its answer" if self.upstream_status is None else f"status {self.upstream_status}"
        code = f" ({self.code})" if self.code and len(self.code) <= CODE_MAX_CHARS and self.code.replace("_", "").isalnum() else ""
        return f"the backend refused the request with {status}{code}"

    @property
    def surface_status(self) -> int:
        """The status the caller sees: the upstream's own for a fault of the caller, else the row's."""
        row = FAULTS[self.kind]
        if row.blame is Blame.CALLER and self.upstream_status is not None:
            return self.upstream_status
        return row.status
