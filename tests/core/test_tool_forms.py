"""Free-text tools and namespaces survive a language that has neither."""

import json

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.conversation import Tool
from appliance.core.message import ToolCall
from appliance.core.tool_forms import arguments_of, flat_name, function_of, restored, text_of

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /x+/"}
PATCH = Tool("patch", "Edits files.", custom=True, grammar=GRAMMAR, namespace="fs")


@given(st.text())
def test_the_text_of_a_free_text_call_comes_back_from_its_arguments(text):
    assert text_of(arguments_of(text)) == text


def test_arguments_that_are_no_such_object_are_the_text_themselves():
    for arguments in ("*** Begin", "[1]", '{"other":1}', '{"input":1}', "[" * 100_000):
        assert text_of(arguments) == arguments


def test_a_free_text_tool_becomes_a_function_that_tells_its_grammar():
    tool = function_of(PATCH)
    assert not tool.custom
    assert tool.grammar is None
    assert "start: /x+/" in tool.description
    assert tool.parameters is not None
    assert tool.parameters["required"] == ["input"]


def test_a_call_by_its_flat_name_is_the_callers_own_again():
    call = ToolCall("c1", flat_name("patch", "fs"), json.dumps({"input": "xx"}))
    assert call.name == "fs__patch"
    assert restored(call, [Tool("other"), PATCH]) == ToolCall("c1", "patch", "xx", "fs", custom=True)


def test_a_call_of_a_tool_that_nobody_declared_stays_as_it_is():
    call = ToolCall("c1", "patch", "{}")
    assert restored(call, [PATCH]) == call
