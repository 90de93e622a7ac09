"""httpx's exceptions in the words of our transport protocol.

The rule: an exception's own text never leaves this module, since h11 quotes the offending header value in it.
"""

import ssl

import httpx

from appliance.http1.transport import Failure, FailureKind


def failure_of(error: Exception, *, sent: bool, received: bool) -> Failure:
    """The failure that an exception of httpx, or of what it is made of, stands for."""
    kind, detail = _kind(error)
    if kind == "protocol" and isinstance(error, httpx.RemoteProtocolError):
        received = True
    return Failure(kind, detail, received=received, sent=sent)


def _kind(error: Exception) -> tuple[FailureKind, str]:
    match error:
        case httpx.ConnectTimeout():
            return "connect_timeout", "no connection within connect_s"
        case httpx.PoolTimeout():
            return "queue_timeout", "waited queue_s for a free connection"
        case httpx.ConnectError() | httpx.ProxyError():
            return _connect_kind(error)
        case httpx.WriteError() | httpx.WriteTimeout():
            return "write", "the upstream closed the connection while the request was being written"
        case httpx.RemoteProtocolError() if not _is_cut(error):
            return "protocol", "response refused by the client library"
        case httpx.ReadError() | httpx.ReadTimeout() | httpx.RemoteProtocolError():
            return "closed", "the upstream closed or reset the connection or stream before the response was complete"
        case _:
            return "protocol", f"the client library failed with {type(error).__name__}"


def _connect_kind(error: Exception) -> tuple[FailureKind, str]:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "tls", f"the certificate was refused: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "tls", f"the handshake failed: {cause.reason or type(cause).__name__}"
        if isinstance(cause, OSError) and cause.strerror:
            return "connect", f"could not connect: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ProxyError):
        return "connect", "the proxy refused to connect"
    return "connect", "could not connect"


def _is_cut(error: Exception) -> bool:
    """httpcore has one class for broken framing and for a peer that left; only the text tells them apart (h11's, httpcore's and h2's)."""
    text = str(error)
    return text.startswith(("Server disconnected", "peer closed connection", "<ConnectionTerminated", "<StreamReset")) or not text
