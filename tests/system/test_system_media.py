"""Rankings, moderations, images and audio pass as they are, by both engines: routed by model, recorded, retried, in any form of answer."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from media_upstream import Asked, MediaUpstream, by_path
from rig import KEY, Gateway, call, eventually, running

IMAGE = {"created": 1, "data": [{"b64_json": "aGVsbG8="}], "usage": {"input_tokens": 9, "output_tokens": 30, "total_tokens": 39}}
MODERATION = {"id": "modr-1", "model": "omni-moderation-latest", "results": [{"flagged": False, "categories": {}, "category_scores": {}}]}
JINA = {"model": "r", "usage": {"total_tokens": 12}, "results": [{"index": 0, "relevance_score": 0.9}]}
COHERE = {"id": "x", "results": [{"index": 0, "relevance_score": 0.9}], "meta": {"billed_units": {"search_units": 2}}}
AUDIO = bytes(range(256)) * 4000
WAIT_S = 15.0
"""Less than the SDK waits here."""


def sse(*events: Any, done: bool = False) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events) + (b"data: [DONE]\n\n" if done else b"")


SPOKEN = (
    {"type": "speech.audio.delta", "audio": "aGVs"},
    {"type": "speech.audio.delta", "audio": "bG8="},
    {"type": "speech.audio.done", "usage": {"input_tokens": 7, "output_tokens": 21, "total_tokens": 28}},
)
DRAWN = (
    {"type": "image_generation.partial_image", "b64_json": "a" * 300_000, "partial_image_index": 0},
    {"type": "image_generation.completed", "b64_json": "b" * 400_000, "usage": {"input_tokens": 5, "output_tokens": 50}},
)


def speech(asked: Asked) -> None:
    wish = asked.json()
    if "cut" in wish["input"]:
        asked.start("audio/mpeg", content_length="100000")
        asked.send(AUDIO[:1000])
        asked.whole = False
    elif wish.get("stream_format") == "sse":
        asked.answer(sse(*(SPOKEN[:2] if "short" in wish["input"] else SPOKEN)), "text/event-stream")
    else:
        asked.answer(AUDIO, "audio/mpeg")


def image(asked: Asked) -> None:
    wish = asked.json()
    if wish["prompt"] == "teapot":
        asked.answer({"error": {"message": "no teapots", "type": "invalid_request_error", "param": "prompt", "code": None}}, status=400)
    elif wish["prompt"] == "large":
        asked.answer({"created": 1, "data": [{"b64_json": "x" * 3_000_000}], "usage": IMAGE["usage"]})
    elif wish.get("stream"):
        asked.answer(sse(*DRAWN), "text/event-stream")
    else:
        asked.answer(IMAGE)


PATHS = {
    "/v1/images/generations": image,
    "/v1/images/edits": image,
    "/v1/moderations": lambda asked: asked.answer(MODERATION),
    "/v1/rerank": lambda asked: asked.answer(JINA),
    "/v2/rerank": lambda asked: asked.answer(COHERE),
    "/openai/deployments/draw/images/generations": image,
}


class Provider(MediaUpstream):
    """Attributes:
    heard: the beginning of a slow answer has reached its caller; the rest follows then.
    """

    def __init__(self) -> None:
        self.heard = threading.Event()
        super().__init__(by_path({**PATHS, "/v1/audio/speech": self._speech}))

    def _speech(self, asked: Asked) -> None:
        if "slow" not in asked.json()["input"]:
            speech(asked)
            return
        asked.start("audio/mpeg", transfer_encoding="chunked")
        asked.chunk(AUDIO[:1000])
        asked.whole = self.heard.wait(WAIT_S)
        if asked.whole:
            asked.chunk(AUDIO[1000:])
            asked.send(b"0\r\n\r\n")


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as one:
        yield one


@pytest.fixture(scope="module")
def gateway(provider: MediaUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("media")
    config = f"""
