"""The endpoints of the Gemini API, also below the paths by which Vertex AI serves the same methods."""

import re
from re import Match

from appliance.simulator.answer import Answer, whole
from appliance.simulator.api_error import ApiError
from appliance.simulator.chat_answer import answer_chat
from appliance.simulator.chat_request import prompt_tokens
from appliance.simulator.language import Call, Endpoint, Fields, in_path, no_model
from appliance.simulator.languages.gemini import GEMINI, GEMINI_ARRAY
from appliance.simulator.languages.gemini_embeddings import embed_batch, embed_one
from appliance.simulator.languages.gemini_errors import GeminiError, refused
from appliance.simulator.languages.gemini_models import find_model, model_page
from appliance.simulator.languages.gemini_proto import read_message
from appliance.simulator.languages.gemini_request import read_generate
from appliance.simulator.languages.gemini_wire import generated, generated_stream
from appliance.simulator.model_name import parse_model
from appliance.simulator.request import Request

VERTEX = r"(?P<vertex>/projects/[^/]+/locations/[^/]+/publishers/[^/]+)?"
BASE = rf"/(?P<version>v1(?:(?:alpha|beta)\d?)?){VERTEX}/(?:models|tunedModels)"


def method(name: str) -> re.Pattern[str]:
    """Names of models may hold slashes and colons; the method is behind the last one."""
    return re.compile(rf"{BASE}/(?P<model>.+):{name}")


def generate(call: Call) -> Answer | ApiError:
    read = read_generate(call.fields, call.model.bare, vertex=on_vertex(call))
    if isinstance(read, GeminiError):
        return read
    answer = answer_chat(read.asked, call.model.bare, created=call.created, tokens_max=call.settings.answer_tokens_max)
    return generated(answer, read, call.speed, call.headers)


def stream(call: Call) -> Answer | ApiError:
    read = read_generate(call.fields, call.model.bare, vertex=on_vertex(call))
    if isinstance(read, GeminiError):
        return read
    answer = answer_chat(read.asked, call.model.bare, created=call.created, tokens_max=call.settings.answer_tokens_max)
    return generated_stream(answer, read, call.speed, call.headers, events=wants_events(call.request))


def count(call: Call) -> Answer | ApiError:
    """Of bare contents, or of a whole request with its instruction and tools, which Vertex AI takes without a wrapping."""
    vertex = on_vertex(call)
    fields = read_message("CountTokensRequest", call.fields, vertex=vertex)
    if isinstance(fields, GeminiError):
        return fields
    inner = fields if vertex else fields.get("generateContentRequest")
    if not vertex and inner is not None:
        if "contents" in fields:
            return refused(400, "* CountTokensRequest: only one of contents and generate_content_request may be set.\n")
        if not inner.get("model", "").startswith("models/"):
            return refused(400, "* CountTokensRequest.generate_content_request.model: unexpected model name format\n")
    asked = inner if inner is not None else {"contents": fields.get("contents") or []}
    read = read_generate(asked, call.model.bare, vertex=vertex)
    if isinstance(read, GeminiError):
        return read
    tokens = prompt_tokens(read.asked)
    told = {"totalTokens": tokens, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}
    return whole(told, headers=call.headers, due_s=call.speed.first_token_s)


def on_vertex(call: Call) -> bool:
    return bool(call.parts.get("vertex"))


def embed(call: Call) -> Answer | ApiError:
    return embed_one(call.fields, call.model.bare, call.speed, call.headers)


def embed_many(call: Call) -> Answer | ApiError:
    return embed_batch(call.fields, call.model.bare, call.speed, call.headers)


def models(call: Call) -> Answer | ApiError:
    page = model_page(call.listed, call.request.parameter("pageSize"), call.request.parameter("pageToken"))
    return page if isinstance(page, GeminiError) else whole(page)


def model(call: Call) -> Answer | ApiError:
    asked = parse_model(call.parts["id"])
    found = find_model(asked.asked, asked.bare, call.listed, call.parts["version"], only_listed=call.settings.only_listed)
    return found if isinstance(found, GeminiError) else whole(found)


def wants_events(request: Request) -> bool:
    return request.parameter("alt") == "sse"


def wants_array(request: Request) -> bool:
    return not wants_events(request)


def always(request: Request, match: Match[str], fields: Fields) -> bool:
    del request, match, fields
    return True


def never(request: Request, match: Match[str], fields: Fields) -> bool:
    del request, match, fields
    return False


def is_ours(request: Request) -> bool:
    """/v1/models is OpenAI's too: Google's callers are told by how they send their key."""
    return not request.path.startswith("/v1/models") or bool(request.header(b"x-goog-api-key") or request.parameter("key"))


ENDPOINTS = (
    Endpoint("POST", method("generateContent"), GEMINI, generate, model=in_path, streams=never),
    Endpoint("POST", method("streamGenerateContent"), GEMINI, stream, model=in_path, streams=always, when=wants_events),
    Endpoint("POST", method("streamGenerateContent"), GEMINI_ARRAY, stream, model=in_path, streams=always, when=wants_array),
    Endpoint("POST", method("countTokens"), GEMINI, count, model=in_path, streams=never),
    Endpoint("POST", method("embedContent"), GEMINI, embed, model=in_path, streams=never),
    Endpoint("POST", method("batchEmbedContents"), GEMINI, embed_many, model=in_path, streams=never),
    Endpoint("GET", re.compile(f"{BASE}/?"), GEMINI, models, model=no_model, when=is_ours),
    Endpoint("GET", re.compile(f"{BASE}/(?P<id>.+)"), GEMINI, model, model=no_model, when=is_ours),
)
