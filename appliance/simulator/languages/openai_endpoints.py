"""The endpoints of OpenAI that are no Responses: chat, legacy completions, embeddings, models."""

import re

from appliance.simulator.answer import Answer, whole
from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_answer import answer_chat
from appliance.simulator.language import Call, Endpoint, no_model
from appliance.simulator.languages.openai import OPENAI
from appliance.simulator.languages.openai_chat_request import parse_chat
from appliance.simulator.languages.openai_chat_wire import chat_to_wire
from appliance.simulator.languages.openai_completions import answer_completion
from appliance.simulator.languages.openai_embeddings import answer_embeddings
from appliance.simulator.languages.openai_models import find_model, model_list
from appliance.simulator.model_name import parse_model


def chat(call: Call) -> Answer | ApiError:
    request = parse_chat(call.fields)
    if isinstance(request, ApiError):
        return request
    answer = answer_chat(request.asked, call.model.bare, created=call.created, tokens_max=call.settings.answer_tokens_max)
    return chat_to_wire(answer, request, call.speed, call.headers)


def completions(call: Call) -> Answer | ApiError:
    return answer_completion(
        call.fields, call.model.bare, call.speed, call.headers, created=call.created, tokens_max=call.settings.answer_tokens_max
    )


def embeddings(call: Call) -> Answer | ApiError:
    return answer_embeddings(call.fields, call.model.bare, call.speed, call.headers)


def models(call: Call) -> Answer | ApiError:
    return whole(model_list(call.listed))


def model(call: Call) -> Answer | ApiError:
    """Ids may hold slashes; speed and fault of a name do not matter here."""
    asked = parse_model(call.parts["id"])
    found = find_model(asked.asked, asked.bare, call.listed, only_listed=call.settings.only_listed)
    return found if isinstance(found, ApiError) else whole(found)


ENDPOINTS = (
    Endpoint("POST", re.compile("/v1/chat/completions"), OPENAI, chat),
    Endpoint("POST", re.compile("/v1/completions"), OPENAI, completions),
    Endpoint("POST", re.compile("/v1/embeddings"), OPENAI, embeddings),
    Endpoint("GET", re.compile("/v1/models/?"), OPENAI, models, model=no_model),
    Endpoint("GET", re.compile("/v1/models/(?P<id>.+)"), OPENAI, model, model=no_model),
)
