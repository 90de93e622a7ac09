"""What callers of Anthropic's Messages API ask is understood, and refused by path where it is no such request."""

import json

import attrs
import pytest

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Message, Reasoning, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.codec import Target
from appliance.dialects.language_table import language as language_of

HELLO = [{"role": "user", "content": "Hello"}]


def asked(**fields):
    return {"model": "m", "max_tokens": 10, "messages": HELLO, **fields}


def read(**fields) -> Conversation:
    found = ANTHROPIC.read_request(asked(**fields))
    assert isinstance(found, Conversation), found
    return found


def parts_of(block, role="user"):
    return read(messages=[{"role": role, "content": [block]}]).messages[0].parts


def test_a_plain_request():
    assert read(stream=True) == Conversation("m", (Message("user", (Text("Hello"),)),), stream=True, max_tokens=10, family="anthropic")


def test_a_system_prompt_as_text_as_blocks_and_inside_the_messages():
    assert read(system="Be brief").messages[0] == Message("system", (Text("Be brief"),))
    blocks = [{"type": "text", "text": "billing"}, {"type": "text", "text": "rules", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    found = read(system=blocks, messages=[*HELLO, {"role": "system", "content": "Now in French"}])
    assert found.messages[0] == Message("system", (Text("billing"), Text("rules", cache="1h")))
    assert found.messages[2] == Message("system", (Text("Now in French"),))


SOURCE = {"type": "base64", "media_type": "image/png", "data": "aGk="}

BLOCKS = [
    ({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}, (Text("x", cache="5m"),)),
    ({"type": "image", "source": SOURCE}, (Media("image", "image/png", "aGk="),)),
    ({"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}, (Media("image", url="https://a/b.png"),)),
    ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, (Media("image", file_id="file_1"),)),
    ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}, "title": "T", "context": "C",
      "citations": {"enabled": True}}, (Media("document", "application/pdf", "aGk=", name="T", context="C", cites=True),)),
    ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
     (Media("document", "text/plain", "words", plain=True),)),
    ({"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}}, (Media("document", "application/pdf", url="https://a/b.pdf"),)),
    ({"type": "document", "source": {"type": "file", "file_id": "file_2"}}, (Media("document", file_id="file_2"),)),
    ({"type": "document", "source": {"type": "content", "content": "words"}}, (Media("document", "text/plain", "words", plain=True),)),
    ({"type": "document", "title": "T", "cache_control": {"type": "ephemeral"}, "source": {"type": "content", "content": [
        {"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "image", "source": SOURCE}, {"type": "text", "text": "c"}]}},
     (Media("document", "text/plain", "a\n\nb", name="T", plain=True), Media("image", "image/png", "aGk="),
      Media("document", "text/plain", "c", name="T", plain=True, cache="5m"))),
    ({"type": "search_result", "source": "https://a", "title": "T", "citations": {"enabled": True},
      "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
     (Media("document", "text/plain", "a\n\nb", name="T", context="Source: https://a", plain=True, cites=True),)),
    ({"type": "container_upload", "file_id": "f"},
     (Foreign("anthropic", "container_upload", {"type": "container_upload", "file_id": "f"}),)),
]  # fmt: skip


@pytest.mark.parametrize(("block", "parts"), BLOCKS, ids=[f"{one['type']}-{place}" for place, (one, _) in enumerate(BLOCKS)])
def test_blocks_of_a_user(block, parts):
    assert parts_of(block) == parts


def test_blocks_of_an_assistant():
    cited = {
        "type": "char_location",
        "cited_text": "c",
        "document_index": 0,
        "document_title": "D",
        "start_char_index": 0,
        "end_char_index": 1,
    }
    assert parts_of({"type": "text", "text": "x", "citations": [cited]}, "assistant") == (Text("x", (Citation("D", "", "c", raw=cited),)),)
    assert parts_of({"type": "thinking", "thinking": "hm", "signature": "sig"}, "assistant") == (
        Reasoning("hm", seal=Seal("anthropic", "sig")),
    )
    assert parts_of({"type": "thinking", "thinking": "hm", "signature": ""}, "assistant") == (Reasoning("hm"),)
    assert parts_of({"type": "redacted_thinking", "data": "xyz"}, "assistant") == (Reasoning(seal=Seal("anthropic", "xyz"), hidden=True),)
    assert parts_of({"type": "tool_use", "id": "t1", "name": "f", "input": {"a": [1, 1.0]}}, "assistant") == (
        ToolCall("t1", "f", '{"a":[1,1.0]}'),
    )
    server = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
    assert parts_of(server, "assistant") == (Foreign("anthropic", "server_tool_use", server),)


def test_results_of_tools_are_messages_of_their_own_and_know_their_tools_name():
    found = read(messages=[
        *HELLO,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}},
                                          {"type": "tool_use", "id": "t2", "name": "g", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
            {"type": "tool_result", "tool_use_id": "t2", "is_error": True, "content": [
                {"type": "text", "text": "two"}, {"type": "image", "source": SOURCE}, {"type": "tool_reference", "tool_name": "found"}]},
            {"type": "tool_result", "tool_use_id": "t3"},
            {"type": "text", "text": "and?"}]},
    ])  # fmt: skip
    assert found.messages[2] == Message("tool", (
        ToolResult("t1", (Text("one"),), "f"),
        ToolResult("t2", (Text("two"), Media("image", "image/png", "aGk="), Text("found")), "g", is_error=True),
        ToolResult("t3"),
    ))  # fmt: skip
    assert found.messages[3] == Message("user", (Text("and?"),))


def test_tools_and_the_choice_among_them():
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    mine = {"name": "f", "description": "d", "input_schema": schema, "strict": True, "cache_control": {"type": "ephemeral"}}
    found = read(tools=[mine, search], tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True})
    assert found.tools == (
        Tool("f", "d", schema, True, cache="5m"),
        Tool("web_search_20250305", server=True, family="anthropic", raw=search),
    )
    assert (found.tool_choice, found.parallel_tools) == (ToolChoice("named", "f"), False)
    for said, meant in (("auto", "auto"), ("any", "required"), ("none", "none")):
        assert read(tools=[mine], tool_choice={"type": said}).tool_choice == ToolChoice(meant)


WISHES = [
    ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, ReasoningWish(enabled=True, budget_tokens=2000)),
    ({"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "xhigh"}},
     ReasoningWish(enabled=True, effort="xhigh", shown=False)),
    ({"thinking": {"type": "adaptive", "display": "summarized"}}, ReasoningWish(enabled=True, shown=True)),
    ({"thinking": {"type": "disabled"}}, ReasoningWish(enabled=False)),
    ({"output_config": {"effort": "low"}}, ReasoningWish(effort="low")),
    ({}, None),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "wish"), WISHES)
def test_how_much_to_think(fields, wish):
    assert read(**fields).reasoning == wish


def test_structured_output_in_its_two_places():
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    for fields in ({"output_config": {"format": wanted}}, {"output_format": wanted}):
        found = read(**fields)
        assert found.output == OutputFormat("json_schema", {"type": "object"})
        assert found.extra == {}


def test_what_else_is_said():
    found = read(
        temperature=0.5, top_p=0.9, top_k=5, stop_sequences=["END"], metadata={"user_id": '{"device":1}', "team": "t"},
        service_tier="standard_only", context_management={"edits": []}, speed=None, thinking={"type": "between_tools"},
        output_config={"task_budget": {"total": 1}},
    )  # fmt: skip
    assert found.sampling == Sampling(0.5, 0.9, 5, stop=("END",))
    assert (found.user, found.metadata, found.service_tier) == ('{"device":1}', {"team": "t"}, "default")
    assert found.extra == {
        "context_management": {"edits": []}, "thinking": {"type": "between_tools"}, "output_config": {"task_budget": {"total": 1}},
    }  # fmt: skip
    assert (found.family, found.reasoning) == ("anthropic", None)


BAD = [
    ({"model": None}, "model"),
    ({"model": 1}, "model"),
    ({"max_tokens": None}, "max_tokens"),
    ({"max_tokens": "10"}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"messages": []}, "messages"),
    ({"messages": [1]}, "messages[0]"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "tape"}}]}]}, "messages[0].content[0].source.type"),
    ({"messages": [{"role": "system", "content": [{"type": "image", "source": SOURCE}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
        {"type": "tool_result", "tool_use_id": "u"}]}]}]}, "messages[0].content[0].content[0]"),
    ({"system": 5}, "system"),
    ({"stream": "yes"}, "stream"),
    ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
    ({"tools": [{"name": "f", "input_schema": {}, "strict": 1}]}, "tools[0].strict"),
    ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
    ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
    ({"output_config": {"effort": "extreme"}}, "output_config.effort"),
    ({"output_config": {"format": {"type": "json"}}}, "output_config.format.type"),
    ({"stop_sequences": ["a", 1]}, "stop_sequences[1]"),
    ({"temperature": "hot"}, "temperature"),
    ({"metadata": {"user_id": 7}}, "metadata.user_id"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "path"), BAD, ids=[path for _, path in BAD])
