"""The official OpenAI SDK works against the gateway as against the service: every shape it reads, every exception it raises."""

import base64
import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from doors import DOORS, Door, Site, site
from rig import eventually

NARROW_KEY = "sk-narrow-0123456789"
BODY_MAX_BYTES = 200_000
CONFIG = """
[tenants.narrow]
models = ["sim"]
keys = [ { id = "narrow", sha256 = "SHA256" } ]
[aliases]
"team/fast" = "sim"
[backends.sim]
provider = "custom"
base_url = "{sim}"
models = ["vendor/any/model", "sim-embed"]
breaker = { consecutive_failures = 0, failure_ratio = 0 }
[backends.hasty]
provider = "custom"
base_url = "{sim}"
breaker = { consecutive_failures = 0, failure_ratio = 0 }
timeouts = { connect_s = 5, first_byte_s = 0.3, idle_s = 0.3, total_s = 0.5 }
[backends.halting]
provider = "custom"
base_url = "{sim}"
breaker = { consecutive_failures = 0, failure_ratio = 0 }
timeouts = { idle_s = 1.5 }
[[routes]]
name = "halting"
models = ["halting*"]
targets = [ { backend = "halting" } ]
retry = { attempts = 1 }
[[routes]]
name = "late"
models = ["late*"]
targets = [ { backend = "hasty" } ]
retry = { attempts = 1 }
[[routes]]
name = "all"
models = ["sim*", "text-embedding-3-small", "gpt-4o"]
targets = [ { backend = "sim" } ]
retry = { attempts = 1 }
""".replace("SHA256", hashlib.sha256(NARROW_KEY.encode()).hexdigest())

ASK: Any = [{"role": "user", "content": "Tell me something. [[tokens=9]]"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 3}},
            "required": ["city", "days"],
        },
    },
}
CLOCK: Any = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
USAGE: Any = {"include_usage": True}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("sdk")
    with site(folder, CONFIG, head=f"[server.limits]\nbody_max_bytes = {BODY_MAX_BYTES}") as running:
        yield running


@pytest.fixture(scope="module", params=DOORS)
def door(place: Site, request: pytest.FixtureRequest) -> Door:
    return place.door(request.param)


@pytest.fixture(scope="module")
def client(door: Door) -> Iterator[openai.OpenAI]:
    with door.sdk() as made:
        yield made


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_streamed_answer_says_what_the_whole_one_says(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="sim", messages=ASK)
    chunks = list(client.chat.completions.create(model="sim", messages=ASK, stream=True))
    assert whole.choices[0].message.content
    assert text_of(chunks) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert {chunk.id for chunk in chunks} == {whole.id}
    assert whole.usage is not None
    assert len(chunks) == whole.usage.completion_tokens + 2


async def test_the_async_client_gets_the_same_answers(door: Door) -> None:
    async with door.async_sdk() as client:
        whole = await client.chat.completions.create(model="sim", messages=ASK)
        stream = await client.chat.completions.create(model="sim", messages=ASK, stream=True)
        chunks = [chunk async for chunk in stream]
    assert text_of(chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_the_async_client_raises_on_a_cut_stream(door: Door) -> None:
    async with door.async_sdk() as client:
        stream = await client.chat.completions.create(model="sim+cut=4", messages=ASK, stream=True)
        with pytest.raises(openai.APIError):
            _ = [chunk async for chunk in stream]


async def test_the_async_client_gets_embeddings_models_and_refusals(door: Door) -> None:
    async with door.async_sdk() as client:
        vectors = await client.embeddings.create(model="sim-embed", input=["one", "two"])
        listed = [model.id async for model in client.models.list()]
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="no-such-model", messages=ASK)
    assert [len(one.embedding) for one in vectors.data] == [1536, 1536]
    assert "gpt-4o" in listed


def test_a_tool_loop_runs_to_its_answer(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "Use get_weather please"}]
    first = client.chat.completions.create(model="sim", messages=messages, tools=[WEATHER, CLOCK])
    assert first.choices[0].finish_reason == "tool_calls"
    (called,) = first.choices[0].message.tool_calls or []
    assert called.type == "function"
    assert called.function.name == "get_weather"
    assert set(json.loads(called.function.arguments)) == {"city", "days"}
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": called.id, "content": "rain at noon"}]
    second = client.chat.completions.create(model="sim", messages=messages, tools=[WEATHER, CLOCK])
    assert second.choices[0].message.content == "The tool answered: rain at noon"


