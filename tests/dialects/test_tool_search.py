"""A client's own search for tools: a function for backends of other languages, its items again for the client."""

import json
import random
from typing import Any

import pytest

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.conversation import Conversation
from appliance.core.delta import Finished, PartEnded, PartStarted, TextAdded
from appliance.core.message import Foreign, Message, Text, ToolCall, ToolResult
from appliance.dialects.codec import Reply
from appliance.dialects.custom_tools import Restoration, needs_plain, plain
from appliance.dialects.responses import RESPONSES

SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
SEARCH = {"type": "tool_search", "execution": "client", "description": "Finds tools", "parameters": SCHEMA}
DOCS = {"type": "namespace", "name": "mcp__docs", "description": "Docs", "tools": [{"type": "function", "name": "read", "parameters": {}}]}
CALLED = {"type": "tool_search_call", "call_id": "s1", "execution": "client", "status": "completed", "arguments": {"query": "docs"}}
FOUND = {"type": "tool_search_output", "call_id": "s1", "execution": "client", "status": "completed", "tools": [DOCS]}


def read(*items: dict[str, Any], **fields: Any) -> Conversation:
    found = RESPONSES.read_request({"model": "m", "input": [{"role": "user", "content": "x"}, *items], "tools": [SEARCH], **fields})
    assert isinstance(found, Conversation), found
    return found


def test_the_search_is_a_function_and_what_it_loaded_can_be_called():
    asked = read(CALLED, FOUND, tool_choice={"type": "tool_search"})
    assert needs_plain(asked)
    there = plain(asked)
    assert [(tool.name, tool.server, tool.description) for tool in there.tools] == [
        ("tool_search", False, "Finds tools"), ("mcp__docs__read", False, "Docs"),
    ]  # fmt: skip
    assert there.tools[0].parameters == SCHEMA
    assert there.tool_choice is not None
    assert there.tool_choice.name == "tool_search"
    assert there.messages[1:] == (
        Message("assistant", (ToolCall("s1", "tool_search", '{"query":"docs"}'),)),
        Message("tool", (ToolResult("s1", (Text("These tools can be called now:\n- mcp__docs__read"),), "tool_search"),)),
    )


def test_results_of_other_calls_stay_with_those_of_searches():
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "1"}
    for outputs in ([output, FOUND], [FOUND, output]):
        there = plain(read(call, CALLED, *outputs))
        roles = [message.role for message in there.messages]
        assert roles[:3] == ["user", "assistant", "tool"]
        assert set(roles[3:]) <= {"tool"}
        assert [part.id for part in there.messages[1].parts if isinstance(part, ToolCall)] == ["c1", "s1"]


def test_a_providers_own_search_stays_what_it_is():
    asked = read({**CALLED, "execution": "server", "call_id": None}, tools=[{"type": "tool_search"}])
    there = plain(asked)
    assert there.tools == asked.tools
    assert isinstance(there.messages[1].parts[0], Foreign)


@pytest.mark.parametrize("arguments", ['{"query": "docs"}', "", "docs"])
def test_a_call_of_the_function_is_the_clients_item_whole_and_streamed(arguments: str):
    asked = read()
    parts = (Text("Hm"), ToolCall("c9", "tool_search", arguments), ToolCall("c8", "f", "{}"))
    answer = Completion("r", "m", (Candidate(parts, "tool_use"),))
    reply = Reply(asked, "m", "id", 1)
    output = json.loads(RESPONSES.write_answer(answer, reply))["output"]
    assert [item["type"] for item in output] == ["message", "tool_search_call", "function_call"]
    wanted = {"query": "docs"} if arguments else {}
    assert {**output[1], "id": ""} == {**CALLED, "id": "", "call_id": "c9", "arguments": wanted}
    writer = RESPONSES.stream_writer(reply)
    stream = writer.write(unfold(answer)) + writer.end()
    done = [json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith("data: ")]
    assert done[-1]["response"]["output"] == output
    assert [one["sequence_number"] for one in done] == list(range(len(done)))
    assert output[1] in [one["item"] for one in done if one["type"] == "response.output_item.done"]


def test_a_stream_in_pieces_and_interleaved_folds_to_the_whole():
    restoration = Restoration.of(read())
    deltas = [
        PartStarted(0, ToolCall("a", "tool_search")), PartStarted(1, ToolCall("b", "f")), TextAdded(0, '{"query"'), TextAdded(1, "{}"),
        TextAdded(0, ':"docs"}'), PartEnded(1), PartEnded(0), Finished("tool_use"),
    ]  # fmt: skip
    chance = random.Random(1)
    for _ in range(5):
        place = chance.randrange(len(deltas))
        restorer = restoration.stream()
        found = fold([*restorer.deltas(deltas[:place]), *restorer.deltas(deltas[place:])]).candidates[0]
        calls = ToolCall("a", "tool_search", '{"query":"docs"}'), ToolCall("b", "f", "{}")
        assert found.parts == tuple(restoration.part(part) for part in calls)


def test_a_function_of_that_name_is_the_callers_own():
    asked = read(tools=[SEARCH, {"type": "function", "name": "tool_search", "parameters": {}}])
    assert [tool.server for tool in plain(asked).tools] == [True, False]
    call = ToolCall("c", "tool_search", "{}")
    assert Restoration.of(asked).part(call) == call
