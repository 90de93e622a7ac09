"""The official SDK, over real sockets, accepts every shape that the simulator sends, and finds in it what was asked for."""

import base64
import math
from array import array

import openai
import orjson
import pytest

ASK = [{"role": "user", "content": "Tell me something."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 1, "maximum": 3},
                "unit": {"enum": ["C", "F"]},
            },
            "required": ["city", "days", "unit"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}


async def gathered(stream):
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    return chunks, text


async def test_a_whole_answer_has_the_shape_of_the_service(sim):
    async with sim.openai() as client:
        answer = await client.chat.completions.create(model="sim", messages=ASK)
    raw = answer.model_dump(exclude_unset=True)
    assert set(raw) == {"id", "choices", "created", "model", "object", "service_tier", "system_fingerprint", "usage"}
    assert answer.id.startswith("chatcmpl-")
    assert len(answer.id) == 38
    assert answer.choices[0].finish_reason == "stop"
    assert raw["choices"][0]["logprobs"] is None
    assert raw["choices"][0]["message"]["refusal"] is None
    assert raw["choices"][0]["message"]["annotations"] == []
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details.cached_tokens == 0


async def test_a_stream_is_role_then_words_then_finish_and_says_what_the_whole_answer_says(sim):
    async with sim.openai() as client:
        whole = await client.chat.completions.create(model="sim", messages=ASK)
        chunks, text = await gathered(await client.chat.completions.create(model="sim", messages=ASK, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].choices[0].delta.content == ""
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(c.choices[0].finish_reason is None for c in chunks[:-1])
    assert all("usage" not in c.model_fields_set for c in chunks)
    assert text == whole.choices[0].message.content
    assert {c.id for c in chunks} == {whole.id}
    assert len(chunks) == whole.usage.completion_tokens + 2


async def test_usage_comes_last_and_only_when_asked_for(sim):
    async with sim.openai() as client:
        stream = await client.chat.completions.create(model="sim", messages=ASK, stream=True, stream_options={"include_usage": True})
        chunks, _text = await gathered(stream)
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len(chunks) - 3
    assert all(c.usage is None and "usage" in c.model_fields_set for c in chunks[:-1])


async def test_obfuscation_can_be_switched_off(sim):
    async with sim.openai() as client:
        padded, _ = await gathered(await client.chat.completions.create(model="sim", messages=ASK, stream=True))
        bare, _ = await gathered(
            await client.chat.completions.create(model="sim", messages=ASK, stream=True, stream_options={"include_obfuscation": False})
        )
    assert all(c.obfuscation for c in padded)
    assert not any("obfuscation" in c.model_fields_set for c in bare)


async def test_a_tool_is_called_with_arguments_that_fit_its_schema(sim):
    async with sim.openai() as client:
        answer = await client.chat.completions.create(
            model="sim", messages=[{"role": "user", "content": "Use get_weather please"}], tools=[CLOCK, WEATHER]
        )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_weather"
    arguments = orjson.loads(call.function.arguments)
    assert set(arguments) == {"city", "days", "unit"}
    assert 1 <= arguments["days"] <= 3


async def test_parallel_calls_are_streamed_in_fragments_and_join_to_the_whole_ones(sim):
    request = {"model": "sim", "messages": [{"role": "user", "content": "Call both tools"}], "tools": [WEATHER, CLOCK]}
    async with sim.openai() as client:
        whole = await client.chat.completions.create(**request)
        chunks, _ = await gathered(await client.chat.completions.create(**request, stream=True))
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for part in chunk.choices[0].delta.tool_calls or ():
            if part.id:
                assert part.type == "function"
                calls[part.index] = [part.id, part.function.name, ""]
            calls[part.index][2] += part.function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert chunks[0].choices[0].delta.content is None
    assert list(calls.values()) == [[c.id, c.function.name, c.function.arguments] for c in whole.choices[0].message.tool_calls]
    assert [c[1] for c in calls.values()] == ["get_weather", "get_time"]
    assert sum(len(c.choices[0].delta.tool_calls or ()) for c in chunks) > 6


@pytest.mark.parametrize(
    ("text", "fields", "names"),
    [
        ("hello", {}, []),
        ("hello", {"tool_choice": "required"}, ["get_weather"]),
        ("hello", {"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        ("use a tool", {"tool_choice": "none"}, []),
        ("what does get time say", {}, ["get_time"]),
        ("call the tools in parallel", {}, ["get_weather", "get_time"]),
        ("call the tools in parallel", {"parallel_tool_calls": False}, ["get_weather"]),
        ("get_time in parallel", {}, ["get_time", "get_time"]),
        ("[[calls=3]]", {}, ["get_weather", "get_time", "get_weather"]),
    ],
)
async def test_tools_are_called_when_prompt_or_choice_asks(sim, text, fields, names):
    async with sim.openai() as client:
        answer = await client.chat.completions.create(
            model="sim", messages=[{"role": "user", "content": text}], tools=[WEATHER, CLOCK], **fields
        )
    calls = answer.choices[0].message.tool_calls or []
    assert [c.function.name for c in calls] == names
    assert len({c.id for c in calls}) == len(names)


async def test_after_a_tool_result_the_answer_tells_it(sim):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "call get_time"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
    ]
    async with sim.openai() as client:
        answer = await client.chat.completions.create(model="sim", messages=messages, tools=[CLOCK])
    assert answer.choices[0].message.content == "The tool answered: noon"
    # 3 to open; 3 a message; call get_time (2), get_time and {} (2), noon (1); the tool's JSON
    tool_tokens = answer.usage.prompt_tokens - (3 + 3 * 3 + 2 + 2 + 1)
    assert tool_tokens > 5


async def test_reasoning_comes_before_content_and_is_counted(sim):
    async with sim.openai() as client:
        whole = await client.chat.completions.create(model="sim", messages=ASK, reasoning_effort="low")
        stream = await client.chat.completions.create(model="sim", messages=ASK, reasoning_effort="low", stream=True)
        parts = [c.choices[0].delta.model_dump(exclude_unset=True) async for c in stream]
        by_name = await client.chat.completions.create(model="sim-reasoner", messages=ASK)
    assert whole.usage.completion_tokens_details.reasoning_tokens == 16
    thoughts = [i for i, p in enumerate(parts) if "reasoning_content" in p]
    words = [i for i, p in enumerate(parts) if p.get("content")]
    assert len(thoughts) == 16
    assert max(thoughts) < min(words)
    assert "".join(parts[i]["reasoning_content"] for i in thoughts) == whole.choices[0].message.model_extra["reasoning_content"]
    assert by_name.usage.completion_tokens_details.reasoning_tokens == 32


async def test_n_choices_differ_and_are_interleaved(sim):
    async with sim.openai() as client:
        whole = await client.chat.completions.create(model="sim", messages=ASK, n=3)
        stream = await client.chat.completions.create(model="sim", messages=ASK, n=3, stream=True)
        order = [(c.choices[0].index, c.choices[0].delta.content or "") async for c in stream]
    texts = [c.message.content for c in whole.choices]
    assert len(set(texts)) == 3
    assert ["".join(t for i, t in order if i == index) for index in range(3)] == texts
    assert [i for i, _ in order[:9]] == [0, 1, 2] * 3


async def test_limits_and_stops_cut_the_text(sim):
    async with sim.openai() as client:
        short = await client.chat.completions.create(model="sim", messages=ASK, max_completion_tokens=5)
        stopped = await client.chat.completions.create(
            model="sim", messages=[{"role": "user", "content": "[[say=one two three]]"}], stop=[" three", "zzz"]
        )
        exact = await client.chat.completions.create(model="sim", messages=[{"role": "user", "content": "[[tokens=200]]"}])
        thinking = await client.chat.completions.create(model="sim", messages=ASK, max_tokens=4, reasoning_effort="high")
    assert (short.usage.completion_tokens, short.choices[0].finish_reason) == (5, "length")
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("one two", "stop")
    assert (exact.usage.completion_tokens, exact.choices[0].finish_reason) == (200, "stop")
    assert thinking.choices[0].message.content == ""
    assert thinking.usage.completion_tokens_details.reasoning_tokens == 4


async def test_structured_answers_parse_and_fit(sim):
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}
    async with sim.openai() as client:
        loose = await client.chat.completions.create(model="sim", messages=ASK, response_format={"type": "json_object"})
        strict = await client.chat.completions.create(
            model="sim", messages=ASK, response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": schema}}
        )
    assert isinstance(orjson.loads(loose.choices[0].message.content), dict)
    person = orjson.loads(strict.choices[0].message.content)
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)


