"""What is asked of Anthropic is what its API accepts; what it cannot say is noted, what would change the meaning is refused."""

import json

import attrs
import pytest
from anthropic_values import PLAIN, SONNET

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Message, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects import gemini_embedding
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.codec import Target, Written

USER = Message("user", (Text("Hello"),))
TOOL = Tool("f", "d", {"type": "object", "properties": {}})


def written(conversation, target=SONNET):
    found = ANTHROPIC.write_request(conversation, target)
    assert isinstance(found, Written), found
    return json.loads(found.body), found.dropped


def body_of(target=SONNET, **fields):
    return written(attrs.evolve(PLAIN, **fields), target)


def refused(**fields) -> Fault:
    found = ANTHROPIC.write_request(attrs.evolve(PLAIN, **fields), SONNET)
    assert isinstance(found, Fault), found
    assert found.kind is FaultKind.BAD_REQUEST
    return found


def turns_of(*messages):
    return body_of(messages=messages)[0]["messages"]


def test_a_plain_request_has_the_bound_that_the_language_demands():
    body, dropped = written(PLAIN)
    assert body == {"model": "claude-sonnet-4-6", "max_tokens": 4096, "messages": [{"role": "user", "content": "Hello"}]}
    assert dropped == ()


def test_the_bound_on_the_answer_is_the_models_own_where_the_caller_gave_none_or_a_higher_one():
    assert body_of(Target("claude-opus-4-1"))[0]["max_tokens"] == 32_000
    assert body_of(Target("claude-sonnet-5"))[0]["max_tokens"] == 128_000
    assert body_of(Target("glm-4.6"))[0]["max_tokens"] == 4_096
    assert body_of(Target("claude-opus-4-1"), max_tokens=50_000)[0]["max_tokens"] == 32_000
    assert body_of(Target("claude-opus-4-1"), max_tokens=50_000)[1] == ("max_tokens: above 32000",)
    assert body_of(Target("claude-opus-4-1"), max_tokens=50_000, family="anthropic")[0]["max_tokens"] == 50_000  # may be a beta
    assert body_of(Target("glm-4.6"), max_tokens=50_000)[0]["max_tokens"] == 50_000


def test_thinking_that_cannot_be_switched_off_is_as_little_as_can_be():
    body, dropped = body_of(Target("claude-opus-5-5"), reasoning=ReasoningWish(effort="none"))
    assert ("thinking" in body, body["output_config"], dropped) == (False, {"effort": "low"}, ("reasoning.enabled",))


def test_neighbours_of_one_side_are_one_turn():
    turns = turns_of(USER, Message("user", (Text("there"),)), Message("assistant", (Text("Hi"),)), Message("assistant", (Text("!"),)), USER)
    assert turns == [
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "text", "text": "there"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}]},
        {"role": "user", "content": "Hello"},
    ]


def test_results_stand_right_after_their_calls_and_before_words():
    calls = Message("assistant", (ToolCall("c1", "f", '{"a": 1.0}'), ToolCall("c 2", "g")))
    results = (
        Message("user", (Text("wait"),)),
        Message("tool", (ToolResult("c 2", (Text("two"),), is_error=True),)),
        Message("tool", (ToolResult("c1"),)),
    )
    turns = turns_of(USER, calls, *results)
    assert [block["type"] for block in turns[2]["content"]] == ["tool_result", "tool_result", "text"]
    assert turns[2]["content"][0] == {
        "type": "tool_result", "tool_use_id": turns[1]["content"][1]["id"], "content": "two", "is_error": True,
    }  # fmt: skip
    assert turns[1]["content"][0] == {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1.0}}
    assert turns[1]["content"][1]["input"] == {}
    assert " " not in turns[1]["content"][1]["id"]


def test_arguments_keep_the_models_own_spelling():
    calls = Message("assistant", (ToolCall("c1", "f", '{"b": 1.00, "a":12345678901234567890123}'),))
    found = ANTHROPIC.write_request(attrs.evolve(PLAIN, messages=(USER, calls)), SONNET)
    assert b'{"b": 1.00, "a":12345678901234567890123}' in found.body


