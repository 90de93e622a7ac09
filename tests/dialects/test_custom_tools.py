"""Free-text and grouped tools become plain functions with names of their own, and what the model makes of them is turned back."""

import json
import random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from responses_values import any_calls, conversations, names, words

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.conversation import Conversation, Tool, ToolChoice
from appliance.core.delta import Delta, PartEnded, PartStarted, TextAdded
from appliance.core.message import Message, Reasoning, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.custom_input import InputReader, read_input
from appliance.dialects.custom_tools import NAME_MAX_CHARS, Restoration, needs_plain, plain

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
EXEC = Tool("exec", "runs it", custom=True, grammar=GRAMMAR, namespace="functions", namespace_description="built-in tools")
ASKED = Conversation("m", (Message("user", (Text("go"),)),), tools=(EXEC, Tool("wait", parameters={"type": "object"})))

tools = st.lists(
    st.builds(Tool, names, namespace=st.sampled_from(["", "a", "a__b", "long" * 20]), custom=st.booleans()),
    max_size=6, unique_by=lambda tool: (tool.namespace, tool.name),
).map(tuple)  # fmt: skip


def answer_of(*parts: Any) -> Completion:
    return Completion("i", "m", (Candidate(parts, "tool_use"),))


def test_a_free_text_tool_of_a_group_becomes_a_function_of_one_text():
    function, other = plain(ASKED).tools
    assert (function.name, function.namespace, function.custom, function.grammar) == ("functions__exec", "", False, None)
    assert function.parameters is not None
    assert function.parameters["required"] == ["input"]
    for told in ("built-in tools", "runs it", "lark", "start: /.+/"):
        assert told in function.description
    assert other == ASKED.tools[1]


def test_the_history_is_said_in_the_same_names():
    history = (
        Message("assistant", (
            ToolCall("c1", "exec", 'say "hi"\n', "functions", custom=True, seal=Seal("gemini", "s")), ToolCall("c2", "gone", "{}", "x"),
        )),
        Message("tool", (ToolResult("c1", (Text("hi"),), "exec", custom=True), ToolResult("c3", name="other"))),
    )  # fmt: skip
    calls, results = plain(attrs.evolve(ASKED, messages=history)).messages
    assert calls.parts == (
        ToolCall("c1", "functions__exec", '{"input": "say \\"hi\\"\\n"}', seal=Seal("gemini", "s")), ToolCall("c2", "x__gone", "{}"),
    )  # fmt: skip
    assert results.parts == (ToolResult("c1", (Text("hi"),), "functions__exec"), ToolResult("c3", name="other"))


def test_a_choice_follows_its_tool():
    assert plain(attrs.evolve(ASKED, tool_choice=ToolChoice("named", "exec"))).tool_choice == ToolChoice("named", "functions__exec")
    allowed = ToolChoice("auto", allowed=("exec", "wait", "gone"))
    assert plain(attrs.evolve(ASKED, tool_choice=allowed)).tool_choice == ToolChoice("auto", allowed=("functions__exec", "wait", "gone"))


def test_nothing_is_needed_where_all_tools_are_functions():
    assert not needs_plain(attrs.evolve(ASKED, tools=(Tool("f"), Tool("s", server=True, family="openai_responses"))))
    assert needs_plain(ASKED)
    old = Message("assistant", (ToolCall("c", "exec", "ls", custom=True),))
    assert needs_plain(attrs.evolve(ASKED, tools=(), messages=(old,)))


@given(conversations)
def test_afterwards_there_is_nothing_but_functions(asked: Conversation):
    done = plain(asked)
    assert not needs_plain(done)
    assert plain(done) == done
    parts = [part for message in done.messages for part in message.parts]
    assert all(isinstance(json.loads(part.arguments), dict) for part in parts if isinstance(part, ToolCall))


@given(tools)
def test_no_two_tools_get_one_name_and_all_fit(found: tuple[Tool, ...]):
    done = plain(attrs.evolve(ASKED, tools=found)).tools
    assert len({tool.name for tool in done}) == len({(tool.namespace, tool.name) for tool in found})
    assert all(len(tool.name) <= NAME_MAX_CHARS for tool, own in zip(done, found, strict=True) if own.namespace)
    assert all(tool.name == own.name for tool, own in zip(done, found, strict=True) if not own.namespace)


@given(tools, st.randoms(use_true_random=False))
def test_a_name_does_not_depend_on_the_order_of_tools(found: tuple[Tool, ...], chance: random.Random):
    mixed = list(found)
    chance.shuffle(mixed)
    by_key = []
    for given_tools in (found, tuple(mixed)):
        done = plain(attrs.evolve(ASKED, tools=given_tools)).tools
        by_key.append({(own.namespace, own.name): tool.name for own, tool in zip(given_tools, done, strict=True)})
    assert by_key[0] == by_key[1]