async def test_logprobs_come_with_as_many_alternatives_as_asked(sim):
    async with sim.openai() as client:
        whole = await client.chat.completions.create(model="sim", messages=ASK, logprobs=True, top_logprobs=3)
        stream = await client.chat.completions.create(model="sim", messages=ASK, logprobs=True, top_logprobs=3, stream=True)
        streamed = [t async for c in stream if c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    tokens = whole.choices[0].logprobs.content
    assert "".join(t.token for t in tokens) == whole.choices[0].message.content
    assert all(len(t.top_logprobs) == 3 and t.top_logprobs[0].token == t.token and t.logprob <= 0 for t in tokens)
    assert streamed == tokens


async def test_images_are_accepted_and_counted(sim):
    def ask(detail: str):
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": detail}}
        return [{"role": "user", "content": [{"type": "text", "text": "see"}, picture]}]

    async with sim.openai() as client:
        low = await client.chat.completions.create(model="sim", messages=ask("low"))
        high = await client.chat.completions.create(model="sim", messages=ask("high"))
    assert low.usage.prompt_tokens == 3 + 3 + 1 + 85
    assert high.usage.prompt_tokens == 3 + 3 + 1 + 765


async def test_a_prompt_cache_key_makes_the_long_beginning_cached(sim):
    messages = [{"role": "system", "content": "word " * 1100}, {"role": "user", "content": "hi"}]
    async with sim.openai() as client:
        cold = await client.chat.completions.create(model="sim", messages=messages)
        warm = await client.chat.completions.create(model="sim", messages=messages, prompt_cache_key="k")
    assert cold.usage.prompt_tokens_details.cached_tokens == 0
    assert warm.usage.prompt_tokens_details.cached_tokens == 1024


async def test_legacy_completions_whole_and_streamed(sim):
    async with sim.openai() as client:
        whole = await client.completions.create(model="sim", prompt=["a b", "c"], n=2, max_tokens=6)
        stream = await client.completions.create(
            model="sim", prompt=["a b", "c"], n=2, max_tokens=6, stream=True, stream_options={"include_usage": True}
        )
        chunks = [c async for c in stream]
        plain = await client.completions.create(model="sim", prompt="a b", echo=True, logprobs=2, max_tokens=3)
    assert [c.index for c in whole.choices] == [0, 1, 2, 3]
    assert {c.finish_reason for c in whole.choices} == {"length"}
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 24)
    for choice in whole.choices:
        assert "".join(c.choices[0].text for c in chunks if c.choices and c.choices[0].index == choice.index) == choice.text
    assert chunks[-1].usage == whole.usage
    assert plain.choices[0].text.startswith("a b")
    assert plain.choices[0].logprobs.text_offset[:3] == [0, 1, 3]


