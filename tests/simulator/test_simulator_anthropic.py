"""Anthropic's Messages: the official SDK accepts every shape, strictness is the service's, and faults mean what they mean elsewhere."""

import anthropic
import orjson
import pytest

from appliance.simulator.settings import Settings

ASK = [{"role": "user", "content": "Tell me something."}]
WEATHER = {
    "name": "get_weather",
    "description": "Says the weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 3}},
        "required": ["city", "days"],
    },
}
CLOCK = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
VERSION = {"anthropic-version": "2023-06-01"}
THINKING = {"type": "enabled", "budget_tokens": 1024}


USED = {"type": "tool_use", "id": "toolu_1", "name": "get_time", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "noon"}
TEXT = {"type": "text", "text": "hi"}


def ask(text, **fields):
    return {"model": "sim", "max_tokens": 4096, "messages": [{"role": "user", "content": text}], **fields}


def turns(*contents):
    """Messages of user and assistant in turn."""
    return [{"role": "user" if i % 2 == 0 else "assistant", "content": content} for i, content in enumerate(contents)]


def shown(message):
    """The content as JSON; what the SDK parsed out of it is left out."""
    return [block.model_dump(exclude={"parsed_output"}) for block in message.content]


def bodies(wire):
    return [orjson.loads(e.split(b"data: ")[1]) for e in wire.events]


async def streamed(client, request):
    """The events as they came, and the message that the SDK made of them."""
    async with client.messages.stream(**request) as stream:
        events = [event async for event in stream]
        return events, await stream.get_final_message()


async def test_a_whole_message_has_the_shape_of_the_service(sim):
    async with sim.anthropic() as client:
        raw = await client.messages.with_raw_response.create(**ask("Tell me something."))
    message = await raw.parse()
    assert set(message.model_dump(exclude_unset=True)) == {
        "id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage",
    }  # fmt: skip
    assert (message.type, message.role, message.stop_reason, message.stop_sequence) == ("message", "assistant", "end_turn", None)
    assert message.id.startswith("msg_01")
    assert message.usage.output_tokens > 0
    assert raw.headers["request-id"].startswith("req_011")
    assert raw.headers["anthropic-ratelimit-requests-remaining"]


async def test_the_same_question_says_the_same_and_counts_the_same_as_in_openais_chat(sim):
    calls = [{"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": '{"zone": "UTC"}'}}]
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "call get_time"},
        {"role": "assistant", "content": "Wait.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
        {"role": "user", "content": [TEXT, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
    ]
    used = {"type": "tool_use", "id": "toolu_1", "name": "get_time", "input": {"zone": "UTC"}}
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    turns = [
        {"role": "user", "content": "call get_time"},
        {"role": "assistant", "content": [{"type": "text", "text": "Wait."}, used]},
        {"role": "user", "content": [RESULT, TEXT, picture]},
    ]
    function = {"name": "get_weather", "description": "Says the weather", "parameters": WEATHER["input_schema"]}
    async with sim.openai() as client:
        one = await client.chat.completions.create(model="sim", messages=chat, tools=[{"type": "function", "function": function}])
    async with sim.anthropic() as client:
        two = await client.messages.create(model="sim", max_tokens=99, system="Be brief.", messages=turns, tools=[WEATHER])
    assert two.content[0].text == one.choices[0].message.content
    assert (two.usage.input_tokens, two.usage.output_tokens) == (one.usage.prompt_tokens, one.usage.completion_tokens)


async def test_a_stream_has_the_events_in_the_services_order_and_says_what_the_whole_message_says(sim):
    async with sim.anthropic() as client:
        whole = await client.messages.create(**ask("Tell me something."))
        _, folded = await streamed(client, ask("Tell me something."))
    wire = await sim.wire(path="/v1/messages", stream=True, max_tokens=4096, messages=ASK, headers=VERSION)
    parsed = bodies(wire)
    names = [event.split(b"\n")[0].removeprefix(b"event: ").decode() for event in wire.events]
    assert names == [body["type"] for body in parsed]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(names[3:-3]) == {"content_block_delta"}
    assert parsed[0]["message"]["usage"]["input_tokens"] == whole.usage.input_tokens
    assert parsed[0]["message"]["stop_reason"] is None
    assert folded.model_dump(exclude={"usage"}) == whole.model_dump(exclude={"usage"})
    assert folded.usage.output_tokens == whole.usage.output_tokens


async def test_calls_are_streamed_as_json_fragments_that_join_to_the_whole_input(sim):
    request = ask("Call both tools [[say=Looking.]]", tools=[WEATHER, CLOCK])
    async with sim.anthropic() as client:
        whole = await client.messages.create(**request)
        events, folded = await streamed(client, request)
    assert [b.type for b in whole.content] == ["text", "tool_use", "tool_use"]
    assert (whole.content[0].text, whole.stop_reason) == ("Looking.", "tool_use")
    weather, clock = whole.content[1:]
    assert (weather.name, set(weather.input), clock.input) == ("get_weather", {"city", "days"}, {})
    assert weather.id != clock.id
    assert weather.id.startswith("toolu_01")
    assert shown(folded) == shown(whole)
    fragments = [e.delta.partial_json for e in events if e.type == "content_block_delta" and e.delta.type == "input_json_delta"]
    assert fragments[0] == ""
    assert len(fragments) > 6
    assert folded.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"type": "auto"}, []),
        ({"type": "any"}, ["get_weather"]),
        ({"type": "tool", "name": "get_time"}, ["get_time"]),
        ({"type": "none"}, []),
    ],
)
async def test_tool_choice_is_kept(sim, choice, names):
    async with sim.anthropic() as client:
        said = await client.messages.create(**ask("hello", tools=[WEATHER, CLOCK], tool_choice=choice))
        one = await client.messages.create(
            **ask("call them in parallel", tools=[WEATHER, CLOCK], tool_choice={"type": "auto", "disable_parallel_tool_use": True})
        )
    assert [b.name for b in said.content if b.type == "tool_use"] == names
    assert [b.name for b in one.content] == ["get_weather"]


