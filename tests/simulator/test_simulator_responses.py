"""OpenAI's Responses: the official SDK accepts every shape, conversations are held to the service's rules, faults mean what they mean."""

import openai
import orjson
import pytest

from appliance.simulator.settings import Settings

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Says the weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 3}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
    "strict": True,
}
CLOCK = {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}}
PATCH = {"type": "custom", "name": "apply_patch"}
THINKING = {"effort": "low", "summary": "auto"}
SEAL = ["reasoning.encrypted_content"]


def ask(asked, **fields):
    return {"model": "sim", "input": asked, **fields}


def part(kind, **fields):
    return {"type": kind, **fields}


def shown(response):
    """The output as JSON, without what the SDK parsed out of it, and without what it leaves unset."""
    parsed = {"parsed_arguments": True, "content": {"__all__": {"parsed"}}}
    return [item.model_dump(exclude_unset=True, exclude=parsed) for item in response.output]


async def streamed(client, request):
    """The events as they came, and the response that the SDK made of them."""
    async with client.responses.stream(**request) as stream:
        events = [event async for event in stream]
        return events, await stream.get_final_response()


def bodies(wire):
    return [orjson.loads(e.split(b"data: ")[1]) for e in wire.events]


async def events_of(sim, request, fault=""):
    return await sim.wire(path="/v1/responses", stream=True, fault=fault, **request)


async def test_a_whole_response_has_the_shape_of_the_service(sim):
    async with sim.openai() as client:
        said = await client.responses.create(**ask("Tell me something.", instructions="Be brief"))
    (item,) = said.output
    assert (said.object, said.status, said.error, said.incomplete_details) == ("response", "completed", None, None)
    assert said.id.startswith("resp_")
    assert (item.type, item.role, item.status) == ("message", "assistant", "completed")
    assert item.id.startswith("msg_")
    assert (item.content[0].type, item.content[0].annotations) == ("output_text", [])
    assert said.output_text == item.content[0].text
    assert said.usage.total_tokens == said.usage.input_tokens + said.usage.output_tokens
    assert (said.instructions, said.store, said.tool_choice, said.tools) == ("Be brief", True, "auto", [])


