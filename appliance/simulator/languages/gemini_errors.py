"""Errors as the Gemini API words them: google.rpc.Status in JSON, with its details. Pure.

Texts follow what the service answered in public reports; source of the shapes: cloud.google.com/apis/design/errors.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from appliance.simulator.api_error import ApiError

RPC = "type.googleapis.com/google.rpc."
HELP = "https://ai.google.dev/gemini-api/docs/rate-limits"

STATUSES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "CANCELLED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
MESSAGES: Mapping[int, str] = {
    400: "Request contains an invalid argument.",
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication "
    "credential.",
    403: "The caller does not have permission",
    404: "Requested entity was not found.",
    413: "Request payload size exceeds the limit: 20971520 bytes.",
    429: "Resource has been exhausted (e.g. check quota).",
    500: "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting",
    503: "The model is overloaded. Please try again later.",
    504: "Deadline expired before operation could complete.",
}


@attrs.frozen
class Violation:
    """One fault of a request; `field` is its path in protobuf's spelling, "" for the body itself."""

    field: str
    description: str


@attrs.frozen
class GeminiError(ApiError):
    """One refusal. `type` is the name that google.rpc.Code gives it, `details` as they stand in the body. It has no Retry-After."""

    details: tuple[Mapping[str, Any], ...] = ()
    retry_in_body: bool = True


def refused(status: int, message: str, details: tuple[Mapping[str, Any], ...] = (), *, reason: str = "") -> GeminiError:
    return GeminiError(status, message, reason or reason_of(status), details=details)


def of_violations(violations: Iterable[Violation]) -> GeminiError:
    """What the parser answers: every fault, in the message and in a BadRequest."""
    found = [{"field": v.field, "description": v.description} if v.field else {"description": v.description} for v in violations]
    return refused(400, "\n".join(v["description"] for v in found), ({"@type": RPC + "BadRequest", "fieldViolations": found},))


def envelope(error: ApiError) -> dict[str, Any]:
    """Of an error that another module worded, too. A blocked prompt is no error here, but an answer without candidates."""
    if error.status == 200:
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": BLOCKED_USAGE, "modelVersion": "sim"}
    details = error.details if isinstance(error, GeminiError) else ()
    if error.retry_s is not None:
        details += ({"@type": RPC + "RetryInfo", "retryDelay": f"{error.retry_s:g}s"},)
    known = error.type if error.type.isupper() else reason_of(error.status)
    shown: dict[str, Any] = {"code": error.status, "message": error.message, "status": known}
    return {"error": {**shown, "details": list(details)} if details else shown}


def reason_of(status: int) -> str:
    return STATUSES.get(status) or ("INTERNAL" if status >= 500 else "FAILED_PRECONDITION")


def error_for(status: int) -> GeminiError:
    details: tuple[Mapping[str, Any], ...] = ()
    if status == 401:
        details = ({"@type": RPC + "ErrorInfo", "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED", "domain": "googleapis.com"},)
    elif status == 429:
        details = quota_details("PerMinute")
    return refused(status, MESSAGES.get(status, f"Simulated status {status}."), details)


def quota_details(period: str) -> tuple[Mapping[str, Any], ...]:
    """What a 429 says of itself: which quota, and where to read on."""
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
        "quotaId": f"GenerateRequests{period}PerProjectPerModel",
        "quotaDimensions": {"location": "global", "model": "sim"},
        "quotaValue": "500",
    }
    return (
        {"@type": RPC + "QuotaFailure", "violations": [violation]},
        {"@type": RPC + "Help", "links": [{"description": "Learn more about Gemini API quotas", "url": HELP}]},
    )


def bad(message: str) -> GeminiError:
    return refused(400, message)


def bad_field(path: str, message: str) -> GeminiError:
    """How the service words a fault of what a field says, where its parser found none."""
    return bad(f"* GenerateContentRequest.{path}: {message}\n")


NO_KEY = refused(
    403,
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer "
    "identity to call this API.",
)
WRONG_KEY = refused(
    400,
    "API key not valid. Please pass a valid API key.",
    (
        {
            "@type": RPC + "ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        },
        {
            "@type": RPC + "LocalizedMessage",
            "locale": "en-US",
            "message": "API key not valid. Please pass a valid API key.",
        },
    ),
)
CONTEXT_LENGTH = bad("The input token count (8227) exceeds the maximum number of tokens allowed (8192).")
BLOCKED = GeminiError(200, "The prompt was blocked.")
BLOCKED_USAGE = {"promptTokenCount": 8, "totalTokenCount": 8, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}]}
QUOTA = refused(
    429,
    f"You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: {HELP}.",
    quota_details("PerDay"),
)


def unknown_model(model: str, version: str, method: str) -> GeminiError:
    return refused(
        404,
        f"models/{model} is not found for API version {version}, or is not supported for {method}. Call ListModels to see the list of "
        "available models and their supported methods.",
    )