[aliases]
omni-moderation-latest = "moderator"
[backends.media]
provider = "custom"
base_url = "{provider.url}/v1"
[backends.cohere]
provider = "cohere"
base_url = "{provider.url}"
api_key = "co-key-0123456789"
[backends.azure]
provider = "azure-openai"
base_url = "{provider.url}"
api_key = "az-key-0123456789"
deployments = {{ "painter" = "draw" }}
[backends.texts]
provider = "deepseek"
base_url = "{provider.url}/v1"
api_key = "ds-key-0123456789"
[[routes]]
name = "fixed"
models = ["moderator", "renamed"]
targets = [ {{ backend = "media", model = "vendor/real", max_tokens = 5, overrides = {{ "quality" = "low" }} }} ]
[[routes]]
name = "somewhere"
models = ["somewhere"]
targets = [ {{ backend = "texts" }}, {{ backend = "media" }} ]
strategy = "priority"
[[routes]]
name = "nowhere"
models = ["nowhere"]
targets = [ {{ backend = "texts" }} ]
[[routes]]
name = "painter"
models = ["painter"]
targets = [ {{ backend = "azure" }} ]
[[routes]]
name = "cohere"
models = ["rerank-v*"]
targets = [ {{ backend = "cohere" }} ]
[[routes]]
name = "any"
models = ["m", "tts"]
targets = [ {{ backend = "media" }} ]
"""
    one = Gateway(folder, config)
    with running(one):
        yield one


@pytest.fixture
def sdk(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=20)


def record(gateway: Gateway, headers: dict[str, str]) -> dict[str, Any]:
    return gateway.record(headers["x-request-id"])


@pytest.mark.parametrize(
    ("path", "body", "expected", "usage"),
    [
        ("/v1/rerank", {"query": "q", "documents": ["a"]}, JINA, (12, 0, 0, "provider")),
        ("/v1/moderations", {"input": "a"}, MODERATION, (1, 0, 0, "estimated")),
        ("/v1/images/generations", {"prompt": "a cat"}, IMAGE, (9, 30, 0, "provider")),
        ("/v1/images/edits", {"prompt": "a cat", "image": "data:image/png;base64,aa"}, IMAGE, (9, 30, 0, "provider")),
    ],
)
def test_json_passes_byte_for_byte_both_ways(
    gateway: Gateway, provider: MediaUpstream, url: str, path: str, body: dict[str, Any], expected: Any, usage: Any
) -> None:
    sent = json.dumps({"model": "m", "unknown": [1.0, 1e3], **body}, indent=3).encode()
    status, headers, answer = call(url + path, sent)
    assert (status, json.loads(answer)) == (200, expected)
    assert provider.asked[-1].path == path
    assert provider.asked[-1].body == sent
    assert headers["x-served-by"] == "media"
    seen = record(gateway, headers)
    assert (seen["route"], seen["model"], seen["status"]) == ("any", "m", 200)
    found = seen["usage"]
    assert (found["input_tokens"], found["output_tokens"], found["search_units"], found["source"]) == usage


def test_both_versions_of_rerank_reach_cohere_and_its_units_are_noted(gateway: Gateway, provider: MediaUpstream, url: str) -> None:
    body = {"model": "rerank-v3.5", "query": "q", "documents": ["a"]}
    for path, expected in (("/v2/rerank", COHERE), ("/v1/rerank", JINA)):
        status, headers, answer = call(url + path, body)
        assert (status, json.loads(answer)) == (200, expected)
        assert provider.asked[-1].path == path
        assert provider.asked[-1].headers["authorization"] == "Bearer co-key-0123456789"
        if path == "/v2/rerank":
            assert record(gateway, headers)["usage"]["search_units"] == 2


def test_rerank_in_coheres_form_goes_where_a_server_has_the_one_it_has(provider: MediaUpstream, url: str) -> None:
    assert call(url + "/v2/rerank", {"model": "m", "query": "q", "documents": []})[0] == 200
    assert provider.asked[-1].path == "/v1/rerank"


def test_the_operators_model_and_overrides_are_spliced_in_and_no_bound_on_tokens(provider: MediaUpstream, url: str) -> None:
    assert call(url + "/v1/images/generations", b'{"model": "renamed",  "prompt": "x"}')[0] == 200
    assert provider.asked[-1].body == b'{"model": "vendor/real",  "prompt": "x","quality":"low"}'


def test_a_moderation_without_a_model_is_routed_by_openais_default(provider: MediaUpstream, url: str, sdk: openai.OpenAI) -> None:
    assert sdk.moderations.create(input="hello").results[0].flagged is False
    assert provider.asked[-1].json() == {"input": "hello", "model": "vendor/real", "quality": "low"}


@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/audio/speech", "/v1/rerank", "/v2/rerank", "/v1/audio/transcriptions"])
@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": 3}])
def test_any_other_request_without_a_model_is_told_so(url: str, path: str, body: dict[str, Any]) -> None:
    status, _, answer = call(url + path, body)
    error = json.loads(answer)["error"]
    assert (status, error["param"]) == (400, "model")


def test_azure_gets_its_deployments_path(provider: MediaUpstream, url: str) -> None:
    assert call(url + "/v1/images/generations", {"model": "painter", "prompt": "x"})[0] == 200
    assert provider.asked[-1].path.startswith("/openai/deployments/draw/images/generations?api-version=")


def test_a_backend_without_the_operation_is_passed_over(gateway: Gateway, url: str) -> None:
    status, headers, _ = call(url + "/v1/images/generations", {"model": "somewhere", "prompt": "x"})
    assert (status, headers["x-served-by"], headers["x-gateway-attempts"]) == (200, "media", "1")


def test_where_no_backend_has_it_the_error_says_what_to_do(url: str) -> None:
    status, _, answer = call(url + "/v1/audio/speech", {"model": "nowhere", "input": "x", "voice": "alloy"})
    error = json.loads(answer)["error"]
    assert (status, error["code"], error["param"]) == (400, "unsupported_operation", "model")
    assert "texts has no speech" in error["message"]


def test_a_fault_of_the_callers_passes_in_the_providers_words(url: str, sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.images.generate(model="m", prompt="teapot")
    assert caught.value.param == "prompt"
    assert "no teapots" in str(caught.value)


def test_a_large_image_passes_with_its_usage(gateway: Gateway, url: str) -> None:
    status, headers, answer = call(url + "/v1/images/generations", {"model": "m", "prompt": "large"})
    assert status == 200
    assert len(json.loads(answer)["data"][0]["b64_json"]) == 3_000_000
    assert record(gateway, headers)["usage"]["output_tokens"] == 30


def test_audio_passes_as_it_comes(provider: Provider, sdk: openai.OpenAI) -> None:
    provider.heard.clear()
    with sdk.audio.speech.with_streaming_response.create(model="tts", input="slow", voice="alloy") as answer:
        pieces = answer.iter_bytes(500)
        first = next(pieces)  # must not wait for the last, which come when it is here
        provider.heard.set()
        rest = b"".join(pieces)
        assert answer.headers["content-type"] == "audio/mpeg"
    assert first + rest == AUDIO


def test_whole_audio_keeps_its_length(url: str) -> None:
    status, headers, answer = call(url + "/v1/audio/speech", {"model": "tts", "input": "x", "voice": "alloy"})
    assert (status, answer == AUDIO, headers["content-length"]) == (200, True, str(len(AUDIO)))


def test_audio_that_breaks_off_never_looks_whole(gateway: Gateway, sdk: openai.OpenAI) -> None:
    with sdk.audio.speech.with_streaming_response.create(model="tts", input="cut", voice="alloy") as answer:
        identity = answer.headers["x-request-id"]
        with pytest.raises(Exception, match=r"incomplete|closed|peer|Connection"):
            answer.read()
    assert eventually(lambda: gateway.record(identity))["error_type"] == "stream_cut"


def test_streamed_speech_ends_with_its_own_event_and_is_counted(gateway: Gateway, url: str) -> None:
    body = {"model": "tts", "input": "x", "voice": "alloy", "stream_format": "sse"}
    status, headers, answer = call(url + "/v1/audio/speech", body)
    assert (status, answer) == (200, sse(*SPOKEN))
    seen = record(gateway, headers)
    assert (seen["stream"], seen["usage"]["output_tokens"], seen["error_type"]) == (True, 21, "")
    assert seen["ttft_ms"] is not None


def test_streamed_speech_that_is_cut_is_told_in_band(gateway: Gateway, url: str) -> None:
    body = {"model": "tts", "input": "short", "voice": "alloy", "stream_format": "sse"}
    _, headers, answer = call(url + "/v1/audio/speech", body)
    assert answer.startswith(sse(*SPOKEN[:2]))
    assert json.loads(answer[len(sse(*SPOKEN[:2])) :].removeprefix(b"data: "))["error"]["code"] == "stream_cut"
    assert record(gateway, headers)["error_type"] == "stream_cut"


def test_streamed_images_reach_the_sdk(gateway: Gateway, url: str, sdk: openai.OpenAI) -> None:
    request_id = f"drawn-{url[-5:]}"
    events = list(sdk.images.generate(model="m", prompt="x", stream=True, partial_images=1, extra_headers={"x-request-id": request_id}))
    assert [one.type for one in events] == [one["type"] for one in DRAWN]
    assert events[-1].usage.output_tokens == 50  # type: ignore[union-attr]
    (request,) = eventually(lambda: [one for one in gateway.requests() if one["request_id"] == request_id])
    assert (request["path"], request["stream"], request["output_tokens"]) == ("/v1/images/generations", True, 50)


def test_who_may_not_is_refused_and_every_operation_has_its_name_in_the_metrics(gateway: Gateway, url: str) -> None:
    status, _, _ = call(url + "/v1/audio/speech", {"model": "tts", "input": "x"}, authorization="Bearer sk-wrong")
    assert status == 401
    asked = {
        "speech": ("/v1/audio/speech", {"model": "tts", "input": "x", "voice": "alloy"}),
        "rerank": ("/v1/rerank", {"model": "m", "query": "q", "documents": ["a"]}),
        "moderations": ("/v1/moderations", {"model": "m", "input": "a"}),
        "image_generation": ("/v1/images/generations", {"model": "m", "prompt": "a cat"}),
    }
    for operation, (path, body) in asked.items():
        assert record(gateway, call(url + path, body)[1])
        assert f'gen_ai_operation_name="{operation}"' in gateway.metrics_text()


def test_a_form_is_refused_where_only_json_is_taken(url: str) -> None:
    status, _, answer = call(url + "/v1/audio/speech", b"--x--", content_type="multipart/form-data; boundary=x")
    assert status == 415
    assert "application/json" in json.loads(answer)["error"]["message"]


def test_other_paths_below_are_not_found_and_other_methods_refused(url: str) -> None:
    status, _, answer = call(url + "/v1/images/upscale", {"model": "m"})
    assert status == 404
    assert "/v1/images/edits" in json.loads(answer)["error"]["message"]