async def test_the_same_question_says_the_same_and_counts_the_same_as_in_openais_chat(sim):
    function = {name: WEATHER[name] for name in ("name", "description", "parameters")}
    calls = [{"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": '{"zone": "UTC"}'}}]
    picture = "data:image/png;base64,AAAA"
    low = {"url": picture, "detail": "low"}
    chat = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "call get_time"},
        {"role": "assistant", "content": "Wait.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": low}]},
    ]
    items = [
        {"role": "user", "content": "call get_time"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Wait."}]},
        {"type": "function_call", "call_id": "call_1", "name": "get_time", "arguments": '{"zone":"UTC"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "noon"},
        {"role": "user", "content": [part("input_text", text="hi"), part("input_image", image_url=picture, detail="low")]},
    ]
    async with sim.openai() as client:
        one = await client.chat.completions.create(
            model="sim", messages=chat, tools=[{"type": "function", "function": function}], reasoning_effort="low"
        )
        two = await client.responses.create(**ask(items, instructions="Be brief.", tools=[WEATHER], reasoning=THINKING))
        counted = await client.responses.input_tokens.count(model="sim", input=items, instructions="Be brief.", tools=[WEATHER])
    assert two.output_text == one.choices[0].message.content
    assert two.output[0].summary[0].text == one.choices[0].message.model_extra["reasoning_content"]
    assert (two.usage.input_tokens, two.usage.output_tokens) == (one.usage.prompt_tokens, one.usage.completion_tokens)
    assert two.usage.output_tokens_details.reasoning_tokens == 16
    assert counted.input_tokens == two.usage.input_tokens


async def test_a_stream_has_the_whole_cycle_of_events_numbered_and_indexed_and_folds_to_the_whole_response(sim):
    request = ask("call both tools [[say=Looking.]]", tools=[WEATHER, PATCH], reasoning=THINKING, include=SEAL)
    async with sim.openai() as client:
        whole = await client.responses.create(**request)
        _, folded = await streamed(client, request)
    assert [item.type for item in whole.output] == ["reasoning", "message", "function_call", "custom_tool_call"]
    assert shown(folded) == shown(whole)
    assert (folded.id, folded.usage) == (whole.id, whole.usage)
    events = bodies(await events_of(sim, request))
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    names = [e["type"].removeprefix("response.") for e in events]
    order = [name for i, name in enumerate(names) if not (name.endswith("delta") and names[i - 1] == name)]
    assert order == [
        "created", "in_progress",
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.done",
        "reasoning_summary_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    ids = [item.id for item in whole.output]
    for event in events:
        if "item_id" in event:
            assert event["item_id"] == ids[event["output_index"]]
            assert event.get("content_index", event.get("summary_index", 0)) == 0
    assert (events[0]["response"]["status"], events[0]["response"]["output"], events[0]["response"]["usage"]) == ("in_progress", [], None)
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == done
    assert all(e.get("obfuscation") for e in events if e["type"].endswith(".delta"))
    bare = bodies(await events_of(sim, {**request, "stream_options": {"include_obfuscation": False}}))
    assert not any("obfuscation" in e for e in bare)


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("auto", []),
        ("none", []),
        ("required", ["get_weather"]),
        ({"type": "function", "name": "get_time"}, ["get_time"]),
        ({"type": "custom", "name": "apply_patch"}, ["apply_patch"]),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_time"}]}, ["get_time"]),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_time"}]}, []),
    ],
)
async def test_tool_choice_is_kept_in_every_form(sim, choice, names):
    tools = [WEATHER, CLOCK, PATCH]
    async with sim.openai() as client:
        said = await client.responses.create(**ask("hello", tools=tools, tool_choice=choice))
        one = await client.responses.create(**ask("call them in parallel", tools=tools, parallel_tool_calls=False))
    assert [i.name for i in said.output if i.type in ("function_call", "custom_tool_call")] == names
    assert [i.name for i in one.output] == ["get_weather"]


async def loop(client, request, follow):
    """Three turns, each call answered with its output; `follow` makes the next request of the last one, its response and the outputs."""
    said = []
    for text in ("rain [[calls=1]]", "late [[calls=1]]", "done"):
        said.append(await client.responses.create(**request))
        calls = [item for item in said[-1].output if item.type in ("function_call", "custom_tool_call")]
        outputs = [{"type": f"{c.type}_output", "call_id": c.call_id, "output": text} for c in calls]
        request = follow(request, said[-1], outputs)
    return [*said, await client.responses.create(**request)]


def resent(request, response, outputs):
    return {**request, "input": [*request["input"], *response.model_dump(exclude_unset=True)["output"], *outputs]}


def referring(request, response, outputs):
    return {**request, "previous_response_id": response.id, "input": outputs}


async def test_a_loop_of_tools_comes_to_the_same_end_resent_or_referred_to(sim):
    start = {**ask([{"role": "user", "content": "call get_time"}]), "tools": [CLOCK, PATCH], "reasoning": THINKING}
    async with sim.openai() as client:
        alone = await loop(client, {**start, "store": False, "include": SEAL}, resent)
        kept = await loop(client, start, resent)
        referred = await loop(client, start, referring)
    assert [r.output_text for r in alone] == ["", "", "", "The tool answered: done"]
    for other in (kept, referred):
        assert [(r.output_text, r.usage) for r in other] == [(r.output_text, r.usage) for r in alone]
        assert [i.name for r in other for i in r.output if i.type == "function_call"] == ["get_time"] * 3
    assert referred[-1].previous_response_id == referred[-2].id