def test_parallel_tool_calls_arrive_in_fragments_and_join_to_the_whole_ones(client: openai.OpenAI) -> None:
    asked: Any = {"model": "sim", "messages": [{"role": "user", "content": "Call both tools"}], "tools": [WEATHER, CLOCK]}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True))
    calls: dict[int, list[str]] = {}
    fragments = 0
    for chunk in chunks:
        for part in chunk.choices[0].delta.tool_calls or ():
            fragments += 1
            if part.id:
                calls[part.index] = [part.id, part.function.name, ""]
            calls[part.index][2] += part.function.arguments
    assert list(calls.values()) == [[c.id, c.function.name, c.function.arguments] for c in whole.choices[0].message.tool_calls]
    assert [name for _, name, _ in calls.values()] == ["get_weather", "get_time"]
    assert fragments > 6
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_the_streaming_helper_assembles_tool_calls(client: openai.OpenAI) -> None:
    strict = {**WEATHER, "function": {**WEATHER["function"], "strict": True}}
    with client.chat.completions.stream(model="sim", messages=[{"role": "user", "content": "call get_weather"}], tools=[strict]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    (called,) = final.choices[0].message.tool_calls or []
    assert set(json.loads(called.function.arguments)) == {"city", "days"}


def test_reasoning_fields_survive(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="sim", messages=ASK, reasoning_effort="low")
    chunks = list(client.chat.completions.create(model="sim", messages=ASK, reasoning_effort="low", stream=True))
    thoughts = [(chunk.choices[0].delta.model_extra or {}).get("reasoning_content") or "" for chunk in chunks]
    assert "".join(thoughts) == (whole.choices[0].message.model_extra or {})["reasoning_content"] != ""
    assert whole.usage.completion_tokens_details.reasoning_tokens == 16


def test_the_record_counts_reasoning_tokens(door: Door, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="sim", messages=ASK, reasoning_effort="low", stream=True)
    for _ in raw.parse():
        pass
    usage = door.gateway.record(raw.headers["x-request-id"])["usage"]
    assert usage["reasoning_tokens"] == 16
    assert usage["output_tokens"] > 16


def test_log_probabilities_survive(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="sim", messages=ASK, logprobs=True, top_logprobs=3)
    stream = client.chat.completions.create(model="sim", messages=ASK, logprobs=True, top_logprobs=3, stream=True)
    streamed = [token for chunk in stream if chunk.choices[0].logprobs for token in chunk.choices[0].logprobs.content or ()]
    tokens = whole.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == whole.choices[0].message.content
    assert streamed == tokens
    assert all(len(token.top_logprobs) == 3 for token in tokens)


def test_pictures_reach_the_provider(client: openai.OpenAI) -> None:
    def asked(detail: str) -> Any:
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000, "detail": detail}}
        return [{"role": "user", "content": [{"type": "text", "text": "see"}, picture]}]

    low = client.chat.completions.create(model="sim", messages=asked("low"))
    high = client.chat.completions.create(model="sim", messages=asked("high"))
    assert high.usage.prompt_tokens - low.usage.prompt_tokens == 765 - 85


def test_several_choices_and_structured_answers(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="sim", messages=ASK, n=3)
    parts = [(c.choices[0].index, c.choices[0].delta.content or "") for c in client.chat.completions.create(
        model="sim", messages=ASK, n=3, stream=True)]  # fmt: skip
    assert ["".join(text for i, text in parts if i == index) for index in range(3)] == [c.message.content for c in whole.choices]
    shaped = client.chat.completions.create(model="sim", messages=ASK, response_format={"type": "json_object"})
    assert isinstance(json.loads(shaped.choices[0].message.content), dict)


