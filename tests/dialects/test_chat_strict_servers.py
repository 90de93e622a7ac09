"""What servers of chat completions refuse in the requests of callers of other languages, and how it is said so that they do not."""

import json

import attrs
import pytest

from appliance.core.conversation import Conversation, OutputFormat, ReasoningWish, Tool
from appliance.core.effort import nearest
from appliance.core.fault import Fault
from appliance.core.message import Media, Message, Text, ToolCall, ToolResult
from appliance.dialects.chat import CHAT
from appliance.dialects.chat_tools import may_be_strict
from appliance.dialects.codec import Target, Written

TARGET = Target("m")
CALLS = Message("assistant", (ToolCall("a", "f"), ToolCall("b", "f")))


def said(*messages, target=TARGET, **fields):
    written = CHAT.write_request(Conversation("asked", messages, family="anthropic", **fields), target)
    assert isinstance(written, Written), written
    return json.loads(written.body), written.dropped


def roles(body):
    return [one.get("tool_call_id") or one["role"] for one in body["messages"]]


def user(text):
    return Message("user", (Text(text),))


def result(call_id):
    return Message("tool", (ToolResult(call_id, (Text("r"),)),))


def test_results_stand_behind_their_calls_wherever_the_caller_put_them():
    body, _ = said(user("Hi"), CALLS, user("before"), result("b"), user("between"), result("a"), user("after"))
    assert roles(body) == ["user", "assistant", "b", "a", "user", "user", "user"]
    assert [one["content"] for one in body["messages"][4:]] == ["before", "between", "after"]


def test_results_of_nothing_and_of_an_earlier_turn_stay_where_they_are():
    body, _ = said(result("x"), user("Hi"), CALLS, result("a"), Message("assistant", (Text("Well"),)), user("So"), result("b"))
    assert roles(body) == ["x", "user", "assistant", "a", "assistant", "user", "b"]


def test_pictures_of_results_are_shown_in_the_users_next_turn():
    shown = Message("tool", (ToolResult("a", (Media("image", "image/png", "aGk="),)), ToolResult("b", (Text("2"),))))
    body, _ = said(CALLS, shown, user("Look"))
    assert roles(body) == ["assistant", "a", "b", "user"]
    assert [part["type"] for part in body["messages"][-1]["content"]] == ["text", "image_url", "text"]
    body, _ = said(CALLS, shown, Message("assistant", (Text("I see"),)), user("Good"))
    assert roles(body) == ["assistant", "a", "b", "user", "assistant", "user"]


def test_a_server_of_templates_gets_one_system_message_first():
    late = Message("system", (Text("Be kind"),))
    target = Target("m", drop=("late_system",), rename={"developer": "system"})
    first = Message("system", (Text("Be brief"), Text("Be exact")))
    body, dropped = said(first, user("Hi"), late, user("So?"), target=target)
    assert body["messages"][0] == {"role": "system", "content": "Be brief\n\nBe exact\n\nBe kind"}
    assert roles(body) == ["system", "user"]
    assert [part["text"] for part in body["messages"][1]["content"]] == ["Hi", "So?"]
    assert dropped == ("messages[2]: place of a system message",)
    body, dropped = said(first, late, user("Hi"), target=target)
    assert (roles(body), dropped) == (["system", "user"], ())
    assert roles(said(first, user("Hi"), late)[0]) == ["system", "user", "system"]


def test_turns_alternate_where_a_servers_template_wants_it():
    talk = (user("a"), user("b"), Message("assistant", (Text("c"),)), CALLS, result("a"), result("b"), user("d"))
    assert roles(said(*talk)[0]) == ["user", "user", "assistant", "assistant", "a", "b", "user"]
    body, dropped = said(*talk, target=Target("m", drop=("late_system",)))
    assert (roles(body), dropped) == (["user", "assistant", "a", "b", "user"], ())
    assert (body["messages"][1]["content"], len(body["messages"][1]["tool_calls"])) == ("c", 2)
    named = attrs.evolve(user("b"), name="bob")
    assert roles(said(user("a"), named, target=Target("m", drop=("late_system",)))[0]) == ["user", "user"]


def test_an_assistants_turn_stands_between_results_and_the_user_where_a_server_wants_one():
    target = Target("m", drop=("user_after_tool",))
    picture = Message("tool", (ToolResult("a", (Media("image", "image/png", "aGk="),)),))
    assert roles(said(CALLS, result("a"), result("b"), user("Go"), target=target)[0]) == ["assistant", "a", "b", "assistant", "user"]
    assert roles(said(CALLS, picture, target=target)[0]) == ["assistant", "a", "assistant", "user"]
    assert roles(said(CALLS, result("a"), Message("assistant", (Text("x"),)), target=target)[0]) == ["assistant", "a", "assistant"]


def test_the_beginning_of_an_answer_is_told_in_the_servers_way_or_noted():
    begun = (user("Hi"), Message("assistant", (Text("{"),)))
    assert said(*begun, target=Target("m", rename={"prefill": "prefix"}))[0]["messages"][-1] == {
        "role": "assistant", "content": "{", "prefix": True,
    }  # fmt: skip
    body, _ = said(*begun, target=Target("m", rename={"prefill": "continue_final_message"}))
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    body, dropped = said(*begun, target=Target("m", drop=("prefill",)))
    assert (body["messages"][-1], dropped) == ({"role": "assistant", "content": "{"}, ("messages[1]: prefill",))
    body, dropped = said(user("Hi"), CALLS, target=Target("m", rename={"prefill": "prefix"}, drop=("prefill",)))
    assert ("prefix" in body["messages"][-1], dropped) == (False, ())