async def test_instructions_are_not_carried_over(sim):
    async with sim.openai() as client:
        first = await client.responses.create(**ask("hi", instructions="one two three"))
        second = await client.responses.create(**ask("go on", previous_response_id=first.id))
    # 3 to open; 3 a message; hi, the answer, go on
    assert second.usage.input_tokens == 3 + 3 * 3 + 1 + first.usage.output_tokens + 2


async def test_what_is_not_kept_cannot_be_referred_to(sim, start):
    async with sim.openai() as client:
        unkept = await client.responses.create(**ask("hi", store=False, reasoning=THINKING))
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(**ask("go on", previous_response_id=unkept.id))
        assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")
        items = [*unkept.model_dump(exclude_unset=True)["output"], {"role": "user", "content": "and"}]
        with pytest.raises(openai.NotFoundError, match="Items are not persisted when `store` is set to false"):
            await client.responses.create(**ask(items, store=False))
    async with start(Settings(responses_max=2)) as small, small.openai() as client:
        ids = [(await client.responses.create(**ask(text))).id for text in ("one", "two", "three")]
        await client.responses.create(**ask("go on", previous_response_id=ids[1]))
        with pytest.raises(openai.BadRequestError, match="not found"):
            await client.responses.create(**ask("go on", previous_response_id=ids[0]))


async def test_sealed_reasoning_is_verified_and_only_the_finished_seal_counts(sim):
    request = ask([{"role": "user", "content": "call get_time"}], tools=[CLOCK], reasoning=THINKING, store=False, include=SEAL)
    added = next(e["item"] for e in bodies(await events_of(sim, request)) if e["type"] == "response.output_item.added")
    async with sim.openai() as client:
        said = await client.responses.create(**request)
        thought, called = said.model_dump(exclude_unset=True)["output"]
        output = {"type": "function_call_output", "call_id": called["call_id"], "output": "noon"}

        async def again(*items):
            return await client.responses.create(**{**request, "input": [*request["input"], *items, output]})

        assert (await again(thought, called)).output_text == "The tool answered: noon"
        assert (await again(called)).output_text == "The tool answered: noon"  # without any is allowed where nothing is kept
        for seal in (added["encrypted_content"], "gAAAAABforged", thought["encrypted_content"][:-4] + "AAAA"):
            with pytest.raises(openai.BadRequestError, match="could not be verified") as caught:
                await again({**thought, "encrypted_content": seal}, called)
            assert caught.value.code == "invalid_encrypted_content"
        with pytest.raises(openai.BadRequestError, match="without its required following item"):
            await again(called, thought)


async def test_a_kept_call_does_not_come_back_without_its_reasoning(sim):
    request = ask([{"role": "user", "content": "call get_time"}], tools=[CLOCK], reasoning=THINKING)
    async with sim.openai() as client:
        thought, called = (await client.responses.create(**request)).model_dump(exclude_unset=True)["output"]
        output = {"type": "function_call_output", "call_id": called["call_id"], "output": "noon"}
        with pytest.raises(openai.BadRequestError, match=f"without its required 'reasoning' item: '{thought['id']}'"):
            await client.responses.create(**{**request, "input": [*request["input"], called, output]})
        references = [{"type": "item_reference", "id": item["id"]} for item in (thought, called)]
        assert (await client.responses.create(**{**request, "input": [*request["input"], *references, output]})).status == "completed"
        with pytest.raises(openai.NotFoundError, match="Item with id 'rs_none' not found"):
            await client.responses.create(**ask([{"type": "item_reference", "id": "rs_none"}]))


async def test_reasoning_is_counted_but_not_shown_without_a_summary(sim):
    async with sim.openai() as client:
        said = await client.responses.create(**ask("hi", reasoning={"effort": "high"}))
        _, folded = await streamed(client, ask("hi", reasoning={"effort": "high"}))
    assert said.output[0].summary == []
    assert said.usage.output_tokens_details.reasoning_tokens == 64
    assert shown(folded) == shown(said)