def test_completions_whole_and_streamed(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="sim", prompt=["a b", "c"], max_tokens=6)
    chunks = list(client.completions.create(model="sim", prompt=["a b", "c"], max_tokens=6, stream=True, stream_options=USAGE))
    for choice in whole.choices:
        assert "".join(c.choices[0].text for c in chunks if c.choices and c.choices[0].index == choice.index) == choice.text
    assert chunks[-1].usage == whole.usage
    assert whole.usage.completion_tokens == 12


def test_embeddings_come_as_base64_by_default_and_as_floats_on_request(door: Door, client: openai.OpenAI) -> None:
    packed = client.embeddings.create(model="sim-embed", input=["one two", "three"])
    plain = client.embeddings.create(model="sim-embed", input=["one two", "three"], encoding_format="float")
    raw = door.post("/v1/embeddings", body={"model": "sim-embed", "input": "one two", "encoding_format": "base64", "dimensions": 8})
    assert len(base64.b64decode(raw.json()["data"][0]["embedding"])) == 8 * 4
    assert [len(one.embedding) for one in packed.data] == [1536, 1536]
    pairs = zip(packed.data[0].embedding, plain.data[0].embedding, strict=True)
    assert all(math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-7) for one, other in pairs)
    assert packed.usage.prompt_tokens == 3


def test_models_are_listed_and_found_even_with_slashes(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert {"gpt-4o", "text-embedding-3-small", "team/fast", "sim/vendor/any/model", "sim/sim-embed"} <= set(listed)
    for name in ("team/fast", "sim/vendor/any/model", "hasty/anything", "sim-7b"):
        found = client.models.retrieve(name)
        assert (found.id, found.object) == (name, "model")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody/knows")


def test_every_listed_model_can_be_used(client: openai.OpenAI) -> None:
    for model in client.models.list():
        if "embed" not in model.id:
            assert client.chat.completions.create(model=model.id, messages=ASK).choices[0].message.content


def test_a_key_sees_only_its_models(door: Door) -> None:
    with door.sdk(NARROW_KEY) as narrow:
        assert [model.id for model in narrow.models.list()] == []
        assert narrow.models.retrieve("sim").id == "sim"
        with pytest.raises(openai.NotFoundError):
            narrow.models.retrieve("gpt-4o")


def test_usage_is_told_when_asked_for(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="sim", messages=ASK, stream=True, stream_options=USAGE))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len(chunks) - 3


@pytest.mark.parametrize("options", [None, {"include_usage": False}, {}])
def test_usage_not_asked_for_is_hidden_from_the_caller_but_recorded(door: Door, client: openai.OpenAI, options: Any) -> None:
    more = {} if options is None else {"stream_options": options}
    raw = client.chat.completions.with_raw_response.create(model="sim", messages=ASK, stream=True, **more)
    chunks = list(raw.parse())
    assert all(chunk.choices for chunk in chunks)
    assert all(not chunk.usage for chunk in chunks)
    usage = door.gateway.record(raw.headers["x-request-id"])["usage"]
    assert usage["source"] == "provider"
    assert usage["output_tokens"] == len(chunks) - 2
    assert usage["input_tokens"] > 0


def test_the_headers_say_who_served_it(door: Door, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="team/fast", messages=ASK, extra_headers={"X-Request-Id": "mine-1.a_B"})
    assert raw.headers["x-request-id"] == "mine-1.a_B"
    assert raw.headers["x-served-by"] == "sim"
    assert raw.headers["x-gateway-model"] == "sim"
    assert raw.headers["x-gateway-attempts"] == "1"
    assert 0 < float(raw.headers["x-gateway-overhead-ms"]) < 5000
    assert raw.headers["openai-version"] or raw.headers["openai-processing-ms"]
    assert raw.parse().choices[0].message.content
    record = door.gateway.record("mine-1.a_B")
    assert (record["requested_model"], record["model"], record["tenant"], record["key"]) == ("team/fast", "sim", "test", "test")


def test_the_providers_request_id_and_server_do_not_replace_ours(door: Door, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="sim", messages=ASK)
    assert len(raw.headers.get_list("x-request-id")) == 1
    assert door.gateway.record(raw.headers["x-request-id"])["request_id"] == raw.headers["x-request-id"]


