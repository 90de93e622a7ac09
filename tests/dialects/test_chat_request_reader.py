"""Chat completion requests of callers: every field has its meaning, what does not fit is refused with its path, nothing else is lost."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Foreign, Media, Message, Reasoning, Refusal, Text, ToolCall, ToolResult
from appliance.core.seal import Seal, wrap
from appliance.dialects.chat import CHAT
from appliance.dialects.codec import Target


def asked(*messages, **fields):
    found = CHAT.read_request({"model": "m", "messages": list(messages), **fields})
    assert isinstance(found, Conversation), found
    return found


def parts(message):
    return asked(message).messages[0].parts


def refused(**fields):
    found = CHAT.read_request({"model": "m", "messages": [{"role": "user", "content": "the secret prompt"}], **fields})
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.BAD_REQUEST
    assert "secret" not in repr(found)
    return found.param


def test_a_conversation_has_its_roles():
    found = asked(
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": "Hi", "name": "Ann"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": ""},
    )
    assert found.messages == (
        Message("system", (Text("Be kind."),)), Message("developer", (Text("Be brief."),)), Message("user", (Text("Hi"),), "Ann"),
        Message("assistant", (Text("Hello"),)), Message("user"),
    )  # fmt: skip


PARTS = {
    "text": ({"type": "text", "text": "Hi"}, Text("Hi")),
    "cache mark": ({"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}, Text("Hi", cache="1h")),
    "breakpoint": ({"type": "text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}}, Text("Hi", cache="5m")),
    "image": ({"type": "image_url", "image_url": {"url": "https://i", "detail": "low"}}, Media("image", url="https://i", detail="low")),
    "image data": ({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}, Media("image", "image/png", "aGk=")),
    "image as a string": ({"type": "image_url", "image_url": "https://i"}, Media("image", url="https://i")),
    "image in percents": ({"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Cs%3E"}},
                          Media("image", "image/svg+xml", "PHM+")),
    "sound": ({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}}, Media("audio", "audio/mpeg", "aGk=")),
    "film": ({"type": "video_url", "video_url": {"url": "https://v"}}, Media("video", url="https://v")),
    "file": ({"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "a.pdf"}},
             Media("document", "application/pdf", "aGk=", name="a.pdf")),
    "bare file": ({"type": "file", "file": {"file_data": "aGk=", "filename": "a.txt"}},
                  Media("document", "text/plain", "aGk=", name="a.txt")),
    "file id": ({"type": "file", "file": {"file_id": "f-1"}}, Media("document", file_id="f-1")),
    "file link": ({"type": "file", "file": {"file_data": "https://d", "filename": "d.pdf"}},
                  Media("document", url="https://d", name="d.pdf")),
}  # fmt: skip


@pytest.mark.parametrize(("said", "meant"), PARTS.values(), ids=PARTS)
def test_every_kind_of_content_is_read(said, meant):
    assert parts({"role": "user", "content": [said]}) == (meant,)


def test_an_assistants_turn_has_thoughts_words_refusal_and_calls():
    message = {
        "role": "assistant", "content": [{"type": "text", "text": "Hm"}, {"type": "refusal", "refusal": "No."}],
        "reasoning_content": "Let me.", "audio": {"id": "au-1"},
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"},
             "extra_content": {"google": {"thought_signature": "S"}}},
            {"id": "b", "type": "custom", "custom": {"name": "patch", "input": "x"}},
        ],
    }  # fmt: skip
    assert parts(message) == (
        Reasoning("Let me."), Text("Hm"), Refusal("No."), Foreign("openai_chat", "audio", {"id": "au-1"}),
        ToolCall("a", "f", "{}", seal=Seal("gemini", "S")), ToolCall("b", "patch", "x", custom=True),
    )  # fmt: skip


def test_an_empty_string_beside_calls_is_no_text():
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert parts({"role": "assistant", "content": "", "tool_calls": [call]}) == (ToolCall("a", "f"),)


DETAIL = {"type": "reasoning.text", "text": "Hm", "index": 0}
WRAPPED = wrap(Seal("anthropic", "SIG"), "openai")
THOUGHTS = {
    "wrapped": ({"reasoning_details": [{**DETAIL, "signature": WRAPPED, "format": "anthropic-claude-v1"}]}, Seal("anthropic", "SIG")),
    "its own vendor's": ({"reasoning_details": [{**DETAIL, "signature": "S", "format": "anthropic-claude-v1"}]},
                         Seal("openai_chat", '{"type":"reasoning.text","signature":"S","format":"anthropic-claude-v1"}')),
    "beside the words": ({"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "signature": WRAPPED}]},
                         Seal("anthropic", "SIG")),
    "said twice": ({"reasoning": "Hm", "reasoning_content": "Hm", "reasoning_details": [DETAIL]}, None),
    "Mistral's": ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "H"}, {"type": "text", "text": "m"}]}]}, None),
}  # fmt: skip


@pytest.mark.parametrize(("said", "seal"), THOUGHTS.values(), ids=THOUGHTS)
def test_thoughts_come_back_in_every_spelling(said, seal):
    assert parts({"role": "assistant", "content": None, **said}) == (Reasoning("Hm", seal=seal),)


def test_results_of_a_run_are_one_turn_and_know_their_tools():
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
             {"id": "b", "type": "custom", "custom": {"name": "patch", "input": "x"}}]  # fmt: skip
    found = asked(
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "2"}]},
        {"role": "tool", "tool_call_id": "c", "content": ""},
    )
    results = ToolResult("a", (Text("1"),), "f"), ToolResult("b", (Text("2"),), "patch", custom=True), ToolResult("c")
    assert found.messages[1] == Message("tool", results)


def test_functions_of_old_are_tools_and_their_results_find_their_calls():
    found = asked(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    call, result = found.messages[0].parts[0], found.messages[1].parts[0]
    assert call.id == result.call_id
    assert result.name == "f"
    assert found.tools == (Tool("f", parameters={"type": "object"}),)
    assert found.tool_choice == ToolChoice("named", "f")
    assert found.single_call
    assert found.parallel_tools is False


def test_tools_are_read():
    custom = {"name": "patch", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}}
    builtin = {"type": "builtin_function", "function": {"name": "$web_search"}}
    found = asked(tools=[
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}},
        {"type": "custom", "custom": custom}, builtin,
    ], parallel_tool_calls=False)  # fmt: skip
    assert found.tools == (
        Tool("f", "d", {"type": "object"}, True),
        Tool("patch", custom=True, grammar={"type": "grammar", "syntax": "lark", "definition": "x"}),
        Tool("builtin_function", server=True, family="openai_chat", raw=builtin),
    )
    assert found.parallel_tools is False


CHOICES = {
    "auto": ToolChoice("auto"),
    "none": ToolChoice("none"),
    "required": ToolChoice("required"),
    "any": ToolChoice("required"),
    '{"type":"function","function":{"name":"f"}}': ToolChoice("named", "f"),
    '{"type":"custom","custom":{"name":"f"}}': ToolChoice("named", "f"),
    '{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"f"}}]}}': ToolChoice(
        "required", allowed=("f",)
    ),
}


@pytest.mark.parametrize(("said", "meant"), CHOICES.items())
def test_tool_choices_are_read(said, meant):
    assert asked(tool_choice=json.loads(said) if said.startswith("{") else said).tool_choice == meant


def test_the_form_of_the_answer_is_read():
    form = {"name": "n", "schema": {"type": "object"}, "strict": True, "description": "d"}
    assert asked(response_format={"type": "text"}).output == OutputFormat("text")
    assert asked(response_format={"type": "json_object"}).output == OutputFormat("json_object")
    meant = OutputFormat("json_schema", {"type": "object"}, "n", "d", True)
    assert asked(response_format={"type": "json_schema", "json_schema": form}).output == meant


WISHES = {
    '{"reasoning_effort":"high"}': ReasoningWish(effort="high"),
    '{"reasoning_effort":"default"}': None,
    '{"reasoning":{"max_tokens":2000,"exclude":true}}': ReasoningWish(budget_tokens=2000, shown=False),
    '{"reasoning":{"effort":"low","enabled":true,"summary":"auto"}}': ReasoningWish(enabled=True, effort="low", summary="auto"),
    '{"thinking":{"type":"enabled","budget_tokens":1024}}': ReasoningWish(enabled=True, budget_tokens=1024),
    '{"thinking":{"type":"disabled"}}': ReasoningWish(enabled=False),
    '{"enable_thinking":true,"thinking_budget":512}': ReasoningWish(enabled=True, budget_tokens=512),
    '{"include_reasoning":false}': ReasoningWish(shown=False),
}


@pytest.mark.parametrize(("said", "meant"), WISHES.items())
def test_wishes_to_think_are_read_in_every_vendors_spelling(said, meant):
    assert asked(**json.loads(said)).reasoning == meant


def test_everything_else_has_its_place():
    found = asked(
        stream=True, stream_options={"include_usage": True}, max_tokens=5, max_completion_tokens=7, temperature=0.5, top_p=1, top_k=3,
        min_p=0.1, stop="END", seed=1, presence_penalty=0.1, frequency_penalty=0.2, repetition_penalty=1.1, logit_bias={"5": -1},
        logprobs=True, top_logprobs=2, n=2, user="u", metadata={"a": "b"}, prompt_cache_key="k", verbosity="low", service_tier="flex",
        store=True, modalities=["text", "audio"], audio={"voice": "alloy"}, unheard_of=None, prediction={"type": "content"},
    )  # fmt: skip
    assert found == Conversation(
        "m", (), True, True, 7,
        sampling=Sampling(0.5, 1, 3, 0.1, ("END",), 1, 0.1, 0.2, 1.1, {"5": -1}, True, 2, 2),
        modalities=("text", "audio"), user="u", metadata={"a": "b"}, cache_key="k", verbosity="low", service_tier="flex", store=True,
        family="openai_chat", extra={"audio": {"voice": "alloy"}, "prediction": {"type": "content"}},
    )  # fmt: skip


def test_usage_is_wanted_only_if_asked_for():
    assert not asked(stream=True).wants_usage
    assert asked(safety_identifier="s").user == "s"
    assert asked(user="u", safety_identifier="s").extra == {"safety_identifier": "s"}
    assert asked(random_seed=4, stop=["a", "b"]).sampling == Sampling(seed=4, stop=("a", "b"))


REFUSED = {
    '{"model":5}': "model",
    '{"messages":"hi"}': "messages",
    '{"messages":["hi"]}': "messages[0]",
    '{"messages":[{"role":"king","content":"x"}]}': "messages[0].role",
    '{"messages":[{"role":"user"}]}': "messages[0].content",
    '{"messages":[{"role":"user","content":5}]}': "messages[0].content",
    '{"messages":[{"role":"user","content":[{"type":"hologram"}]}]}': "messages[0].content[0].type",
    '{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:x"}}]}]}': "messages[0].content[0].image_url.url",
    '{"messages":[{"role":"user","content":[{"type":"file","file":{}}]}]}': "messages[0].content[0].file",
    '{"messages":[{"role":"system","content":[{"type":"image_url"}]}]}': "messages[0].content[0].type",
    '{"messages":[{"role":"tool","content":"x"}]}': "messages[0].tool_call_id",
    '{"messages":[{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f"}}]}]}': "messages[0].tool_calls[0].id",
    '{"messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{}}]}]}': "messages[0].tool_calls[0].function.name",
    '{"messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":{}}}]}]}':
        "messages[0].tool_calls[0].function.arguments",
    '{"tools":[{"type":"function"}]}': "tools[0].function",
    '{"tools":[{"type":"function","function":{"name":"f","strict":"yes"}}]}': "tools[0].function.strict",
    '{"tool_choice":"perhaps"}': "tool_choice",
    '{"tool_choice":{"type":"function","function":{}}}': "tool_choice.function.name",
    '{"response_format":{"type":"xml"}}': "response_format.type",
    '{"reasoning_effort":"immense"}': "reasoning_effort",
    '{"reasoning":{"max_tokens":"many"}}': "reasoning.max_tokens",
    '{"thinking":{"type":"maybe"}}': "thinking.type",
    '{"temperature":"hot"}': "temperature",
    '{"temperature":true}': "temperature",
    '{"max_tokens":1.5}': "max_tokens",
    '{"n":0}': "n",
    '{"stop":[1]}': "stop[0]",
    '{"logit_bias":{"5":"x"}}': "logit_bias.5",
    '{"metadata":{"a":1}}': "metadata.a",
    '{"stream":"yes"}': "stream",
    '{"stream_options":{"include_usage":"yes"}}': "stream_options.include_usage",
    '{"parallel_tool_calls":1}': "parallel_tool_calls",
}  # fmt: skip


@pytest.mark.parametrize(("said", "path"), REFUSED.items())
def test_what_does_not_fit_is_refused_with_its_path(said, path):
    assert refused(**json.loads(said)) == path


scalars = st.none() | st.booleans() | st.integers(-10, 10) | st.floats() | st.sampled_from(["", "x", "user", "text", "data:,x", "gw1.a.b"])
keys = st.sampled_from([
    "role", "content", "type", "text", "image_url", "url", "file", "file_data", "input_audio", "data", "format", "tool_calls", "id",
    "function", "name", "arguments", "custom", "input", "refusal", "audio", "reasoning", "reasoning_details", "signature", "tool_call_id",
    "cache_control", "extra_content", "google", "thought_signature", "function_call", "thinking",
])  # fmt: skip
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=10)
roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
fields = st.sampled_from([
    "messages", "tools", "tool_choice", "functions", "function_call", "response_format", "reasoning", "thinking", "stop", "logit_bias",
    "metadata", "n", "modalities", "stream_options", "user", "temperature", "max_tokens", "odd",
])  # fmt: skip


@settings(max_examples=100)
@given(st.lists(st.builds(lambda role, more: {**more, "role": role}, roles, st.dictionaries(keys, values, max_size=5)), max_size=3),
       st.dictionaries(fields, values, max_size=4))  # fmt: skip
def test_requests_of_any_shape_are_read_or_refused(messages, more):
    found = CHAT.read_request({"model": "m", "messages": messages, **more})
    assert isinstance(found, Conversation | Fault)


def test_what_nothing_reads_of_a_message_is_kept_to_be_reported():
    said = {"role": "assistant", "content": "a", "thinking_blocks": [{"type": "thinking"}], "annotations": [], "reasoning": None, "x": None}
    conversation = CHAT.read_request({"model": "m", "messages": [{"role": "user", "content": "Hi"}, said]})
    assert conversation.extra == {"messages[1].thinking_blocks": [{"type": "thinking"}]}
    written = CHAT.write_request(conversation, Target("m"))
    assert written.dropped == ("messages[1].thinking_blocks",)
    assert json.loads(written.body).keys() == {"model", "messages"}