async def test_the_limit_makes_a_response_incomplete(sim):
    async with sim.openai() as client:
        short = await client.responses.create(**ask("[[tokens=50]]", max_output_tokens=16))
        stream = await client.responses.create(**ask("[[tokens=50]]", max_output_tokens=16), stream=True)
        last = [event async for event in stream][-1]
        thinking = await client.responses.create(**ask("hi", max_output_tokens=16, reasoning={"effort": "high"}))
    assert (short.status, short.incomplete_details.reason, short.output[0].status) == ("incomplete", "max_output_tokens", "incomplete")
    assert short.usage.output_tokens == 16
    assert (last.type, last.response.output) == ("response.incomplete", short.output)
    assert [item.type for item in thinking.output] == ["reasoning"]


async def test_structured_answers_fit_their_schema(sim):
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"], "additionalProperties": False}
    wanted = {"type": "json_schema", "name": "person", "schema": schema, "strict": True}
    async with sim.openai() as client:
        strict = await client.responses.create(**ask("hi", text={"format": wanted}))
        loose = await client.responses.create(**ask("hi", text={"format": {"type": "json_object"}}))
    assert isinstance(orjson.loads(strict.output_text)["age"], int)
    assert isinstance(orjson.loads(loose.output_text), dict)
    assert strict.text.format.name == "person"


async def test_log_probabilities_come_when_included(sim):
    request = ask("hi", include=["message.output_text.logprobs"], top_logprobs=2)
    async with sim.openai() as client:
        said = await client.responses.create(**request)
        events, _ = await streamed(client, request)
    logprobs = said.output[0].content[0].logprobs
    assert "".join(entry.token for entry in logprobs) == said.output_text
    assert all(len(entry.top_logprobs) == 2 for entry in logprobs)
    assert [e.logprobs[0].token for e in events if e.type == "response.output_text.delta"] == [entry.token for entry in logprobs]


def said(role, *parts):
    return {"input": [{"role": role, "content": list(parts)}]}


