"""The endpoints of the Cohere API."""

import re
from typing import Any

from appliance.simulator.answer import Answer, whole
from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_answer import answer_chat
from appliance.simulator.language import Call, Endpoint, no_model
from appliance.simulator.languages.cohere import COHERE
from appliance.simulator.languages.cohere_embed import embed
from appliance.simulator.languages.cohere_request import read_chat
from appliance.simulator.languages.cohere_rerank import rerank
from appliance.simulator.languages.cohere_wire import chat_to_wire
from appliance.simulator.request import Request

CONTEXT_TOKENS = 256_000
OWN_PARAMETERS = ("endpoint", "page_size", "page_token", "default_only")


def chat(call: Call) -> Answer | ApiError:
    read = read_chat(call.fields, call.model.bare)
    if isinstance(read, ApiError):
        return read
    answer = answer_chat(read.asked, call.model.bare, created=call.created, tokens_max=call.settings.answer_tokens_max)
    return chat_to_wire(answer, read, call.speed, call.headers)


def embeddings(call: Call) -> Answer | ApiError:
    return embed(call.fields, call.model.bare, call.speed, call.headers)


def ranking(call: Call) -> Answer | ApiError:
    return rerank(call.fields, call.model.bare, call.speed, call.headers)


def models(call: Call) -> Answer | ApiError:
    return whole({"models": [model_entry(model) for model in call.listed]})


def model_entry(model: str) -> dict[str, Any]:
    return {
        "name": model,
        "is_deprecated": False,
        "endpoints": ["embed"] if "embed" in model else ["chat"],
        "finetuned": False,
        "context_length": CONTEXT_TOKENS,
        "tokenizer_url": "",
        "default_endpoints": [],
    }


def is_ours(request: Request) -> bool:
    """/v1/models is OpenAI's too: Cohere's callers are told by the name that its SDKs send, or by a parameter that only Cohere has."""
    return bool(request.header(b"x-client-name") or request.header(b"x-fern-language")) or any(
        request.parameter(name) for name in OWN_PARAMETERS
    )


ENDPOINTS = (
    Endpoint("POST", re.compile("/v2/chat"), COHERE, chat),
    Endpoint("POST", re.compile("/v2/embed"), COHERE, embeddings),
    Endpoint("POST", re.compile("/v2/rerank"), COHERE, ranking),
    Endpoint("GET", re.compile("/v1/models/?"), COHERE, models, model=no_model, when=is_ours),
)