@pytest.mark.parametrize("arguments", ["[77]", "nonsense", '"x"', '{"a":', "NaN", '{"a":"\ud800"}'])
def test_arguments_that_are_no_object_are_wrapped_in_one_as_anthropic_advises(arguments):
    body, dropped = body_of(messages=(USER, Message("assistant", (Text("x"), ToolCall("c1", "f", arguments)))))
    assert body["messages"][1]["content"][1]["input"] == {"INVALID_JSON": arguments.replace("\ud800", "\ufffd")}
    assert dropped == ("messages[1].parts[1].arguments: no JSON object, wrapped in one",)


def test_ids_that_a_vendor_gives_in_every_answer_anew_are_told_apart_with_their_results():
    again = Message("assistant", (ToolCall("call_0", "f"), ToolCall("call_0", "g"), ToolCall("", "h"), ToolCall("", "i")))
    results = Message("tool", tuple(ToolResult(one, (Text(str(place)),)) for place, one in enumerate(("call_0", "call_0", "", "", "lost"))))
    turns = turns_of(USER, Message("assistant", (ToolCall("call_0", "f"),)), Message("tool", (ToolResult("call_0"),)), again, results)
    calls, answers = turns[3]["content"], turns[4]["content"]
    assert [one["tool_use_id"] for one in answers[:4]] == [one["id"] for one in calls]
    assert len({turns[1]["content"][0]["id"], *(one["id"] for one in calls)}) == 5
    assert (turns[1]["content"][0]["id"], turns[2]["content"][0]["tool_use_id"]) == ("call_0", "call_0")
    assert answers[4]["tool_use_id"] == "lost"


def test_empty_words_are_left_out_and_a_prefill_ends_without_white_space():
    turns = turns_of(
        Message("user", (Text(""), Text(" \n"), Text("a"))),
        Message("assistant", (Text(""),)),
        Message("user", ()),
        Message("assistant", (Text("{ \n"),)),
    )
    assert turns == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "{"}]


def test_system_messages_come_first_and_a_lost_place_is_noted():
    system, developer = Message("system", (Text("A"),)), Message("developer", (Text("B", cache="1h"),))
    body, dropped = body_of(messages=(system, developer, USER, Message("system", (Text("C"),))))
    assert body["system"] == [
        {"type": "text", "text": "A"}, {"type": "text", "text": "B", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "C"},
    ]  # fmt: skip
    assert dropped == ("messages[3]: place of a system message",)
    assert body_of(messages=(system, USER))[0]["system"] == "A"


def test_a_system_prompt_alone_is_said_by_the_user():
    body, dropped = body_of(messages=(Message("system", (Text("Tell a joke"),)),))
    assert body["messages"] == [{"role": "user", "content": "Tell a joke"}]
    assert "system" not in body
    assert len(dropped) == 1
    assert refused(messages=()).param == "messages"


def test_reasoning_goes_back_to_its_maker_only():
    said = (
        Reasoning("mine", seal=Seal("anthropic", "sig")), Reasoning(seal=Seal("anthropic", "all"), hidden=True), Reasoning("unsigned"),
        Reasoning("theirs", seal=Seal("openai", "x")), ToolCall("c1", "f", "{}", seal=Seal("gemini", "y")),
        Text("z", seal=Seal("gemini", "y")),
        Refusal("no"),
    )  # fmt: skip
    body, dropped = body_of(messages=(USER, Message("assistant", said)))
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "mine", "signature": "sig"}, {"type": "redacted_thinking", "data": "all"},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {}}, {"type": "text", "text": "z"}, {"type": "text", "text": "no"},
    ]  # fmt: skip
    assert dropped == (
        "messages[1].parts[2]: unsigned reasoning", "messages[1].parts[3]: sealed reasoning of openai",
        "messages[1].parts[4]: sealed reasoning of gemini", "messages[1].parts[5]: sealed reasoning of gemini",
    )  # fmt: skip