CALLED = {"type": "function_call", "call_id": "call_1", "name": "get_time", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "noon"}
MISTAKES = [
    ({"messages": []}, "Unknown parameter: 'messages'.", "messages"),
    ({"model": None}, "Missing required parameter: 'model'.", "model"),
    ({"input": None}, "Missing required parameter: 'input'.", "input"),
    ({"input": []}, "empty array", "input"),
    ({"max_output_tokens": 5}, "Expected a value >= 16, but got 5 instead.", "max_output_tokens"),
    ({"include": ["thoughts"]}, "Invalid value: 'thoughts'", "include[0]"),
    ({"reasoning": {"effort": "huge"}}, "Invalid value: 'huge'", "reasoning.effort"),
    ({"input": [{"role": "tool", "content": "x"}]}, "Invalid value: 'tool'", "input[0].role"),
    (said("user", part("text", text="x")), "Invalid value: 'text'", "input[0].content[0].type"),
    (said("assistant", part("input_text", text="x")), "Invalid value: 'input_text'", "input[0].content[0].type"),
    (said("user", part("input_image", image_url={"url": "x"})), "expected a string", "input[0].content[0].image_url"),
    ({"input": [{"type": "tool_use"}]}, "Invalid value: 'tool_use'", "input[0].type"),
    ({"input": [CALLED]}, "No tool output found for function call call_1.", "input"),
    ({"input": [OUTPUT]}, "No tool call found for function call output with call_id call_1.", "input"),
    ({"input": [{**CALLED, "id": "call_1"}, OUTPUT]}, "Expected an ID that begins with 'fc'.", "input[0].id"),
    ({"input": [{"type": "custom_tool_call", "call_id": "call_1", "name": "x", "input": "y"}, OUTPUT]}, "No tool call found", "input"),
    ({"previous_response_id": "msg_1"}, "Expected an ID that begins with 'resp'.", "previous_response_id"),
    ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "Missing required parameter: 'tools[0].name'.", "tools[0].name"),
    ({"tools": [{**CLOCK, "strict": True}]}, "'additionalProperties' is required to be supplied and to be false", "tools[0].parameters"),
    ({"tools": [{"type": "browser"}]}, "Invalid value: 'browser'", "tools[0].type"),
    ({"tools": [CLOCK], "tool_choice": part("function", function={"name": "get_time"})}, "Missing required", "tool_choice.name"),
    ({"tools": [CLOCK], "tool_choice": part("function", name="x")}, "Tool choice 'x' not found in 'tools' parameter.", "tool_choice"),
    ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "Missing required parameter: 'text.format.name'.", "text.format.name"),
    ({"background": True}, "not simulated", "background"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message", "param"), MISTAKES)
async def test_mistakes_are_refused_in_the_services_words(sim, change, message, param):
    fields = {name: value for name, value in {**ask("hi"), **change}.items() if value is not None}
    async with sim.http() as client:
        answer = await client.post("/v1/responses", json=fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert message in error["message"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("401", openai.AuthenticationError),
        ("429", openai.RateLimitError),
        ("503", openai.InternalServerError),
        ("context_length", openai.BadRequestError),
        ("quota", openai.RateLimitError),
        ("cut", openai.APIConnectionError),
    ],
)
async def test_each_error_becomes_the_exception_of_the_sdk(sim, fault, error):
    async with sim.openai() as client:
        with pytest.raises(error):
            await client.responses.create(**{**ask("hi"), "model": "sim+" + fault})


async def test_an_error_inside_a_stream_is_told_and_the_response_failed(sim):
    events = bodies(await events_of(sim, ask("hi"), "error_event=4;status=429"))
    assert [e["type"] for e in events[4:]] == ["error", "response.failed"]
    assert [e["sequence_number"] for e in events] == list(range(6))
    assert events[4]["error"]["code"] == events[5]["response"]["error"]["code"] == "rate_limit_exceeded"
    assert (events[5]["response"]["status"], events[5]["response"]["id"]) == ("failed", events[0]["response"]["id"])
    assert [e["type"] for e in bodies(await events_of(sim, ask("hi"), "error_event"))] == ["error"]
    async with sim.openai() as client:
        stream = await client.responses.create(**{**ask("hi"), "model": "sim+error_event=4"}, stream=True)
        with pytest.raises(openai.APIError, match="server had an error"):
            [event async for event in stream]


async def test_faults_have_their_meaning_here(sim):
    request = ask("hi")
    good = bodies(await events_of(sim, request))
    assert bodies(await events_of(sim, request, "no_done")) == good[:-1]
    assert bodies(await events_of(sim, request, "cut=5")) == good[:5]
    assert bodies(await events_of(sim, request, "truncate=999")) == good[:-1]
    assert bodies(await events_of(sim, request, "no_usage"))[-1]["response"]["usage"] is None
    whole = await sim.wire(path="/v1/responses", fault="no_usage", **request)
    assert "usage" not in whole.json
    last = bodies(await events_of(sim, request, "finish=content_filter"))[-1]
    assert (last["type"], last["response"]["incomplete_details"]) == ("response.incomplete", {"reason": "content_filter"})
    huge = bodies(await events_of(sim, request, "huge_line=64k"))
    assert (len(huge), max(len(e.get("delta", "")) for e in huge)) == (len(good) + 1, 65536)
    broken = (await events_of(sim, request, "garbage_json=4")).events[4]
    assert broken.startswith(b"event: response.output_text.delta\ndata: {")
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(broken.split(b"data: ")[1])


async def test_tokens_are_billed_as_they_are_sent_even_those_not_shown(sim):
    request = ask("call get_time", tools=[CLOCK], reasoning={"effort": "low"})
    await events_of(sim, request)
    whole = (await sim.wire(path="/v1/responses", **request)).json["usage"]
    cell = (await sim.stats())["models"]["sim"]
    assert (cell["prompt_tokens"], cell["completion_tokens"]) == (2 * whole["input_tokens"], 2 * whole["output_tokens"])