async def test_embeddings_are_unit_vectors_of_the_asked_length(sim):
    async with sim.openai() as client:
        packed = await client.embeddings.create(model="sim-embed", input=["one two", "three"])
        short = await client.embeddings.create(model="sim-embed", input="one two", dimensions=64, encoding_format="float")
        large = await client.embeddings.create(model="text-embedding-3-large", input=[1, 2, 3])
    assert [len(d.embedding) for d in packed.data] == [1536, 1536]
    assert len(large.data[0].embedding) == 3072
    assert (packed.usage.prompt_tokens, large.usage.prompt_tokens) == (3, 3)
    for vector in (packed.data[0].embedding, short.data[0].embedding):
        assert math.isclose(sum(x * x for x in vector), 1, rel_tol=1e-5)
    # a shorter vector is the longer one cut and scaled again
    ratio = packed.data[0].embedding[0] / short.data[0].embedding[0]
    assert math.isclose(packed.data[0].embedding[63] / short.data[0].embedding[63], ratio, rel_tol=1e-3)
    assert packed.data[0].embedding != packed.data[1].embedding


async def test_base64_embeddings_are_little_endian_float32(sim):
    wires = [await sim.wire("sim", path="/v1/embeddings", input="x", dimensions=8, encoding_format=e) for e in ("base64", "float")]
    packed, plain = (w.json["data"][0]["embedding"] for w in wires)
    assert array("f", base64.b64decode(packed)).tolist() == plain