async def test_thinking_comes_first_signed_and_must_come_back_unchanged_while_tools_are_at_work(sim):
    request = ask("call get_time", tools=[CLOCK], thinking=THINKING)
    async with sim.anthropic() as client:
        said = await client.messages.create(**request)
        _, folded = await streamed(client, request)
        assert shown(folded) == shown(said)
        thought, used = said.content
        assert (thought.type, used.type) == ("thinking", "tool_use")
        assert len(thought.thinking.split()) > 5

        async def again(*content):
            result = {"type": "tool_result", "tool_use_id": used.id, "content": "noon [[calls=1]]"}
            turns = [*request["messages"], {"role": "assistant", "content": list(content)}, {"role": "user", "content": [result]}]
            return await client.messages.create(**{**request, "messages": turns}), turns

        told, turns = await again(thought, used)
        assert told.content[-1].type == "tool_use"
        last = {"type": "tool_result", "tool_use_id": told.content[-1].id, "content": "late"}
        turns = [*turns, {"role": "assistant", "content": told.content}, {"role": "user", "content": [last]}]
        ended = await client.messages.create(**{**request, "messages": turns})
        assert (ended.content[-1].text, ended.stop_reason) == ("The tool answered: late", "end_turn")

        with pytest.raises(anthropic.BadRequestError, match="Expected `thinking` or `redacted_thinking`, but found `tool_use`"):
            await again(used)
        other = thought.model_copy(update={"thinking": thought.thinking + " "})
        with pytest.raises(anthropic.BadRequestError, match=r"messages\.1\.content\.0: Invalid `signature` in `thinking` block"):
            await again(other, used)
        with pytest.raises(anthropic.BadRequestError, match=r"signature: Field required"):
            await again({"type": "thinking", "thinking": thought.thinking}, used)


async def test_thinking_can_be_omitted_or_sealed(sim):
    sealing = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_46C9A13E193C177646C7398A98432ECCCE4C1253D5E2D82641AC0E52CC2876CB"
    async with sim.anthropic() as client:
        for request in (ask("hi", thinking={**THINKING, "display": "omitted"}), ask(sealing, thinking=THINKING)):
            whole = await client.messages.create(**request)
            _, folded = await streamed(client, request)
            assert shown(folded) == shown(whole)
            turns = [*request["messages"], {"role": "assistant", "content": whole.content}, {"role": "user", "content": "go on"}]
            assert (await client.messages.create(**{**request, "messages": turns})).stop_reason == "end_turn"
    assert whole.content[0].type == "redacted_thinking"


