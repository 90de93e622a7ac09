"""What an upstream's refusal means for the caller, for every vendor that speaks OpenAI's dialect more or less.

A fault of the caller passes with the upstream's own body; of any other the caller hears our sentence only, since the upstream's may hold
part of the operator's key (OpenAI's and xAI's texts do).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from appliance.core.fault import FAULTS, Blame, Fault, FaultKind
from appliance.dialects.error_body import ERROR_PARSE_MAX_BYTES, Said, error_of, read_error, read_error_body
from appliance.dialects.error_kind import kind_by_words, kind_of
from appliance.dialects.openai_usage import parse_json
from appliance.dialects.redaction import REDACTED, holds_key, written
from appliance.dialects.retry_after import retry_after_s

DETAIL_MAX_CHARS = 500


def classify(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, backend: str, now: float, secrets: Sequence[bytes] = ()
) -> Fault:
    """The fault behind an upstream's answer that is not the expected 200.

    Args:
        headers: names in lower case.
        backend: the configured backend's name, for our sentence to the caller.
        now: wall time in Unix seconds, against which an HTTP date is read.
        secrets: what was sent to this backend to prove who asks. A body that holds one does not pass, and texts have it masked.
    """
    said = read_error_body(body, secrets)
    return fault_of(kind_of(status, said), said, status, headers, body, backend=backend, now=now, secrets=secrets)


def fault_of(
    kind: FaultKind, said: Said, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, *, backend: str, now: float,
    secrets: Sequence[bytes] = (),
) -> Fault:  # fmt: skip
    """The same for a language that finds out the kind, and what was said, in its own way."""
    headers = list(headers)
    fault = _fault(kind, said, backend, status)
    if said.is_json and _may_pass(fault, body, secrets):
        fault = attrs.evolve(fault, body=body, content_type=_content_type(headers))
    return attrs.evolve(fault, retry_after_s=retry_after_s(headers, now))


def error_in_answer(
    answer: Mapping[str, Any], backend: str, *, named_error: bool = False, secrets: Sequence[bytes] = ()
) -> Fault | None:
    """The fault inside a JSON object that came with status 200, as a whole answer or as an event; None when it is a good one.

    Args:
        named_error: the event was called `error`.
        secrets: as for `classify`.
    """
    error = error_of(answer)
    if error is None and not named_error:
        return None
    said = read_error(answer if error is None else error, answer, secrets)
    kind = kind_by_words(said) or (kind_of(said.status, said) if said.status else FaultKind.STREAM_ERROR)
    fault = _fault(kind, said, backend, said.status or None)
    own = error if isinstance(error, dict) else {"message": said.message, "type": said.type, "param": said.param, "code": said.code}
    body = written({"error": own})
    return attrs.evolve(fault, body=body, content_type=b"application/json") if _may_pass(fault, body, secrets) else fault


def hidden_error(body: bytes, backend: str = "", secrets: Sequence[bytes] = ()) -> Fault | None:
    """The fault inside a whole answer of status 200; None when it is a good answer, or no JSON object at all."""
    if b'"error"' not in body and (b'"choices"' in body or b'"data"' in body):
        return None
    if len(body) > ERROR_PARSE_MAX_BYTES:
        return None
    try:
        answer = parse_json(body)
    except ValueError:
        return None
    return error_in_answer(answer, backend, secrets=secrets) if isinstance(answer, dict) else None


def _may_pass(fault: Fault, body: bytes, secrets: Sequence[bytes]) -> bool:
    """Whether the upstream's own body may reach the caller: it is about their request, and nothing in it is or looks like a key."""
    if FAULTS[fault.kind].blame is not Blame.CALLER or REDACTED in fault.message:
        return False
    return bool(body) and not holds_key(body, secrets)


def _fault(kind: FaultKind, said: Said, backend: str, status: int | None) -> Fault:
    named = f"the backend {backend}" if backend else "the backend"
    detail = f"status {status}" if status else "error in a 200 answer"
    if said.type or said.code:
        detail += f", type {said.type or '-'}, code {said.code or '-'}"
    if said.message and kind is not FaultKind.AUTHENTICATION:
        detail += f": {said.message}"
    detail = detail[:DETAIL_MAX_CHARS]
    if FAULTS[kind].blame is Blame.CALLER:
        message = said.message or f"{named} refused the request" + (f" with status {status}" if status else "")
        code = None if said.code.isdecimal() else said.code or None  # a number is the status once more, as Gemini and OpenRouter have it
        return Fault(kind, message, said.param, code, upstream_status=status, detail=detail)
    return Fault(kind, _sentence(kind, named, status), upstream_status=status, detail=detail)


def _sentence(kind: FaultKind, named: str, status: int | None) -> str:
    if kind is FaultKind.AUTHENTICATION:
        return f"{named} refused the gateway's own credentials: its operator has to check that backend's api_key"
    if kind is FaultKind.QUOTA:
        return f"the gateway's account at {named} is out of quota or credit: its operator has to look into it"
    if kind is FaultKind.UPSTREAM_RATE_LIMITED:
        return f"{named} limits the gateway's rate of requests: slow down and try again"
    if kind is FaultKind.OVERLOADED:
        return f"{named} is overloaded: try again later"
    if kind is FaultKind.PROTOCOL:
        return f"{named} gave an unexpected answer (status {status}): its operator should check that backend's base_url"
    if kind is FaultKind.STREAM_ERROR or not status:
        return f"{named} reported an error in its answer: try again"
    return f"{named} failed with status {status}: try again"


def _content_type(headers: list[tuple[bytes, bytes]]) -> bytes:
    return next((value for name, value in headers if name == b"content-type"), b"application/json")
