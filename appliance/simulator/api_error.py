"""Errors: a value with a status and the fields that envelopes show, and the errors that any endpoint may find, in OpenAI's words. Pure.

A language's envelope takes what it has a place for: most show the message as it is and derive the type from the status.
"""

import attrs


@attrs.frozen
class ApiError:
    """One refusal. `type`, `param` and `code` are fields of OpenAI's envelope; None is JSON null. A language with other
    names for its errors puts them in `type`.

    Attributes:
        retry_s: how long it asks to wait; told by headers, or by the envelope where `retry_in_body`.
        status: 200 where the service tells it in an answer, which in a stream is one event (Gemini's blocked prompts).
    """

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    retry_s: float | None = None
    retry_in_body: bool = False


def missing(parameter: str) -> ApiError:
    return ApiError(400, f"Missing required parameter: '{parameter}'.", param=parameter, code="missing_required_parameter")


def wrong_type(parameter: str, expected: str) -> ApiError:
    return ApiError(400, f"Invalid type for '{parameter}': expected {expected}.", param=parameter, code="invalid_type")


def bad_value(parameter: str, message: str) -> ApiError:
    return ApiError(400, message, param=parameter, code="invalid_value")


def unknown_model(model: str) -> ApiError:
    return ApiError(404, f"The model `{model}` does not exist or you do not have access to it.", code="model_not_found")


def unknown_url(method: str, path: str) -> ApiError:
    return ApiError(404, f"Invalid URL ({method} {path})")


def wrong_method(method: str, path: str) -> ApiError:
    return ApiError(
        405,
        f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
        code="method_not_supported",
    )


BAD_JSON = ApiError(
    400,
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. "
    "The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
)
NO_KEY = ApiError(
    401,
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY).",
)
TOO_LARGE = ApiError(413, "Request too large.", code="request_too_large")


def wrong_key(key: str) -> ApiError:
    """The key is shown as the service shows it: its first five and last four characters, and never more than half of it."""
    shown = f"{key[:5]}***{key[-4:]}" if len(key) >= 18 else "***"
    return ApiError(
        401,
        f"Incorrect API key provided: {shown}. You can find your API key at https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    )
