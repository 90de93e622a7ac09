"""Which kind of fault an upstream's refusal is: the HTTP status decides, then the error's type and code, then its words.

Words only ever refine: they tell a context that is too long from another bad request, an empty account from a rate limit. A server's own
failure is never looked into, since its message may quote anything.
"""

import re

from appliance.core.fault import FaultKind
from appliance.dialects.error_body import Said

_CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"})
_FILTER_CODES = frozenset({
    "content_filter", "content_policy_violation", "responsibleaipolicyviolation", "data_inspection_failed", "invalid_prompt",
})  # fmt: skip
_QUOTA_CODES = frozenset({
    "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_credits", "insufficient_balance",
})  # fmt: skip
_AUTHENTICATION_CODES = frozenset({
    "invalid_api_key", "incorrect_api_key", "authentication_error", "permission_error", "permission_denied", "unauthorized",
})  # fmt: skip
_MISSING_CODES = frozenset({"model_not_found", "not_found_error", "notfounderror", "deploymentnotfound", "not_found"})
_RATE_CODES = frozenset({
    "rate_limit_exceeded", "rate_limit_error", "rate_limited", "too_many_requests", "requests", "tokens", "throttling",
})  # fmt: skip
_OVERLOADED_CODES = frozenset({
    "overloaded_error", "overloaded", "engine_overloaded", "service_unavailable", "unavailable", "capacity_exceeded", "server_overloaded",
})  # fmt: skip
_SERVER_CODES = frozenset({"server_error", "internal_server_error", "internal_error", "internalservererror", "api_error", "timeout"})
_CALLER_CODES = frozenset({"invalid_request_error", "badrequesterror", "invalid_request", "bad_request", "validation_error"})


def _any_of(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


_CONTEXT_WORDS = _any_of(
    "context (?:length|window|size)",
    "maximum (?:prompt|model|sequence|input) length",
    "(?:prompt|input|request) is too long",
    "too many tokens",
    "longer than the (?:maximum|model)",
    "reduce the length of the (?:messages|prompt|input)",
    "max_new_tokens. must be",
    "maximum number of tokens allowed",
    "model token limit",  # Moonshot
    "exceeds max length",  # Z.ai
    "range of input length",  # Alibaba
)
_FILTER_WORDS = _any_of(
    "content (?:management|filter|policy)",
    "content_filter",
    "(?:prompt|input|content|request) was (?:flagged|blocked|rejected)",
    "content exists risk",
    "usage policy",
    "safety (?:system|check)",
)
_QUOTA_WORDS = _any_of(
    "insufficient (?:balance|credit|fund|quota)",
    "credit balance",
    "out of credits?",
    "available credits",
    "spending limit",
    "key limit exceeded",
    "payment required",
)
_KEY_WORDS = _any_of("(?:incorrect|invalid|missing|wrong|no) api[ _-]?key", "api key (?:not valid|is invalid|not found)")


def kind_of(status: int, said: Said) -> FaultKind:
    if status in (401, 402, 403, 404, 410, 429) or status >= 500:
        return _kind_by_status(status, said)
    if status in (408, 409, 425, 499):  # the upstream gave up or collided with itself: another try may do
        return FaultKind.SERVER_ERROR
    if status == 498:  # Groq: flex tier capacity exceeded (console.groq.com/docs/errors)
        return FaultKind.OVERLOADED
    if not 400 <= status < 500 or status in (405, 407, 421):  # redirects, odd successes, a base_url that leads elsewhere
        return FaultKind.PROTOCOL
    if status == 451:
        return FaultKind.CONTENT_FILTERED
    by_words = kind_by_words(said)
    # With a 4xx status of the caller's kind, words may refine but not turn the blame to the upstream's health.
    return by_words if by_words in _REFINEMENTS else FaultKind.INVALID_REQUEST


_REFINEMENTS = (
    FaultKind.CONTEXT_LENGTH, FaultKind.CONTENT_FILTERED, FaultKind.QUOTA, FaultKind.AUTHENTICATION, FaultKind.UPSTREAM_NOT_FOUND,
)  # fmt: skip


def _kind_by_status(status: int, said: Said) -> FaultKind:
    if status == 402:
        return FaultKind.QUOTA
    if status in (404, 410):
        return FaultKind.UPSTREAM_NOT_FOUND
    if status == 429:
        return FaultKind.QUOTA if said.words & _QUOTA_CODES or _QUOTA_WORDS.search(said.message) else FaultKind.UPSTREAM_RATE_LIMITED
    if status == 403 and said.words & _FILTER_CODES:  # OpenRouter: the input was flagged by moderation
        return FaultKind.CONTENT_FILTERED
    if status == 403 and (said.words & _QUOTA_CODES or _QUOTA_WORDS.search(said.message)):
        return FaultKind.QUOTA
    if status in (401, 403):
        return FaultKind.AUTHENTICATION
    return FaultKind.OVERLOADED if status in (503, 529) else FaultKind.SERVER_ERROR


_KINDS_BY_CODE = (
    (_CONTEXT_CODES, FaultKind.CONTEXT_LENGTH),
    (_FILTER_CODES, FaultKind.CONTENT_FILTERED),
    (_QUOTA_CODES, FaultKind.QUOTA),
    (_AUTHENTICATION_CODES, FaultKind.AUTHENTICATION),
    (_MISSING_CODES, FaultKind.UPSTREAM_NOT_FOUND),
    (_RATE_CODES, FaultKind.UPSTREAM_RATE_LIMITED),
    (_OVERLOADED_CODES, FaultKind.OVERLOADED),
    (_SERVER_CODES, FaultKind.SERVER_ERROR),
)

_KINDS_BY_WORDS = (
    (_KEY_WORDS, FaultKind.AUTHENTICATION),
    (_QUOTA_WORDS, FaultKind.QUOTA),
    (_CONTEXT_WORDS, FaultKind.CONTEXT_LENGTH),
    (_FILTER_WORDS, FaultKind.CONTENT_FILTERED),
)


def kind_by_words(said: Said) -> FaultKind | None:
    """By type and code, then by message; None when neither tells. A server's own failure is not looked into for words."""
    for codes, kind in _KINDS_BY_CODE:
        if said.words & codes:
            return kind
    if said.status >= 500 or said.status == 429:
        return None
    for words, kind in _KINDS_BY_WORDS:
        if words.search(said.message):
            return kind
    return FaultKind.INVALID_REQUEST if said.words & _CALLER_CODES else None