MEDIA = [
    (Media("image", "", "iVBORw0KGgo="),
     {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}),
    (Media("image", "", "/9j/4AAQ"), {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/4AAQ"}}),
    (Media("image", url="https://a/b"), {"type": "image", "source": {"type": "url", "url": "https://a/b"}}),
    (Media("document", "text/csv; charset=utf-8", "YSxi"),
     {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}}),
    (Media("document", "application/pdf", "aGk=", name="T", cites=True, cache="5m"),
     {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}, "title": "T",
      "citations": {"enabled": True}, "cache_control": {"type": "ephemeral"}}),
]  # fmt: skip


@pytest.mark.parametrize(("media", "block"), MEDIA)
def test_pictures_and_documents(media, block):
    assert turns_of(Message("user", (media,)))[0]["content"] == [block]


@pytest.mark.parametrize("media", [
    Media("audio", "audio/wav", "aGk="), Media("video", url="https://a"), Media("document", "application/msword", "aGk="),
    Media("document", "text/plain", "not base64!"),
])  # fmt: skip
def test_what_the_models_do_not_take_is_refused_by_path(media):
    assert refused(messages=(USER, Message("user", (media,)))).param == "messages[1].parts[0]"


def test_a_picture_of_the_models_own_and_a_detail_are_noted():
    picture = Media("image", "image/png", "aGk=", detail="high")
    body, dropped = body_of(
        messages=(Message("user", (picture,)), Message("assistant", (Text("Look:"), picture)), Message("user", (Text("?"),), name="ann"))
    )
    assert dropped == ("messages[0].parts[0].detail", "messages[1].parts[1]: image", "messages[2].name")
    assert body["messages"][1]["content"] == "Look:"


