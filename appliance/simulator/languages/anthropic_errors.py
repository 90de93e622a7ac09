"""Errors as api.anthropic.com words them. Pure.

https://docs.claude.com/en/api/errors lists status and type; texts follow what the service answered in public reports.
"""

from collections.abc import Mapping

from appliance.simulator.api_error import BAD_JSON, TOO_LARGE, ApiError
from appliance.simulator.language import Fields, Named

TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
MESSAGES: Mapping[int, str] = {
    400: "temperature: range: 0..1",
    401: "invalid x-api-key",
    402: "There is an issue with your billing or payment information.",
    403: "Your API key does not have permission to use the specified resource.",
    404: "model: sim",
    408: "Request timed out waiting for the request body.",
    413: "Request exceeds the maximum size",
    429: "This request would exceed your organization's rate limit of 50 requests per minute. Please try again in {retry}.",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service unavailable",
    504: "Gateway timeout",
    529: "Overloaded",
}
NAMED: Mapping[Named, ApiError] = {
    "context_length": ApiError(400, "prompt is too long: 208310 tokens > 200000 maximum"),
    "content_filter": ApiError(400, "Output blocked by content filtering policy"),
    "quota": ApiError(
        400,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
    ),
}
NO_KEY = ApiError(401, "x-api-key header is required")
WRONG_KEY = ApiError(401, "invalid x-api-key")
# What endpoints in general find, in this service's words.
WORDED: Mapping[ApiError, ApiError] = {
    BAD_JSON: ApiError(400, "The request body is not valid JSON: expected value: line 1 column 1 (char 0)"),
    TOO_LARGE: ApiError(413, MESSAGES[413]),
}
UNSET_TYPE = ApiError(400, "").type


def type_of(error: ApiError) -> str:
    """The error's own type where it has another than the usual one, else its status's."""
    if error.type not in (UNSET_TYPE, "server_error"):
        return error.type
    return TYPES.get(error.status, "api_error" if error.status >= 500 else UNSET_TYPE)


def error_for(status: int) -> ApiError:
    return ApiError(status, MESSAGES.get(status, f"Simulated status {status}."))


def envelope(error: ApiError, request_id: str) -> Fields:
    error = WORDED.get(error, error)
    return {"type": "error", "error": {"type": type_of(error), "message": error.message}, "request_id": request_id or None}


def invalid(message: str) -> ApiError:
    return ApiError(400, message)
