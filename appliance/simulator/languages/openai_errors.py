"""Errors as api.openai.com words them. Pure.

Texts and codes follow what the service answered in public reports; where a status has no OpenAI wording (402, 408, 529) the usual one of
the field stands in.
"""

from collections.abc import Mapping

from appliance.simulator.api_error import ApiError
from appliance.simulator.language import Fields, Named

BY_STATUS: Mapping[int, ApiError] = {
    e.status: e
    for e in (
        ApiError(400, "Invalid value for 'temperature': simulated bad request.", param="temperature", code="invalid_value"),
        ApiError(
            401,
            "Incorrect API key provided: sk-si***ated. You can find your API key at https://platform.openai.com/account/api-keys.",
            code="invalid_api_key",
        ),
        ApiError(402, "Insufficient credits. Add more on the billing page.", "insufficient_credits", code="insufficient_credits"),
        ApiError(403, "Your project does not have access to this model.", code="model_not_found"),
        ApiError(404, "The model does not exist or you do not have access to it.", code="model_not_found"),
        ApiError(408, "Request timed out waiting for the request body.", "timeout", code="request_timeout"),
        ApiError(409, "The resource was changed by another request.", code="conflict"),
        ApiError(413, "Request too large.", code="request_too_large"),
        ApiError(422, "Unprocessable entity: 'messages' failed validation.", param="messages", code="unprocessable_entity"),
        ApiError(
            429,
            "Rate limit reached for requests per min (RPM): Limit 500, Used 500, Requested 1. Please try again in {retry}. "
            "Visit https://platform.openai.com/account/rate-limits to learn more.",
            "requests",
            code="rate_limit_exceeded",
        ),
        ApiError(500, "The server had an error while processing your request. Sorry about that!", "server_error"),
        ApiError(502, "Bad gateway.", "server_error", code="bad_gateway"),
        ApiError(503, "That model is currently overloaded with other requests. Please try again.", "server_error", code="overloaded"),
        ApiError(504, "The request timed out on our side.", "server_error", code="gateway_timeout"),
        ApiError(529, "Overloaded", "overloaded_error", code="overloaded_error"),
    )
}

CONTEXT_LENGTH = ApiError(
    400,
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 8227 tokens. "
    "Please reduce the length of the messages.",
    param="messages",
    code="context_length_exceeded",
)
# Azure's shape, the one that content filters are known by.
CONTENT_FILTER = ApiError(
    400,
    "The response was filtered due to the prompt triggering the content management policy. Please modify your prompt and retry.",
    "invalid_request_error",
    param="prompt",
    code="content_filter",
)
QUOTA = ApiError(
    429,
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: "
    "https://platform.openai.com/docs/guides/error-codes/api-errors.",
    "insufficient_quota",
    code="insufficient_quota",
)

NAMED: Mapping[Named, ApiError] = {"context_length": CONTEXT_LENGTH, "content_filter": CONTENT_FILTER, "quota": QUOTA}


def error_for(status: int) -> ApiError:
    return BY_STATUS.get(status) or ApiError(
        status, f"Simulated status {status}.", "server_error" if status >= 500 else "invalid_request_error", code="simulated"
    )


def envelope(error: ApiError) -> Fields:
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