def test_blocks_and_citations_of_another_family_are_noted():
    web = {"type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "c", "encrypted_index": ""}
    own = {
        "type": "page_location",
        "cited_text": "c",
        "document_index": 0,
        "document_title": None,
        "start_page_number": 1,
        "end_page_number": 2,
    }
    text = Text("x", (Citation(url="u"), Citation(raw=web), Citation(raw=own)))
    mine = Foreign("anthropic", "compaction", {"type": "compaction", "content": "s"})
    body, dropped = body_of(messages=(USER, Message("assistant", (text, Foreign("openai", "file_search_call", {}), mine))))
    assert body["messages"][1]["content"] == [{"type": "text", "text": "x", "citations": [own]}, {"type": "compaction", "content": "s"}]
    assert dropped == ("messages[1].parts[0].citations[0]", "messages[1].parts[0].citations[1]", "messages[1].parts[1]: file_search_call")


def test_tools_are_objects_and_strict_only_where_asked():
    tools = (Tool("a"), Tool("b", "d", {"properties": {}}, strict=False), Tool("c", parameters={"type": "object"}, strict=True, cache="1h"))
    assert body_of(tools=tools)[0]["tools"] == [
        {"name": "a", "input_schema": {"type": "object", "properties": {}}},
        {"name": "b", "description": "d", "input_schema": {"type": "object", "properties": {}}},
        {
            "name": "c", "input_schema": {"type": "object", "additionalProperties": False}, "strict": True,
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        },
    ]  # fmt: skip


def test_tools_that_a_provider_runs():
    search = {"type": "web_search_20250305", "name": "web_search"}
    tools = (
        Tool("web_search_20250305", server=True, family="anthropic", raw=search),
        Tool("code_interpreter", server=True, family="openai"),
    )
    body, dropped = body_of(tools=tools, tool_choice=ToolChoice("named", "web_search"))
    assert (body["tools"], body["tool_choice"]) == ([search], {"type": "tool", "name": "web_search"})
    assert dropped == ("tools[1]: code_interpreter",)


CHOICES = [
    (ToolChoice("auto"), None, {"type": "auto"}),
    (ToolChoice("required"), None, {"type": "any"}),
    (ToolChoice("none"), False, {"type": "none"}),
    (ToolChoice("named", "f"), False, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
    (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
    (None, True, None),
    (None, None, None),
]


@pytest.mark.parametrize(("choice", "parallel", "said"), CHOICES)
def test_the_choice_among_tools(choice, parallel, said):
    assert body_of(tools=(TOOL,), tool_choice=choice, parallel_tools=parallel)[0].get("tool_choice") == said


def test_a_choice_that_cannot_be_kept_is_refused():
    for choice in (ToolChoice("required"), ToolChoice("named", "f")):
        assert refused(tool_choice=choice).param == "tool_choice"
    assert refused(tools=(TOOL,), tool_choice=ToolChoice("named", "g")).param == "tool_choice"
    assert body_of(tool_choice=ToolChoice("none"))[1] == ()
    assert body_of(tool_choice=ToolChoice("auto"))[1] == ("tool_choice",)


def test_a_choice_of_some_tools_shows_the_model_no_others():
    body, _ = body_of(tools=(TOOL, Tool("g")), tool_choice=ToolChoice("required", allowed=("g",)))
    assert [tool["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == {"type": "any"}


def test_a_caller_that_reads_one_call_gets_one():
    assert body_of(tools=(TOOL,), single_call=True)[0]["tool_choice"]["disable_parallel_tool_use"] is True


OLD, MIDDLE, NEW = "claude-sonnet-4-20250514", "claude-sonnet-4-6", "claude-opus-4-8"

THINKING = [
    (OLD, ReasoningWish(effort="high"), {"type": "enabled", "budget_tokens": 16384}, None),
    (OLD, ReasoningWish(effort="minimal"), {"type": "enabled", "budget_tokens": 1024}, None),
    (OLD, ReasoningWish(enabled=True), {"type": "enabled", "budget_tokens": 8192}, None),
    ("claude-opus-4-5", ReasoningWish(effort="xhigh"), {"type": "enabled", "budget_tokens": 24576}, "high"),
    (MIDDLE, ReasoningWish(effort="high"), {"type": "adaptive"}, "high"),
    (MIDDLE, ReasoningWish(effort="xhigh", summary="auto"), {"type": "adaptive", "display": "summarized"}, "high"),
    (MIDDLE, ReasoningWish(budget_tokens=5000), {"type": "enabled", "budget_tokens": 5000}, None),
    (MIDDLE, ReasoningWish(budget_tokens=-1), {"type": "adaptive"}, None),
    (NEW, ReasoningWish(enabled=True, budget_tokens=5000), {"type": "adaptive"}, "low"),
    (NEW, ReasoningWish(effort="minimal"), {"type": "adaptive"}, "low"),
    (NEW, ReasoningWish(effort="none"), {"type": "disabled"}, None),
    (MIDDLE, ReasoningWish(budget_tokens=0), {"type": "disabled"}, None),
    (MIDDLE, ReasoningWish(sealed=True), None, None),
    ("anthropic/claude-3.7-sonnet", ReasoningWish(budget_tokens=2000), {"type": "enabled", "budget_tokens": 2000}, None),
    ("kimi-k2-thinking", ReasoningWish(effort="low"), {"type": "enabled", "budget_tokens": 2048}, None),
]


@pytest.mark.parametrize(("model", "wish", "thinking", "effort"), THINKING)
def test_how_much_to_think_in_the_models_own_terms(model, wish, thinking, effort):
    body, dropped = body_of(Target(model, 64_000), reasoning=wish)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert dropped == ()


def test_a_budget_stays_below_the_bound_on_the_answer():
    wish = ReasoningWish(enabled=True, budget_tokens=10_000)
    assert body_of(max_tokens=5000, reasoning=wish)[0]["thinking"]["budget_tokens"] == 3976
    assert body_of(max_tokens=1100, reasoning=wish)[0]["thinking"]["budget_tokens"] == 1024
    body, dropped = body_of(max_tokens=1000, reasoning=wish)
    assert "thinking" not in body
    assert dropped == ("reasoning",)


def test_thinking_gives_way_to_a_forced_tool_and_to_a_turn_that_began_without_it():
    body, dropped = body_of(tools=(TOOL,), tool_choice=ToolChoice("required"), reasoning=ReasoningWish(effort="high"))
    assert "thinking" not in body
    assert dropped == ("reasoning",)
    loop = (USER, Message("assistant", (ToolCall("c1", "f", "{}"),)), Message("tool", (ToolResult("c1"),)))
    wish = ReasoningWish(enabled=True, budget_tokens=2000)
    body, dropped = body_of(messages=loop, tools=(TOOL,), reasoning=wish)
    assert "thinking" not in body
    assert dropped == ("reasoning",)
    signed = Message("assistant", (Reasoning("hm", seal=Seal("anthropic", "s")), *loop[1].parts))
    assert body_of(messages=(USER, signed, loop[2]), tools=(TOOL,), reasoning=wish)[0]["thinking"] == {
        "type": "enabled",
        "budget_tokens": 2000,
    }


SAMPLING = [
    (SONNET.model, Sampling(0.5, 0.9, 40, stop=("END", "\n")), None,
     {"temperature": 0.5, "top_k": 40, "stop_sequences": ["END"]}, ("sampling.stop: white space", "sampling.top_p")),
    (SONNET.model, Sampling(1.7), None, {"temperature": 1.0}, ("sampling.temperature: above 1",)),
    (SONNET.model, Sampling(top_p=0.9), None, {"top_p": 0.9}, ()),
    (SONNET.model, Sampling(0.2, 0.96, 3), ReasoningWish(enabled=True), {"top_p": 0.96}, ("sampling.temperature", "sampling.top_k")),
    (NEW, Sampling(0.2, 0.9, 3), None, {}, ("sampling.temperature", "sampling.top_p", "sampling.top_k")),
    (NEW, Sampling(1, 1), None, {}, ()),
    (SONNET.model, Sampling(min_p=0.1, seed=7, presence_penalty=1, frequency_penalty=0, repetition_penalty=1, logit_bias={"5": 1.0},
                            logprobs=True, top_logprobs=2, candidates=1), None, {},
     ("sampling.min_p", "sampling.seed", "sampling.presence_penalty", "sampling.logit_bias", "sampling.logprobs", "sampling.top_logprobs")),
]  # fmt: skip


@pytest.mark.parametrize(("model", "sampling", "wish", "said", "dropped"), SAMPLING)
def test_how_to_draw_tokens(model, sampling, wish, said, dropped):
    body, noted = body_of(Target(model), sampling=sampling, reasoning=wish)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k", "stop_sequences") if name in body} == said
    assert noted == dropped


def test_several_answers_are_refused():
    assert refused(sampling=Sampling(candidates=2)).param == "n"


def test_structured_output_is_a_closed_schema():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "object", "properties": {}}}, "enum": {"enum": [{"type": "object"}]}},
    }
    body, dropped = body_of(output=OutputFormat("json_schema", schema, "answer", "how", True))
    wanted = body["output_config"]["format"]
    assert wanted["type"] == "json_schema"
    assert wanted["schema"]["additionalProperties"] is False
    assert wanted["schema"]["properties"]["a"]["items"]["additionalProperties"] is False
    assert wanted["schema"]["properties"]["enum"] == {"enum": [{"type": "object"}]}
    assert dropped == ("output.description",)
    own = body_of(output=OutputFormat("json_schema", schema), family="anthropic")[0]["output_config"]["format"]["schema"]
    assert own == schema
    deep = {"type": "object"}
    for _ in range(300):
        deep = {"type": "object", "properties": {"a": deep}}
    assert refused(output=OutputFormat("json_schema", deep)).param == "output.schema"


@pytest.mark.parametrize(
    ("schema", "said", "told"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, {"type": "integer", "description": "{minimum: 1, maximum: 9}"},
         ["maximum", "minimum"]),
        (
            {"type": "string", "description": "A", "pattern": "^a$", "format": "color"},
            {"type": "string", "description": 'A\n\n{pattern: "^a$", format: "color"}'}, ["format", "pattern"],
        ),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}, []),
        ({"type": "array", "items": {"type": "null"}, "minItems": 1}, {"type": "array", "items": {"type": "null"}, "minItems": 1}, []),
        ({"oneOf": [{"const": 1}, {"type": ["object", "null"]}]},
         {"anyOf": [{"const": 1}, {"type": ["object", "null"], "additionalProperties": False}]}, []),
        ({"type": "object", "properties": {"default": {"type": "object"}, "type": {"enum": ["a"]}}, "additionalProperties": True},
         {"type": "object", "properties": {"default": {"type": "object", "additionalProperties": False}, "type": {"enum": ["a"]}},
          "additionalProperties": False, "description": "{additionalProperties: true}"}, ["additionalProperties"]),
        ({"$schema": "x", "$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"type": "string"}}},
         {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"type": "string"}}}, []),
    ],
)  # fmt: skip
def test_a_schema_is_said_as_far_as_anthropic_enforces_it_and_the_rest_told(schema, said, told):
    body, dropped = body_of(output=OutputFormat("json_schema", schema))
    assert body["output_config"]["format"]["schema"] == said
    assert dropped == tuple(f"output.schema.{name}" for name in told)
    tool = {"type": "object", "properties": {"a": schema}} if "$defs" not in schema else {"type": "object", **schema}
    body, dropped = body_of(tools=(Tool("f", parameters=tool, strict=True),))
    assert body["tools"][0]["strict"] is True
    assert dropped == tuple(f"tools[0].parameters.{name}" for name in told)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": {"type": "string"}}, {"type": "object", "properties": {"a": True}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"more": {"$ref": "#/$defs/a"}}}}},
        {"type": "object", "properties": {"a": {"$ref": "#"}}}, {"$ref": "https://x.test/schema"},
    ],
)  # fmt: skip
def test_a_schema_that_would_mean_something_else_is_asked_for_in_words(schema):
    body, dropped = body_of(output=OutputFormat("json_schema", schema))
    assert "output_config" not in body
    assert json.loads(body["system"].partition("\n")[2]) == schema
    assert dropped == ("output: the schema is asked for in words",)
    body, dropped = body_of(tools=(Tool("f", parameters={"type": "object", **schema}, strict=True),))
    assert ("strict" in body["tools"][0], dropped) == (False, ("tools[0].strict",))


