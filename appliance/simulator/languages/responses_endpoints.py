"""The endpoints of OpenAI's Responses: a response, and its count of input tokens."""

import re

from appliance.simulator.answer import Answer, whole
from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_answer import answer_chat
from appliance.simulator.chat_request import prompt_tokens
from appliance.simulator.language import Call, Endpoint
from appliance.simulator.languages.responses import RESPONSES
from appliance.simulator.languages.responses_request import parse_responses
from appliance.simulator.languages.responses_stream import responses_to_wire
from appliance.simulator.languages.responses_wire import item_shape, make


def responses(call: Call) -> Answer | ApiError:
    """A response is kept as soon as it is planned, even if a fault keeps it from its client, who then does not know its id."""
    request = parse_responses(call.fields, call.responses)
    if isinstance(request, ApiError):
        return request
    answer = answer_chat(request.asked, call.model.bare, created=call.created, tokens_max=call.settings.answer_tokens_max)
    made = make(answer, request)
    if request.store:
        call.responses.keep(made.id, request.before, request.items, tuple(item_shape(item, made) for item in made.items))
    return responses_to_wire(made, call.speed, call.headers)


def input_tokens(call: Call) -> Answer | ApiError:
    request = parse_responses(call.fields, call.responses, counting=True)
    if isinstance(request, ApiError):
        return request
    return whole({"object": "response.input_tokens", "input_tokens": prompt_tokens(request.asked)}, headers=call.headers)


ENDPOINTS = (
    Endpoint("POST", re.compile("/v1/responses"), RESPONSES, responses),
    Endpoint("POST", re.compile("/v1/responses/input_tokens"), RESPONSES, input_tokens),
)