def test_what_is_no_such_request_is_refused_by_path(fields, path):
    fault = ANTHROPIC.read_request(asked(**fields))
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.param) == (FaultKind.BAD_REQUEST, path)
    assert path in fault.message


def test_no_word_of_the_prompt_is_in_a_fault_or_a_repr():
    secret = "swordfish"
    fault = ANTHROPIC.read_request(asked(messages=[{"role": "user", "content": [{"type": "text", "text": [secret]}]}]))
    assert secret not in repr(fault)
    assert secret not in repr(read(system=secret, messages=[{"role": "user", "content": secret}]))


def test_a_count_needs_no_bound_on_the_answer():
    fields = {"model": "m", "messages": HELLO, "system": "Be brief"}
    found = ANTHROPIC.read_count(fields)
    assert isinstance(found, Conversation)
    assert found.max_tokens is None
    assert isinstance(ANTHROPIC.read_request(fields), Fault)


def test_deep_nesting_is_refused_not_followed():
    content = "x"
    for _ in range(300):
        content = [{"type": "document", "source": {"type": "content", "content": content}}]
    assert isinstance(ANTHROPIC.read_request(asked(messages=[{"role": "user", "content": content}])), Fault)


def test_the_billing_block_of_an_agent_is_for_anthropic_alone():
    line = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.3; cch=a1b2c;"}
    rest = {"type": "text", "text": "Be brief", "cache_control": {"type": "ephemeral"}}
    conversation = read(system=[line, rest])
    assert conversation.messages[0].parts == (Foreign("anthropic", "billing header", line), Text("Be brief", cache="5m"))
    assert json.loads(ANTHROPIC.write_request(conversation, Target("claude-sonnet-4-6")).body)["system"] == [line, rest]
    told = {"text": "x-anthropic-billing-header: is a line that I saw\nwhat is it?", "type": "text"}
    assert isinstance(read(system=[told]).messages[0].parts[0], Text)