async def test_adaptive_thinking_takes_the_effort(sim):
    async with sim.anthropic() as client:
        texts = [
            (await client.messages.create(**ask("hi", thinking={"type": "adaptive"}, output_config={"effort": effort}))).content[0].thinking
            for effort in ("low", "high")
        ]
        plain = await client.messages.create(**ask("hi"))
    assert len(texts[0]) < len(texts[1])
    assert [b.type for b in plain.content] == ["text"]


async def test_limits_and_stop_sequences_tell_why_they_ended_it(sim):
    async with sim.anthropic() as client:
        short = await client.messages.create(**{**ask("hi"), "max_tokens": 5})
        stopped = await client.messages.create(**ask("[[say=one two three]]", stop_sequences=[" three", "zz"]))
        cut = await client.messages.create(**{**ask("hi", tools=[WEATHER], tool_choice={"type": "any"}), "max_tokens": 3})
    assert (short.usage.output_tokens, short.stop_reason) == (5, "max_tokens")
    assert (stopped.content[0].text, stopped.stop_reason, stopped.stop_sequence) == ("one two", "stop_sequence", " three")
    assert (cut.stop_reason, cut.content[0].input) == ("max_tokens", {})


async def test_structured_output_fits_its_schema(sim):
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"], "additionalProperties": False}
    async with sim.anthropic() as client:
        said = await client.messages.create(**ask("hi", output_config={"format": {"type": "json_schema", "schema": schema}}))
        loose = {**schema, "additionalProperties": True}
        with pytest.raises(anthropic.BadRequestError, match="additionalProperties"):
            await client.messages.create(**ask("hi", output_config={"format": {"type": "json_schema", "schema": loose}}))
    assert isinstance(orjson.loads(said.content[0].text)["age"], int)


async def test_breakpoints_make_input_cached_and_all_input_is_counted_once(sim):
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    system = [{"type": "text", "text": "word " * 1200, **mark}]
    async with sim.anthropic() as client:
        none = await client.messages.create(**ask("hi", system=system[0]["text"]))
        first = await client.messages.create(**ask("hi", system=system))
        longer = turns("hi", "yes", [{**TEXT, **mark}])
        second = await client.messages.create(**{**ask("", system=system), "messages": longer})
    assert (none.usage.cache_creation_input_tokens, none.usage.cache_read_input_tokens) == (0, 0)
    assert first.usage.cache_creation_input_tokens == first.usage.cache_creation.ephemeral_1h_input_tokens == 3 + 3 + 1201
    assert first.usage.cache_read_input_tokens == 0
    assert first.usage.cache_creation_input_tokens + first.usage.input_tokens == none.usage.input_tokens
    assert second.usage.cache_read_input_tokens == none.usage.input_tokens
    assert second.usage.cache_creation_input_tokens > 0
    assert second.usage.input_tokens == 0


async def test_tokens_are_counted_as_they_are_billed(sim):
    request = ask([{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "one two"}}, TEXT])
    paper = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
    async with sim.anthropic() as client:
        counted = await client.messages.count_tokens(**{k: v for k, v in request.items() if k != "max_tokens"}, tools=[WEATHER])
        said = await client.messages.create(**request, tools=[WEATHER])
        pdf = await client.messages.create(**ask([{"type": "document", "source": paper}]))
    assert counted.input_tokens == said.usage.input_tokens
    assert pdf.usage.input_tokens == 3 + 3 + 1500


async def test_models_are_listed_in_pages_to_who_speaks_this_language(sim):
    async with sim.anthropic() as client:
        page = await client.models.list(limit=2)
        names = [m.id async for m in client.models.list(limit=2)]
        one = await client.models.retrieve("vendor/any")
    assert ([m.id for m in page.data], page.has_more) == (["sim", "sim-reasoner"], True)
    assert names == ["sim", "sim-reasoner", "sim-embed"]
    assert (one.id, one.type, one.display_name) == ("vendor/any", "model", "vendor/any")


