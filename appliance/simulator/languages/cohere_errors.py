"""Errors as the Cohere API words them: an id and a message. Pure. Source: docs.cohere.com/reference/errors."""

from collections.abc import Mapping

from appliance.simulator.api_error import ApiError

SEE = "For proper usage, please refer to https://docs.cohere.com/reference"

MESSAGES: Mapping[int, str] = {
    400: "invalid request: simulated bad request.",
    401: "invalid api token",
    402: "Please add or update your payment method at https://dashboard.cohere.com/billing?tab=payment to continue",
    403: "your account does not have access to this model",
    404: "model 'sim' not found, make sure the correct model ID was used and that you have access to the model.",
    408: "request timed out",
    413: "request body too large",
    422: "unprocessable entity: simulated failed validation.",
    429: "Please wait and try again later",
    498: "invalid api token",
    499: "request cancelled",
    500: "internal server error, this has been reported to our developers.",
    501: "not implemented",
    503: "service unavailable, please try again later.",
    504: "gateway timeout, please try again later.",
}


def error_for(status: int) -> ApiError:
    return ApiError(status, MESSAGES.get(status, f"simulated status {status}"))


def invalid(message: str) -> ApiError:
    return ApiError(400, f"invalid request: {message}")


def unknown_field(name: str, page: str) -> ApiError:
    return ApiError(422, f"unknown field: parameter '{name}' is not a valid field. {SEE}/{page}")


def wrong_type(name: str, expected: str) -> ApiError:
    return ApiError(422, f"invalid type: parameter '{name}' is of the wrong type, it should be {expected}. {SEE}")


NO_KEY = ApiError(401, "no api key supplied")
WRONG_KEY = ApiError(401, "invalid api token")
CONTEXT_LENGTH = ApiError(
    400,
    "too many tokens: total number of tokens in the prompt cannot exceed 8192 - received 8227. Try using a shorter prompt, or enabling "
    "prompt truncating. See https://docs.cohere.com/reference/chat for more details.",
)
CONTENT_FILTER = ApiError(400, "invalid request: the content was blocked by our safety filter, please adjust your prompt and try again.")
QUOTA = ApiError(
    429,
    "You are using a Trial key, which is limited to 1000 API calls / month. You can continue to use the Trial key for free or upgrade to a "
    "Production key with higher rate limits at 'https://dashboard.cohere.com/api-keys'. Contact us on 'https://discord.gg/XW44jPfYJu' or "
    "email us at support@cohere.com with any questions",
)
