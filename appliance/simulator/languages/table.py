"""Who answers which request: the endpoints of every language, the first that fits. Pure."""

from re import Match
from typing import NamedTuple

from appliance.simulator.language import Endpoint, Language
from appliance.simulator.languages import (
    anthropic_endpoints,
    bedrock_endpoints,
    cohere_endpoints,
    gemini_endpoints,
    openai_endpoints,
    openai_media_endpoints,
    responses_endpoints,
)
from appliance.simulator.languages.openai import OPENAI
from appliance.simulator.request import Request

ENDPOINTS: tuple[Endpoint, ...] = (
    *anthropic_endpoints.ENDPOINTS,
    *gemini_endpoints.ENDPOINTS,
    *cohere_endpoints.ENDPOINTS,
    *bedrock_endpoints.ENDPOINTS,
    *openai_endpoints.ENDPOINTS,
    *openai_media_endpoints.ENDPOINTS,
    *responses_endpoints.ENDPOINTS,
)


class Found(NamedTuple):
    endpoint: Endpoint
    match: Match[str]


def find_endpoint(request: Request) -> Found | None:
    for endpoint in ENDPOINTS:
        if endpoint.method == request.method:
            match = endpoint.path.fullmatch(request.path)
            if match is not None and endpoint.when(request):
                return Found(endpoint, match)
    return None


def language_of(request: Request) -> Language:
    """Whose words a request is refused in: the endpoint's of that path, whatever the method, else OpenAI's."""
    fitting = (e for e in ENDPOINTS if e.path.fullmatch(request.path) and e.when(request))
    found = find_endpoint(request)
    return found.endpoint.language if found is not None else next((e.language for e in fitting), OPENAI)


def path_known(path: str) -> bool:
    """Whether the path is served to some method."""
    return any(e.path.fullmatch(path) for e in ENDPOINTS)