@pytest.mark.parametrize("model", ["claude-3-7-sonnet-20250219", "claude-sonnet-4-20250514", "kimi-k2-0905"])
def test_a_model_that_cannot_be_held_to_a_schema_is_asked_in_words(model):
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    body, dropped = body_of(Target(model), output=OutputFormat("json_schema", schema), tools=(Tool("f", parameters=schema, strict=True),))
    assert "output_config" not in body
    assert "strict" not in body["tools"][0]
    assert dropped == ("tools[0].strict", "output: the schema is asked for in words")


@pytest.mark.parametrize(("told", "data", "said"), [
    ("image/jpg", "xxxx", "image/jpeg"), ("image/png", "/9j/4AAQ", "image/jpeg"), ("IMAGE/WEBP; q=1", "xx", "image/webp"),
    ("", "xx", "image/png"), ("image/heic", "xx", "image/heic"),
])  # fmt: skip
def test_a_picture_is_said_to_be_what_it_is(told, data, said):
    turns = turns_of(Message("user", (Media("image", told, data),)))
    assert turns[0]["content"][0]["source"]["media_type"] == said


def test_an_assistant_that_speaks_first_is_asked_to():
    turns = turns_of(Message("assistant", (Text("How may I help?"),)), USER)
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"].strip()


def test_an_answer_that_the_caller_began_goes_on_without_thinking():
    begun = (USER, Message("assistant", (Text("{"),)))
    body, dropped = body_of(Target("claude-sonnet-4-5"), messages=begun, reasoning=ReasoningWish(effort="high"))
    assert ("thinking" in body, dropped) == (False, ("reasoning",))