@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("sim+400", openai.BadRequestError, 400),
        ("sim+context_length", openai.BadRequestError, 400),
        ("sim+404", openai.NotFoundError, 404),
        ("sim+413", openai.APIStatusError, 413),
        ("sim+415", openai.APIStatusError, 415),
        ("sim+422", openai.UnprocessableEntityError, 422),
        ("sim+429=7s", openai.RateLimitError, 429),
        ("sim+401", openai.InternalServerError, 502),
        ("sim+403", openai.InternalServerError, 502),
        ("sim+quota", openai.InternalServerError, 502),
        ("sim+500", openai.InternalServerError, 502),
        ("sim+503", openai.InternalServerError, 502),
        ("sim+reset", openai.InternalServerError, 502),
        ("late+hang", openai.InternalServerError, 504),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_providers_error_is_the_exception_that_tells_who_must_act(
    client: openai.OpenAI, model: str, error: type[openai.APIStatusError], status: int, stream: bool
) -> None:
    with pytest.raises(error) as caught:
        client.chat.completions.create(model=model, messages=ASK, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.request_id
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"]


def test_a_rate_limit_says_when_to_come_back(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="sim+429=7s", messages=ASK)
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.code == "rate_limit_exceeded"


def test_the_sdks_own_retry_honours_what_it_is_told(door: Door) -> None:
    with door.sdk(max_retries=2) as client:
        answer = client.chat.completions.create(model=f"sim-{door.name}+429=1s;first=1", messages=ASK)
    assert answer.choices[0].message.content


def test_our_refusals_are_the_sdks_exceptions(door: Door, client: openai.OpenAI) -> None:
    with door.sdk("sk-wrong") as stranger, pytest.raises(openai.AuthenticationError) as unknown:
        stranger.chat.completions.create(model="sim", messages=ASK)
    assert unknown.value.code == "invalid_api_key"
    with door.sdk(NARROW_KEY) as narrow, pytest.raises(openai.PermissionDeniedError) as forbidden:
        narrow.chat.completions.create(model="gpt-4o", messages=ASK)
    assert forbidden.value.param == "model"
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="no-such-model", messages=ASK)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="sim", messages="hello")  # type: ignore[call-overload]
    assert bad.value.param == "messages"
    with pytest.raises(openai.APIStatusError) as large:
        client.chat.completions.create(model="sim", messages=[{"role": "user", "content": "x" * BODY_MAX_BYTES}])
    assert large.value.status_code == 413
    with pytest.raises(openai.APIStatusError) as odd:
        client.chat.completions.create(model="sim", messages=ASK, extra_headers={"Content-Type": "text/plain"})
    assert odd.value.status_code == 415


def test_the_clients_own_timeout_is_its_timeout(door: Door) -> None:
    model = f"sim-{door.name}-slow+hang"
    read_only = httpx.Timeout(20.0, read=0.3)  # however long it takes to connect: what was asked has to arrive
    with door.sdk(timeout=read_only) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model=model, messages=ASK)
    # Over HTTP/2 this client gives a timed-out stream up without telling the server; the closed connection tells.
    records = eventually(lambda: [one for one in door.gateway.admin("/admin/requests")["requests"] if one["requested_model"] == model])
    assert records[0]["status"] == 499
    assert records[0]["error_type"] == "client_gone"


@pytest.mark.parametrize(
    "model",
    ["sim+error_event=4", "sim+error_event=4;style=openrouter", "sim+error_event=4;style=event", "sim+cut=4", "sim+reset=4",
     "sim+truncate=4", "sim+garbage_json=4", "halting@tps=0+hang=4"],
)  # fmt: skip
def test_a_stream_that_fails_raises_and_is_never_a_short_answer(door: Door, client: openai.OpenAI, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=ASK, stream=True)
    got: list[Any] = []
    with pytest.raises(openai.APIError) as caught:
        got.extend(raw.parse())
    assert len(got) == 4
    assert not any(chunk.choices[0].finish_reason for chunk in got)
    assert caught.value.message
    record = door.gateway.record(raw.headers["x-request-id"])
    assert record["error_type"]
    assert record["attempts"][0]["outcome"] == "error"


def test_a_stream_without_done_is_whole_when_every_choice_is_finished(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="sim+no_done", messages=ASK, stream=True))
    assert chunks[-1].choices[0].finish_reason == "stop"