@pytest.mark.parametrize("language", ["openai_chat", "openai_responses", "gemini", "bedrock", "cohere"])
def test_other_languages_leave_the_billing_block_out_and_say_so(language):
    system = [{"type": "text", "text": "x-anthropic-billing-header: cch=a1b2c;"}, {"type": "text", "text": "Be brief"}]
    conversation = read(system=system, max_tokens=99)
    written = language_of(language).spoken.write_request(conversation, Target("anthropic.claude-sonnet-4-6"))
    assert b"billing" not in written.body
    assert b"Be brief" in written.body
    assert written.dropped == ("messages[0].parts[0]: billing header",)


def test_what_only_anthropic_knows_of_tools_and_messages_goes_back_to_it_or_is_reported():
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {}}, "defer_loading": True, "input_examples": [{"a": 1}]}
    conversation = read(tools=[tool], messages=[{"role": "user", "content": "Hi", "clear_at": "x"}])
    written = ANTHROPIC.write_request(conversation, Target("claude-sonnet-4-6"))
    assert json.loads(written.body)["tools"] == [tool]
    assert written.dropped == ("messages[0].clear_at",)
    target = Target("anthropic.claude-sonnet-4-6")
    for language in ("openai_chat", "openai_responses", "gemini", "bedrock", "cohere"):
        written = language_of(language).spoken.write_request(attrs.evolve(conversation, max_tokens=99), target)
        assert {"tools[0].defer_loading", "tools[0].input_examples"} <= set(written.dropped), language
        assert any("messages[0].clear_at" in one for one in written.dropped), language


CLIENT_TOOLS = [
    {"type": "bash_20250124", "name": "bash"}, {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9},
    {"type": "memory_20250818", "name": "memory", "cache_control": {"type": "ephemeral"}},
]  # fmt: skip


def test_tools_that_anthropic_defines_and_the_caller_runs_are_functions_elsewhere():
    server = {"type": "web_search_20250305", "name": "web_search"}
    screen = {"type": "computer_20250124", "name": "computer", "display_width_px": 9, "display_height_px": 9}
    conversation = read(tools=[*CLIENT_TOOLS, server, screen], tool_choice={"type": "tool", "name": "bash"})
    assert json.loads(ANTHROPIC.write_request(conversation, Target("claude-sonnet-4-6")).body)["tools"] == [*CLIENT_TOOLS, server, screen]
    written = language_of("openai_chat").spoken.write_request(conversation, Target("m"))
    body = json.loads(written.body)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["bash", "str_replace_based_edit_tool", "memory"]
    assert body["tools"][0]["function"]["parameters"]["properties"].keys() == {"command", "restart"}
    assert body["tool_choice"] == {"type": "function", "function": {"name": "bash"}}
    noted = {"tools[0].type", "tools[1].max_characters", "tools[3]: web_search_20250305", "tools[4]: computer_20250124"}
    assert noted <= set(written.dropped)