def test_an_object_of_no_properties_has_them_named():
    tools = Tool("f", parameters={"type": "object"}), Tool("g", parameters={"type": "object", "properties": {"a": {}}})
    body, _ = said(user("Hi"), tools=tools)
    assert [one["function"]["parameters"]["properties"] for one in body["tools"]] == [{}, {"a": {}}]


def test_a_bound_above_the_models_own_is_brought_down_and_noted():
    target = Target("m", output_max=16_384, rename={"max_tokens": "max_completion_tokens"})
    body, dropped = said(user("Hi"), max_tokens=32_000, target=target)
    assert (body["max_completion_tokens"], dropped) == (16_384, ("max_tokens: above 16384",))
    assert said(user("Hi"), max_tokens=99, target=target)[0]["max_completion_tokens"] == 99
    assert "max_completion_tokens" not in said(user("Hi"), target=target)[0]


CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "may"),
    [
        (CLOSED, True),
        ({**CLOSED, "properties": {"a": {"anyOf": [CLOSED, {"type": "null"}]}}, "$defs": {"d": CLOSED}}, True),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "additionalProperties": True}, False),
        ({"type": "object"}, False),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": {"type": "object"}}}}, False),
        ({**CLOSED, "properties": {"a": {"oneOf": []}}}, False),
        ({**CLOSED, "$defs": {"d": {"type": ["object", "null"]}}}, False),
    ],
)
def test_a_schema_that_may_be_strict_is_enforced_for_a_caller_who_knows_no_other(schema, may):
    form = said(user("Hi"), output=OutputFormat("json_schema", schema))[0]["response_format"]["json_schema"]
    assert form.get("strict") is (True if may else None)
    assert may_be_strict(schema) is may
    asked = Conversation("m", (user("Hi"),), output=OutputFormat("json_schema", schema), family="openai_chat")
    assert "strict" not in json.loads(CHAT.write_request(asked, TARGET).body)["response_format"]["json_schema"]


def test_deep_schemas_are_not_followed_for_ever():
    schema = CLOSED
    for _ in range(500):
        schema = {**CLOSED, "properties": {"a": schema}}
    assert may_be_strict(schema) is False


@pytest.mark.parametrize(
    ("wanted", "words", "found"),
    [
        ("max", (), "max"), ("max", ("low", "medium", "high"), "high"), ("minimal", ("low", "high"), "low"),
        ("xhigh", ("none", "low"), "low"), ("none", ("none", "low"), "none"), ("none", ("minimal", "low"), "minimal"),
        ("none", ("low", "high"), None), ("low", ("none", "high"), "high"), ("high", ("none",), None),
    ],
)  # fmt: skip
def test_how_hard_to_think_is_said_in_a_word_that_the_model_has(wanted, words, found):
    assert nearest(wanted, words) == found
    body, dropped = said(user("Hi"), reasoning=ReasoningWish(effort=wanted), target=Target("m", efforts=words))
    assert (body.get("reasoning_effort"), bool(dropped)) == (found, found is None)


def test_a_document_by_its_url_is_for_those_who_fetch_it():
    asked = Message("user", (Media("document", "application/pdf", url="https://x.test/a.pdf"),))
    body, _ = said(asked, target=Target("m", rename={"file_url": "file_data"}))
    assert body["messages"][0]["content"] == [{"type": "file", "file": {"file_data": "https://x.test/a.pdf", "filename": "document.pdf"}}]
    assert isinstance(CHAT.write_request(Conversation("m", (asked,)), Target("m")), Fault)


def test_a_schema_is_told_in_words_where_only_json_can_be_asked_for():
    target, output = Target("m", drop=("json_schema",)), OutputFormat("json_schema", CLOSED)
    body, dropped = said(user("Hi"), target=target, output=output)
    assert body["response_format"] == {"type": "json_object"}
    assert (roles(body), dropped) == (["system", "user"], ("output: the schema is asked for in words",))
    assert json.loads(body["messages"][0]["content"].partition("\n")[2]) == CLOSED
    body, _ = said(Message("system", (Text("Be brief"),)), user("Hi"), target=target, output=output)
    assert roles(body) == ["system", "user"]
    assert body["messages"][0]["content"].startswith("Be brief\n\n")
    body, dropped = said(user("Hi"), target=target, output=OutputFormat("json_object"))
    assert (body["response_format"], roles(body), dropped) == ({"type": "json_object"}, ["user"], ())


def test_efforts_that_a_server_takes_only_without_tools_are_none_beside_them():
    target, tools = Target("m", drop=("effort_with_tools",)), (Tool("f"),)
    body, dropped = said(user("Hi"), target=target, tools=tools, reasoning=ReasoningWish(effort="high"))
    assert (body["reasoning_effort"], len(dropped)) == ("none", 1)
    body, dropped = said(user("Hi"), target=target, tools=tools)
    assert (body["reasoning_effort"], dropped) == ("none", ())
    assert said(user("Hi"), target=target, reasoning=ReasoningWish(effort="high"))[0]["reasoning_effort"] == "high"
    assert "reasoning_effort" not in said(user("Hi"), target=target)[0]


def test_a_document_of_words_in_a_result_stays_in_it():
    found = Media("document", "text/plain", "words", name="A title", context="Source: x", plain=True)
    body, _ = said(CALLS, Message("tool", (ToolResult("a", (Text("See"), found)), ToolResult("b", (found,)))))
    assert [one.get("content") for one in body["messages"][1:]] == ["See\nA title\n\nSource: x\n\nwords", "A title\n\nSource: x\n\nwords"]
