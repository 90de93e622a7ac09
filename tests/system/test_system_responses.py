"""Callers of OpenAI's Responses API, with the official SDK, reach providers of other languages; chats reach Gemini and Cohere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import openai
import pytest
from rig import KEY, Gateway, Simulator, running

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="the provider recordings (../shared/recordings) are not on this machine"
)

BACKEND = """
[backends.{name}]
provider = "{name}"
base_url = "{url}"
api_key = "test-key"
[[routes]]
name = "{name}"
models = ["rec/{folder}/*"]
targets = [ {{ backend = "{name}" }} ]
"""
CONFIG = """
[backends.sim]
provider = "custom"
base_url = "{url}/v1"
[[routes]]
name = "all"
retry = {{ attempts = 1 }}
targets = [ {{ backend = "sim" }} ]
"""
VENDORS = {"anthropic": "anthropic", "gemini": "google", "cohere": "cohere"}
WEATHER: Any = {
    "type": "function", "name": "get_weather", "description": "Weather of a city", "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}  # fmt: skip
PATCH: Any = {"type": "custom", "name": "apply_patch", "description": "Applies a patch"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("responses")
    sim = Simulator(folder, extra=("--recordings", str(RECORDINGS)) if RECORDINGS.is_dir() else ())
    with running(sim):
        vendors = "".join(BACKEND.format(name=name, folder=kept, url=sim.url) for name, kept in VENDORS.items())
        one = Gateway(folder, vendors + CONFIG.format(url=sim.url))
        with running(one):
            yield one


@pytest.fixture
def sdk(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0, timeout=30)


def test_a_response_is_made_of_a_chat_completion(sdk: openai.OpenAI) -> None:
    said = sdk.responses.create(model="sim", instructions="Be brief", input="[[say=Good morning]]")
    assert said.output_text == "Good morning"
    assert said.status == "completed"
    assert said.usage is not None
    assert said.usage.output_tokens == 2


def test_a_streamed_response_goes_through_its_whole_life(sdk: openai.OpenAI, gateway: Gateway) -> None:
    with sdk.responses.stream(model="sim", input="[[say=Good morning to you]]", extra_headers={"x-request-id": "life"}) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.type for event in events if "delta" not in event.type] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == "Good morning to you"
    assert gateway.record("life")["usage"]["output_tokens"] == 4


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_goes_back(sdk: openai.OpenAI, stream: bool) -> None:
    ask: dict[str, Any] = {"model": "sim", "input": [{"role": "user", "content": "call get_weather"}], "tools": [WEATHER]}
    if stream:
        with sdk.responses.stream(**ask, tool_choice="required") as events:
            said = events.get_final_response()
    else:
        said = sdk.responses.create(**ask, tool_choice="required")
    call = said.output[-1]
    assert call.type == "function_call"
    assert call.name == "get_weather"
    assert json.loads(call.arguments)["city"]
    turns = [*ask["input"], *[one.model_dump(exclude_none=True) for one in said.output]]
    turns.append({"type": "function_call_output", "call_id": call.call_id, "output": "rain"})
    assert sdk.responses.create(model="sim", input=turns, tools=[WEATHER]).output_text.startswith("The tool answered: rain")


@pytest.mark.parametrize("stream", [False, True])
def test_a_free_text_tool_reaches_a_backend_of_plain_functions_and_comes_back(sdk: openai.OpenAI, stream: bool) -> None:
    ask: dict[str, Any] = {"model": "sim", "input": "call apply_patch", "tools": [PATCH], "tool_choice": "required"}
    if stream:
        with sdk.responses.stream(**ask) as events:
            said = events.get_final_response()
    else:
        said = sdk.responses.create(**ask)
    call = said.output[-1]
    assert call.type == "custom_tool_call"
    assert call.name == "apply_patch"
    assert call.input
    assert not call.input.startswith("{")


def test_refusals_are_the_sdks_own_exceptions(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError):
        sdk.responses.create(model="sim+429", input="x")
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.responses.create(model="sim", input="x", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"
    with pytest.raises(openai.BadRequestError):
        sdk.responses.create(model="sim", input=5)  # type: ignore[arg-type]


def test_a_broken_stream_ends_as_failed(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError):
        list(sdk.responses.create(model="sim+cut=5", input="[[tokens=40]]", stream=True))


@needs_recordings
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["rec/google/google-text", "rec/cohere/cohere-text", "rec/anthropic/anthropic-text"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1beta/models/", "/v1/models/"])
def test_every_caller_reaches_every_recorded_vendor(url: str, gateway: Gateway, path: str, model: str, stream: bool) -> None:
    body: dict[str, Any] = {"model": model, "stream": stream, "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
    if path == "/v1/responses":
        body = {"model": model, "stream": stream, "input": "Hi"}
    if path.endswith("/models/"):
        path += quote(model, safe="") + (":streamGenerateContent?alt=sse" if stream else ":generateContent")
        body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    name = f"{model.replace('/', '.')}-{''.join(filter(str.isalnum, path))[:30]}-{stream}"
    said = httpx.post(url + path, json=body, headers={"authorization": f"Bearer {KEY}", "x-request-id": name}, timeout=30)
    assert said.status_code == 200, said.text
    assert ("event-stream" in said.headers["content-type"]) == stream
    record = gateway.record(name)
    assert record["error_type"] == ""
    assert record["usage"]["output_tokens"] > 0
    assert (record["ttft_ms"] is not None) == stream


def gemini(url: str, path: str, text: str, **fields: Any) -> httpx.Response:
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}
    return httpx.post(f"{url}/v1beta/models/{path}", json=body, headers={"x-goog-api-key": KEY}, timeout=30)


def test_a_gemini_client_is_answered_whole_in_events_and_in_an_array(url: str) -> None:
    whole = gemini(url, "sim:generateContent", "[[say=Good morning to you]]", generationConfig={"maxOutputTokens": 50}).json()
    assert whole["candidates"][0]["content"]["parts"] == [{"text": "Good morning to you"}]
    assert whole["candidates"][0]["finishReason"] == "STOP"
    assert whole["usageMetadata"]["candidatesTokenCount"] == 4
    events = gemini(url, "sim:streamGenerateContent?alt=sse", "[[say=Good morning to you]]")
    chunks = [json.loads(line.removeprefix("data: ")) for line in events.text.split("\n\n") if line.strip()]
    array = gemini(url, "sim:streamGenerateContent", "[[say=Good morning to you]]")
    assert array.headers["content-type"].startswith("application/json")
    for said in (chunks, array.json()):
        text = "".join(part.get("text", "") for one in said for part in one["candidates"][0].get("content", {}).get("parts", []))
        assert text == "Good morning to you"
        assert said[-1]["usageMetadata"]["candidatesTokenCount"] == 4


def test_a_gemini_client_counts_lists_and_is_refused_in_its_own_words(url: str) -> None:
    counted = gemini(url, "sim:countTokens", "How many tokens are in this sentence?")
    assert counted.headers["x-gateway-estimated"] == "true"
    assert counted.json()["totalTokens"] > 3
    assert "models" in httpx.get(url + "/v1beta/models", headers={"x-goog-api-key": KEY}).json()
    for said, status, name in [
        (gemini(url, "sim+429:generateContent", "x"), 429, "RESOURCE_EXHAUSTED"),
        (gemini(url, "sim:generateContent", "x", contents=5), 400, "INVALID_ARGUMENT"),
        (gemini(url, "sim:generateContent", "x", cachedContent="cachedContents/1"), 400, "INVALID_ARGUMENT"),
        (gemini(url, "si%0d%0am:generateContent", "x"), 400, "INVALID_ARGUMENT"),
        (httpx.post(url + "/v1beta/models/sim:generateContent", json={}, headers={"x-goog-api-key": "no"}), 401, "UNAUTHENTICATED"),
        (httpx.post(url + "/v1beta/models/sim:predict", json={}), 404, "NOT_FOUND"),
    ]:
        assert said.status_code == status
        assert said.json()["error"]["status"] == name


def test_a_broken_gemini_stream_ends_with_an_error(url: str) -> None:
    events = gemini(url, "sim+cut=5:streamGenerateContent?alt=sse", "[[tokens=40]]")
    assert "error" in json.loads(events.text.strip().split("\n\n")[-1].removeprefix("data: "))
    array = gemini(url, "sim+cut=5:streamGenerateContent", "[[tokens=40]]").json()
    assert "error" in array[-1]