def test_claims_to_one_name_are_told_apart():
    rivals = (Tool("a__b"), Tool("b", namespace="a"), Tool("x__b", namespace="a"), Tool("b", namespace="a__x", custom=True))
    done = [tool.name for tool in plain(attrs.evolve(ASKED, tools=rivals)).tools]
    assert done[0] == "a__b"
    assert len(set(done)) == 4
    restoration = Restoration.of(attrs.evolve(ASKED, tools=rivals))
    for rival, name in zip(rivals, done, strict=True):
        back = restoration.part(ToolCall("c", name, "{}"))
        assert isinstance(back, ToolCall)
        assert (back.namespace, back.name, back.custom) == (rival.namespace, rival.name, rival.custom)


@given(st.lists(any_calls, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_calls_come_back_as_the_caller_knows_them_whole_and_in_pieces(called: list[ToolCall], chance: random.Random):
    declared = {(call.namespace, call.name): Tool(call.name, namespace=call.namespace, custom=call.custom) for call in called}
    called = [attrs.evolve(call, custom=declared[call.namespace, call.name].custom) for call in called]
    asked = attrs.evolve(ASKED, tools=tuple(declared.values()))
    said = plain(attrs.evolve(asked, messages=(Message("assistant", tuple(called)),))).messages[0].parts
    restoration = Restoration.of(asked)
    whole = restoration.answer(answer_of(Text("a"), Reasoning("b"), *said))
    assert whole == answer_of(Text("a"), Reasoning("b"), *called)
    pieces = [piece for delta in unfold(answer_of(Text("a"), *said)) for piece in in_pieces(delta, chance)]
    restorer = restoration.stream()
    assert fold(one for piece in pieces for one in restorer.deltas([piece])) == answer_of(Text("a"), *called)
    again = restoration.stream()
    assert restoration.answer(whole) == whole
    assert fold(again.deltas(unfold(whole))) == whole


def in_pieces(delta: Delta, chance: random.Random) -> list[Delta]:
    if not isinstance(delta, TextAdded):
        return [delta]
    text, pieces = delta.text, []
    while text:
        cut = chance.randint(1, len(text))
        pieces.append(attrs.evolve(delta, text=text[:cut]))
        text = text[cut:]
    return list(pieces)


def test_a_bare_name_counts_where_it_is_no_others():
    back = Restoration.of(ASKED).part(ToolCall("c", "exec", '{"input":"ls"}'))
    assert back == ToolCall("c", "exec", "ls", "functions", custom=True)
    other = attrs.evolve(ASKED, tools=(*ASKED.tools, Tool("exec", namespace="other")))
    assert Restoration.of(other).part(ToolCall("c", "exec", "{}")) == ToolCall("c", "exec", "{}")


def test_a_text_streams_on_as_it_comes():
    restorer = Restoration.of(ASKED).stream()
    assert restorer.deltas([PartStarted(0, ToolCall("c", "functions__exec"))]) == [
        PartStarted(0, ToolCall("c", "exec", namespace="functions", custom=True)),
    ]  # fmt: skip
    said = [restorer.deltas([TextAdded(0, piece)]) for piece in ('{"in', 'put": "l', "s\\", "n", '-l"', "}")]
    assert said == [[], [TextAdded(0, "l")], [TextAdded(0, "s")], [TextAdded(0, "\n")], [TextAdded(0, "-l")], []]
    assert restorer.deltas([PartEnded(0)]) == [PartEnded(0)]


@given(words, st.booleans())
def test_a_text_is_read_out_of_any_spelling_of_its_object(text: str, ascii_only: bool):
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    assert read_input(arguments) == text
    for size in (1, 2, 5):
        reader = InputReader()
        said = [reader.feed(arguments[start : start + size]) for start in range(0, len(arguments), size)]
        assert "".join(said) + reader.end() == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("", ""),
        ("ls -l", "ls -l"),
        ("{}", "{}"),
        ('{"command": "ls"}', '{"command": "ls"}'),
        ('{"why": "because of what it is, for a long time already, and for ever", "input": "ls"}', "ls"),
        ('{"input": 3}', '{"input": 3}'),
        ('{"input": "line\none"}', "line\none"),
        ('{"input": "cut off', "cut off"),
        ('{"input": "\\ud83d\\ude00"}', "\U0001f600"),
        ('{"input": "\\ud83d!"}', "?!"),
        ('{"input": "\\ude00"}', "?"),
        ('{"input": "\\uzzzz"}', "?"),
        ('{"input": "a\\/b\\q"}', "a/bq"),
    ],
)
def test_arguments_that_are_not_quite_that_object_do_the_least_harm(arguments: str, text: str):
    assert read_input(arguments) == text
    reader = InputReader()
    assert "".join(reader.feed(letter) for letter in arguments) + reader.end() == text


@given(st.text(max_size=60) | st.text(alphabet='{}"\\input: ud83', max_size=60), st.integers(1, 7))
def test_pieces_make_no_difference(arguments: str, size: int):
    reader = InputReader()
    said = "".join(reader.feed(arguments[start : start + size]) for start in range(0, len(arguments), size))
    assert said + reader.end() == read_input(arguments)