def test_any_json_is_asked_for_in_words():
    body, dropped = body_of(output=OutputFormat("json_object"))
    assert "JSON" in body["system"]
    assert len(dropped) == 1


def test_fields_of_one_family_are_said_again_and_others_noted():
    extra = {"context_management": {"edits": []}, "output_config": {"task_budget": {"total": 1}}}
    body, dropped = body_of(extra=extra, family="anthropic", reasoning=ReasoningWish(effort="low"))
    assert body["context_management"] == {"edits": []}
    assert body["output_config"] == {"task_budget": {"total": 1}, "effort": "low"}
    assert dropped == ()
    assert body_of(extra={"store_it": 1}, family="openai")[1] == ("store_it",)


def test_what_else_is_said_and_what_is_noted():
    body, dropped = body_of(user="u", metadata={"a": "b"}, cache_key="k", verbosity="low", service_tier="flex", store=True, stream=True)
    assert (body["metadata"], body["stream"]) == ({"user_id": "u"}, True)
    assert dropped == ("service_tier", "metadata", "cache_key", "verbosity", "store")
    assert body_of(service_tier="default")[0]["service_tier"] == "standard_only"
    assert refused(previous="resp_1").param == "previous_response_id"
    assert refused(modalities=("text", "audio")).param == "modalities"