async def test_models_are_listed_and_found_even_with_slashes(sim):
    async with sim.openai() as client:
        listed = [m.id async for m in client.models.list()]
        found = await client.models.retrieve("vendor/any/model")
    assert listed == ["sim", "sim-reasoner", "sim-embed"]
    assert found.id == "vendor/any/model"


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("sim+400", openai.BadRequestError),
        ("sim+401", openai.AuthenticationError),
        ("sim+403", openai.PermissionDeniedError),
        ("sim+404", openai.NotFoundError),
        ("sim+409", openai.ConflictError),
        ("sim+422", openai.UnprocessableEntityError),
        ("sim+429", openai.RateLimitError),
        ("sim+500", openai.InternalServerError),
        ("sim+529", openai.InternalServerError),
        ("sim+reset", openai.APIConnectionError),
        ("sim+cut", openai.APIConnectionError),
    ],
)
async def test_each_error_becomes_the_exception_of_the_sdk(sim, model, error):
    async with sim.openai() as client:
        with pytest.raises(error):
            await client.chat.completions.create(model=model, messages=ASK)


async def test_an_error_inside_a_stream_raises_in_the_sdk(sim):
    async with sim.openai() as client:
        stream = await client.chat.completions.create(model="sim+error_event=3", messages=ASK, stream=True)
        for _ in range(3):
            await anext(stream)
        with pytest.raises(openai.APIError, match="server had an error"):
            await anext(stream)


async def test_a_custom_tool_gets_free_text_whole_and_streamed(sim):
    request = {
        "model": "sim",
        "messages": [{"role": "user", "content": "[[say=First this.]]"}],
        "tools": [{"type": "custom", "custom": {"name": "apply_patch", "description": "Applies a patch"}}],
        "tool_choice": {"type": "custom", "custom": {"name": "apply_patch"}},
    }
    async with sim.openai() as client:
        whole = await client.chat.completions.create(**request)
        chunks, text = await gathered(await client.chat.completions.create(**request, stream=True))
    (call,) = whole.choices[0].message.tool_calls
    assert (call.type, call.custom.name, whole.choices[0].finish_reason) == ("custom", "apply_patch", "tool_calls")
    assert len(call.custom.input.split()) > 5
    assert text == whole.choices[0].message.content == "First this."
    parts = [p.model_dump(exclude_unset=True) for c in chunks for p in c.choices[0].delta.tool_calls or ()]
    assert "".join(p["custom"]["input"] for p in parts) == call.custom.input


async def test_only_allowed_tools_are_called(sim):
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "get_time"}}]}
    async with sim.openai() as client:
        answer = await client.chat.completions.create(
            model="sim",
            messages=[{"role": "user", "content": "call get_weather"}],
            tools=[WEATHER, CLOCK],
            tool_choice={"type": "allowed_tools", "allowed_tools": allowed},
        )
    assert [c.function.name for c in answer.choices[0].message.tool_calls] == ["get_time"]


async def test_a_tools_result_can_ask_for_another_call(sim):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "call get_time"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "late [[calls=1]]"},
    ]
    async with sim.openai() as client:
        answer = await client.chat.completions.create(model="sim", messages=messages, tools=[CLOCK])
    assert answer.choices[0].finish_reason == "tool_calls"