MISTAKES = [
    ({"max_tokens": None}, "max_tokens: Field required"),
    ({"model": None}, "model: Field required"),
    ({"frequency_penalty": 1}, "frequency_penalty: Extra inputs are not permitted"),
    ({"context_management": {}}, "context_management: Extra inputs are not permitted"),
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": [{"role": "assistant", "content": "hi"}]}, 'messages: first message must use the "user" role'),
    ({"messages": [{"role": "tool", "content": "hi"}]}, "messages.0.role: Input should be"),
    ({"messages": [{"role": "user", "content": "hi", "name": "x"}]}, "messages.0.name: Extra inputs are not permitted"),
    ({"messages": turns("hi", "", "go")}, "messages.1: all messages must have non-empty content"),
    ({"messages": turns("hi", "yes ")}, "final assistant content cannot end with trailing whitespace"),
    ({"messages": turns([{"type": "text", "text": ""}])}, "text content blocks must be non-empty"),
    ({"messages": turns([{**TEXT, "index": 0}])}, "messages.0.content.0.text.index: Extra inputs are not permitted"),
    ({"messages": turns([{"type": "image_url"}])}, "Input tag 'image_url' found using 'type'"),
    ({"messages": turns([RESULT])}, "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1"),
    ({"messages": turns("hi", [USED], "go")}, "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: too"),
    ({"messages": turns("hi", [USED], [TEXT, RESULT])}, "`tool_use` ids were found without `tool_result` blocks"),
    ({"messages": turns("hi", [USED], [RESULT, RESULT])}, "each tool_use must have a single result"),
    ({"messages": turns("hi", [{**USED, "id": "a:1"}], [RESULT])}, "tool_use.id: String should match pattern"),
    ({"messages": turns("hi", [{**USED, "input": "{}"}], [RESULT])}, "tool_use.input: Input should be a valid dictionary"),
    ({"messages": turns("hi", [{"type": "thinking", "thinking": "x", "signature": "forged"}], "go")}, "Invalid `signature`"),
    ({"messages": turns("hi", [{"type": "redacted_thinking", "data": "forged"}], "go")}, "Invalid `data`"),
    ({"messages": turns([{"type": "image", "source": {"type": "base64", "media_type": "a/svg", "data": "AAAA"}}])}, "media_type: Input"),
    ({"system": [{"type": "image"}]}, "system.0: Input tag 'image'"),
    ({"temperature": 1.5}, "temperature: range: 0..1"),
    ({"stop_sequences": [" "]}, "each stop sequence must contain non-whitespace"),
    ({"tools": [{"type": "function", "function": {"name": "x"}}], "tool_choice": {"type": "required"}}, "tool_choice: Input tag"),
    ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "tools.0.custom.name: String should match pattern"),
    ({"tools": [{"name": "a"}]}, "tools.0.custom.input_schema: Field required"),
    ({"tools": [{"name": "a", "input_schema": {}}]}, "tools.0.custom.input_schema.type: Field required"),
    ({"tools": [CLOCK, CLOCK]}, "Tool names must be unique"),
    ({"tool_choice": {"type": "any"}}, "tool_choice may only be specified while providing tools"),
    ({"tools": [CLOCK], "tool_choice": {"type": "tool", "name": "other"}}, "Tool 'other' not found"),
    ({"thinking": {"type": "enabled", "budget_tokens": 100}}, "greater than or equal to 1024"),
    ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, "`max_tokens` must be greater than `thinking.budget_tokens`"),
    ({"thinking": THINKING, "temperature": 0}, "`temperature` may only be set to 1"),
    ({"thinking": THINKING, "tools": [CLOCK], "tool_choice": {"type": "any"}}, "Thinking may not be enabled when tool_choice forces"),
    ({"cache_control": {"type": "ephemeral"}, "system": [{**TEXT, "cache_control": {"type": "ephemeral"}}] * 4}, "A maximum of 4 blocks"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES)
async def test_mistakes_are_refused_in_the_services_words(sim, change, message):
    fields = {name: value for name, value in {**ask("hi"), **change}.items() if value is not None}
    async with sim.http() as client:
        answer = await client.post("/v1/messages", json=fields, headers=VERSION)
    assert answer.status_code == 400
    body = answer.json()
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert message in body["error"]["message"]
    assert body["request_id"] == answer.headers["request-id"]


async def test_fields_of_a_beta_need_its_header_and_requests_a_version(sim):
    async with sim.http() as client:
        fields = ask("hi", context_management={"edits": []})
        assert (await client.post("/v1/messages", json=fields, headers={**VERSION, "anthropic-beta": "x"})).status_code == 200
        bare = await client.post("/v1/messages", json=ask("hi"))
    assert (bare.status_code, bare.json()["error"]["message"]) == (400, "anthropic-version: header is required")