def test_fields_that_a_vendor_refuses_or_calls_otherwise():
    target = Target("m", drop=("top_k",), rename={"max_tokens": "max_output"})
    body, dropped = body_of(target, sampling=Sampling(top_k=3))
    assert "top_k" not in body
    assert "max_tokens" not in body
    assert body["max_output"] == 4096
    assert dropped == ("sampling.top_k",)


def test_a_count_asks_for_no_answer():
    conversation = attrs.evolve(
        PLAIN, stream=True, tools=(TOOL,), sampling=Sampling(0.5, stop=("x",)), user="u", messages=(Message("system", (Text("s"),)), USER)
    )
    found = ANTHROPIC.write_count(conversation, SONNET)
    assert json.loads(found.body).keys() == {"model", "system", "messages", "tools"}
    assert ANTHROPIC.read_count_answer(b'{"input_tokens": 14}') == 14
    assert ANTHROPIC.write_count_answer(14) == b'{"input_tokens":14}'
    for broken in (b"", b"[]", b'{"input_tokens": "x"}', b'{"input_tokens": -1}'):
        assert ANTHROPIC.read_count_answer(broken).kind is FaultKind.PROTOCOL
    assert ANTHROPIC.read_count_answer(b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}').kind is FaultKind.OVERLOADED


def test_an_estimate_grows_with_what_is_sent():
    assert ANTHROPIC.estimate(PLAIN) == 1
    longer = Conversation("m", (Message("user", (Text("x" * 4000), Media("image", url="u"))),), tools=(TOOL,))
    assert 2500 < ANTHROPIC.estimate(longer) < 2600


@pytest.mark.parametrize(("text", "tokens"), [("word " * 80, 100), ("слово " * 40, 110), ("你好世界" * 100, 300), ("\ud83d" * 4, 3)])
def test_an_estimate_counts_bytes_for_a_script_has_several_a_character(text, tokens):
    """As an answer's does, so that prompt and answer of the same words are estimated alike."""
    assert ANTHROPIC.estimate(Conversation("m", (Message("user", (Text(text),)),))) == tokens
    calls = (ToolCall("c", text, text), ToolResult("c", (Text(text),)), Media("document", data=text, plain=True))
    assert ANTHROPIC.estimate(Conversation("m", (Message("user", calls),))) // 4 == tokens
    assert gemini_embedding.estimate({"content": {"parts": [{"text": text}]}}) == tokens
