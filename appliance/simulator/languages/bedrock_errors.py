"""Errors as Amazon Bedrock words them: an exception's name, told in a header, and a message. Pure.

Sources: the errors of the Converse API reference, docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html, and
texts from public reports.
"""

from collections.abc import Mapping
from typing import Any

from appliance.simulator.api_error import ApiError

NAMES: Mapping[int, str] = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    405: "UnknownOperationException",
    408: "ModelTimeoutException",
    413: "RequestEntityTooLargeException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
MESSAGES: Mapping[int, str] = {
    400: "The provided request is not valid.",
    401: "The security token included in the request is invalid.",
    403: "You don't have access to the model with the specified model ID.",
    404: "Could not resolve the foundation model from the provided model identifier.",
    408: "Model has timed out in processing the request. Try your request again.",
    413: "Request size exceeds the maximum.",
    424: "The model returned the following errors: an error occurred while processing the request.",
    429: "Too many requests, please wait before trying again.",
    500: "The system encountered an unexpected error during processing. Try your request again.",
    503: "Bedrock is unable to process your request.",
}
# The errors that a stream may end with, by status; every other status is an internal one there.
IN_STREAM: Mapping[int, str] = {
    400: "validationException",
    424: "modelStreamErrorException",
    429: "throttlingException",
    503: "serviceUnavailableException",
}
SENT = ((str, "STRING_VALUE"), (bool, "TRUE_VALUE"), (int, "NUMBER_VALUE"), (float, "NUMBER_VALUE"), (list, "START_ARRAY"))


def name_of(error: ApiError) -> str:
    """Of an error that another module worded, too."""
    if error.type.endswith(("Exception", "Token")):
        return error.type
    return NAMES.get(error.status) or ("InternalServerException" if error.status >= 500 else "ValidationException")


def error_for(status: int) -> ApiError:
    message = MESSAGES.get(status, f"Simulated status {status}.")
    return ApiError(status, message, NAMES.get(status, "InternalServerException" if status >= 500 else "ValidationException"))


def invalid(message: str) -> ApiError:
    return ApiError(400, message, "ValidationException")


def model_refuses(message: str) -> ApiError:
    """How the service hands on what the model's own vendor objected to."""
    return invalid(f"The model returned the following errors: {message}")


def unreadable(value: Any, path: str) -> ApiError:
    sent = next((name for kind, name in SENT if isinstance(value, kind)), "START_OBJECT")
    return ApiError(400, f"{sent} can not be converted to the type of '{path}'", "SerializationException")


NO_KEY = ApiError(403, "Missing Authentication Token", "MissingAuthenticationTokenException")
WRONG_KEY = ApiError(403, "Authentication failed: Please make sure your API Key is valid.", "AccessDeniedException")
CONTEXT_LENGTH = invalid("Input is too long for requested model.")
CONTENT_FILTER = model_refuses("Output blocked by content filtering policy")
QUOTA = ApiError(429, "Too many tokens per day, please wait before trying again.", "ThrottlingException")


def bad_signature(problem: str) -> ApiError:
    if problem.startswith("The request signature"):
        return ApiError(403, problem, "InvalidSignatureException")
    return ApiError(403, problem, "IncompleteSignatureException")