async def test_keys_are_asked_for_in_its_own_header(start):
    async with start(Settings(require_key="sk-right")) as sim:
        async with sim.anthropic("sk-wrong") as client:
            with pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"):
                await client.messages.create(**ask("hi"))
        async with sim.anthropic("sk-right") as client:
            assert (await client.messages.create(**ask("hi"))).stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("fault", "error", "kind"),
    [
        ("400", anthropic.BadRequestError, "invalid_request_error"),
        ("401", anthropic.AuthenticationError, "authentication_error"),
        ("403", anthropic.PermissionDeniedError, "permission_error"),
        ("404", anthropic.NotFoundError, "not_found_error"),
        ("413", anthropic.APIStatusError, "request_too_large"),
        ("429=3s", anthropic.RateLimitError, "rate_limit_error"),
        ("500", anthropic.InternalServerError, "api_error"),
        ("504", anthropic.APIStatusError, "timeout_error"),
        ("529", anthropic.APIStatusError, "overloaded_error"),
        ("context_length", anthropic.BadRequestError, "invalid_request_error"),
        ("content_filter", anthropic.BadRequestError, "invalid_request_error"),
        ("quota", anthropic.BadRequestError, "invalid_request_error"),
        ("400;code=strange_error", anthropic.BadRequestError, "strange_error"),
    ],
)
async def test_each_error_is_the_sdks_exception_in_this_languages_envelope(sim, fault, error, kind):
    async with sim.anthropic() as client:
        with pytest.raises(error) as caught:
            await client.messages.create(**{**ask("hi"), "model": "sim+" + fault})
    assert caught.value.body["error"]["type"] == kind
    assert caught.value.body["request_id"] == caught.value.request_id
    assert caught.value.response.headers.get("retry-after") == ("3" if fault == "429=3s" else None)


async def test_an_error_inside_a_stream_is_its_error_event(sim):
    wire = await sim.wire("sim+error_event=4;status=529", path="/v1/messages", stream=True, max_tokens=99, messages=ASK, headers=VERSION)
    assert wire.complete
    assert wire.events[-1].startswith(b"event: error\ndata: {")
    assert orjson.loads(wire.events[-1].split(b"data: ")[1])["error"] == {"type": "overloaded_error", "message": "Overloaded"}
    assert len(wire.events) == 5
    async with sim.anthropic() as client:
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            await streamed(client, {**ask("hi"), "model": "sim+error_event=4;status=529"})


async def faulty(sim, fault, stream=True):
    return await sim.wire("sim", fault=fault, path="/v1/messages", stream=stream, max_tokens=99, messages=ASK, headers=VERSION)


async def test_faults_have_their_meaning_here(sim):
    good = bodies(await faulty(sim, ""))
    assert bodies(await faulty(sim, "no_done")) == good[:-1]
    assert bodies(await faulty(sim, "cut=5")) == good[:5]
    assert bodies(await faulty(sim, "truncate=999")) == good[:-1]
    counted = [body for body in bodies(await faulty(sim, "no_usage")) if "usage" in body or "usage" in body.get("message", {})]
    assert counted == []
    assert "usage" not in (await faulty(sim, "no_usage", stream=False)).json
    assert bodies(await faulty(sim, "finish=refusal"))[-2]["delta"]["stop_reason"] == "refusal"
    assert (await faulty(sim, "finish=pause_turn", stream=False)).json["stop_reason"] == "pause_turn"
    huge = [b["delta"]["text"] for b in bodies(await faulty(sim, "huge_line=64k")) if b["type"] == "content_block_delta"]
    assert (len(huge), max(map(len, huge))) == (len([b for b in good if b["type"] == "content_block_delta"]) + 1, 65536)
    broken = (await faulty(sim, "garbage_json=3")).events[3]
    assert broken.startswith(b'event: content_block_delta\ndata: {"type":')
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(broken.split(b"data: ")[1])
    error = (await faulty(sim, "error_200;status=529", stream=False))
    assert (error.status, error.json["error"]["type"]) == (200, "overloaded_error")
    assert (await faulty(sim, "comments=2")).events[:2] == [b": PROCESSING"] * 2
    assert b"\r\n" in (await faulty(sim, "crlf")).body


async def test_an_endless_stream_repeats_its_first_words(start):
    async with start(Settings(stream_events_max=50)) as sim:
        last = bodies(await faulty(sim, "endless"))[-40:]
    assert all(body == last[0] for body in last)
    assert last[0]["delta"]["type"] == "text_delta"
