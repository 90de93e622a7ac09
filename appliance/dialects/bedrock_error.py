"""What Bedrock's errors mean: by status, then by the exception's name, then by its words.

The name comes in `x-amzn-errortype` or in the body's `__type`, with a namespace before `#` or an address behind `:`
(smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html, operation error serialization). The rule: no ARN passes on: it names the
operator's account.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.dialects.error_body import ERROR_PARSE_MAX_BYTES, Said, read_error
from appliance.dialects.error_kind import kind_by_words, kind_of
from appliance.dialects.redaction import REDACTED
from appliance.dialects.upstream_error import fault_of
from appliance.dialects.upstream_json import parse

_KINDS: dict[str, FaultKind] = {
    "throttlingexception": FaultKind.UPSTREAM_RATE_LIMITED,
    "toomanyrequestsexception": FaultKind.UPSTREAM_RATE_LIMITED,
    "servicequotaexceededexception": FaultKind.QUOTA,
    "modelnotreadyexception": FaultKind.OVERLOADED,  # 429; the SDKs try again up to five times
    "serviceunavailableexception": FaultKind.OVERLOADED,
    "modelerrorexception": FaultKind.SERVER_ERROR,  # 424
    "modelstreamerrorexception": FaultKind.STREAM_ERROR,
    "modeltimeoutexception": FaultKind.SERVER_ERROR,  # 408
    "internalserverexception": FaultKind.SERVER_ERROR,
    "internalfailure": FaultKind.SERVER_ERROR,
    "accessdeniedexception": FaultKind.AUTHENTICATION,
    "unrecognizedclientexception": FaultKind.AUTHENTICATION,
    "invalidsignatureexception": FaultKind.AUTHENTICATION,
    "incompletesignature": FaultKind.AUTHENTICATION,
    "incompletesignatureexception": FaultKind.AUTHENTICATION,
    "missingauthenticationtoken": FaultKind.AUTHENTICATION,
    "missingauthenticationtokenexception": FaultKind.AUTHENTICATION,
    "invalidclienttokenid": FaultKind.AUTHENTICATION,
    "expiredtokenexception": FaultKind.AUTHENTICATION,
    "expiredtoken": FaultKind.AUTHENTICATION,
    "requestexpired": FaultKind.AUTHENTICATION,
    "notauthorized": FaultKind.AUTHENTICATION,
    "optinrequired": FaultKind.AUTHENTICATION,
    "ftuformnotfilled": FaultKind.AUTHENTICATION,  # 404: the account has not told Anthropic's use case
    "resourcenotfoundexception": FaultKind.UPSTREAM_NOT_FOUND,
    "unknownoperationexception": FaultKind.PROTOCOL,
}
"""By name in lower case (docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html, and the API's model)."""

_CONTEXT = re.compile(r"input is too long|too many (?:input )?tokens|exceeds? the (?:maximum|model's) (?:input|context)", re.IGNORECASE)
_MODEL = re.compile(r"model identifier is invalid|on-demand throughput isn.t supported|reached the end of its life", re.IGNORECASE)
_ACCOUNT = re.compile(r"not authorized to|operation not allowed|don't have access to the model", re.IGNORECASE)
_DAILY = re.compile(r"per day", re.IGNORECASE)
_ARN = re.compile(r"\barn:aws[^\s\"',;)]+")


def classify(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, backend: str, now: float, secrets: Sequence[bytes] = ()
) -> Fault:
    """The fault behind an answer that is not the expected 200; arguments as upstream_error.classify has them."""
    headers = list(headers)
    name = next((value for header, value in headers if header == b"x-amzn-errortype"), b"").decode("latin-1")
    said = _read(body, name, secrets)
    return fault_of(_kind(status, said), said, status, headers, body, backend=backend, now=now, secrets=secrets)


def stream_fault(name: str, payload: bytes, backend: str) -> Fault:
    """The fault that an exception in the stream tells. name: as in `throttlingException`."""
    said = _read(payload, name, ())
    kind = _KINDS.get(said.type.lower())
    if kind is None:
        kind = _of_validation(said) if said.type.lower() == "validationexception" else FaultKind.STREAM_ERROR
    elif kind is FaultKind.SERVER_ERROR:
        kind = FaultKind.STREAM_ERROR
    return attrs.evolve(fault_of(kind, said, 0, (), b"", backend=backend, now=0.0), upstream_status=None)


def answer_fault(answer: Mapping[str, Any], body: bytes, backend: str = "") -> Fault | None:
    """The error in a 200 answer; None when there is none. Bedrock is not known to send one; proxies before it are."""
    if "output" in answer or not (_text(answer, "message", "Message") or _text(answer, "__type", "code")):
        return None
    return stream_fault("", body, backend)


def _read(body: bytes, name: str, secrets: Sequence[bytes]) -> Said:
    """What the body says. Its text is masked; with an ARN taken out, the body itself does not pass either."""
    parsed: object = None
    if len(body) <= ERROR_PARSE_MAX_BYTES:
        with suppress(ValueError):
            parsed = parse(body)
    fields = parsed if isinstance(parsed, dict) else {}
    name = (name or _text(fields, "__type", "code")).partition(":")[0].rpartition("#")[2].strip()
    message = _ARN.sub(REDACTED, _text(fields, "message", "Message", "originalMessage", "errorMessage"))
    return attrs.evolve(read_error({"message": message, "type": name}, {}, secrets), is_json=isinstance(parsed, dict))


def _kind(status: int, said: Said) -> FaultKind:
    if status in (401, 403):
        return FaultKind.AUTHENTICATION
    named = _KINDS.get(said.type.lower())
    if status == 429:
        if _DAILY.search(said.message):
            return FaultKind.QUOTA
        return named if named in (FaultKind.OVERLOADED, FaultKind.QUOTA) else FaultKind.UPSTREAM_RATE_LIMITED
    if status in (400, 422) and named is None:
        return _of_validation(said)
    if 400 <= status < 500 and named is not None:
        return named
    if status == 424:
        return FaultKind.SERVER_ERROR
    return kind_of(status, said)


def _of_validation(said: Said) -> FaultKind:
    """A ValidationException is nearly always the caller's; the account's own limits and missing models come as one, too."""
    if _CONTEXT.search(said.message):
        return FaultKind.CONTEXT_LENGTH
    if _MODEL.search(said.message):
        return FaultKind.UPSTREAM_NOT_FOUND
    if _ACCOUNT.search(said.message):
        return FaultKind.AUTHENTICATION
    found = kind_by_words(said)
    return found if found in (FaultKind.CONTEXT_LENGTH, FaultKind.CONTENT_FILTERED) else FaultKind.INVALID_REQUEST


def _text(fields: Mapping[str, Any], *names: str) -> str:
    return next((fields[name] for name in names if isinstance(fields.get(name), str)), "")
