"""The endpoints of Amazon Bedrock's runtime that this simulator has: Converse, its stream, and the counting of its tokens."""

import re
from re import Match

from appliance.simulator.answer import Answer, whole
from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_answer import answer_chat
from appliance.simulator.chat_request import prompt_tokens
from appliance.simulator.language import Call, Endpoint, Fields, in_path
from appliance.simulator.languages.aws_signature import ALGORITHM, signature_problem
from appliance.simulator.languages.bedrock import BEDROCK
from appliance.simulator.languages.bedrock_errors import bad_signature, invalid
from appliance.simulator.languages.bedrock_request import Converse, read_converse
from appliance.simulator.languages.bedrock_shapes import shape_error
from appliance.simulator.languages.bedrock_wire import conversed, conversed_stream
from appliance.simulator.request import Request


def operation(name: str) -> re.Pattern[str]:
    """Ids may be ARNs, which hold slashes and colons."""
    return re.compile(rf"/model/(?P<model>.+)/{name}")


def converse(call: Call) -> Answer | ApiError:
    read = read_signed(call)
    if isinstance(read, ApiError):
        return read
    answer = answer_chat(read.asked, call.model.bare, created=call.created, tokens_max=call.settings.answer_tokens_max)
    return conversed(answer, read, call.speed, call.headers)


def converse_stream(call: Call) -> Answer | ApiError:
    read = read_signed(call)
    if isinstance(read, ApiError):
        return read
    answer = answer_chat(read.asked, call.model.bare, created=call.created, tokens_max=call.settings.answer_tokens_max)
    return conversed_stream(answer, read, call.speed, (*call.headers, (b"x-amzn-bedrock-content-type", b"application/json")))


def read_signed(call: Call) -> Converse | ApiError:
    """The form of a signature is looked at even where anybody may come."""
    signed = call.request.header(b"authorization").startswith(ALGORITHM)
    problem = signature_problem(call.request, "") if signed else None
    return read_converse(call.fields, call.model.bare) if problem is None else bad_signature(problem)


def count_tokens(call: Call) -> Answer | ApiError:
    """Of a Converse request; an InvokeModel one is in its vendor's language, which nobody here reads."""
    error = shape_error("CountTokensRequest", call.fields)
    if error is not None:
        return error
    inner = call.fields["input"].get("converse")
    if inner is None:
        return invalid("The provided model doesn't support counting tokens of an InvokeModel request.")
    read = read_converse(inner, call.model.bare)
    if isinstance(read, ApiError):
        return read
    return whole({"inputTokens": prompt_tokens(read.asked)}, headers=call.headers, due_s=call.speed.first_token_s)


def always(request: Request, match: Match[str], fields: Fields) -> bool:
    del request, match, fields
    return True


def never(request: Request, match: Match[str], fields: Fields) -> bool:
    del request, match, fields
    return False


ENDPOINTS = (
    Endpoint("POST", operation("converse"), BEDROCK, converse, model=in_path, streams=never),
    Endpoint("POST", operation("converse-stream"), BEDROCK, converse_stream, model=in_path, streams=always),
    Endpoint("POST", operation("count-tokens"), BEDROCK, count_tokens, model=in_path, streams=never),
)
