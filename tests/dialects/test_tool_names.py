"""Names of tools that a backend would refuse are others there, the same in every turn, and the caller's again in the answer."""

import re

import attrs
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.conversation import Conversation, Tool, ToolChoice
from appliance.core.message import Message, Text, ToolCall, ToolResult
from appliance.dialects.tool_names import all_fit, changed_names, fitting, restored_answer, restored_deltas, with_fitting_names

LONG = "mcp__plugin_chrome-devtools-mcp_chrome-devtools__performance_analyze_insight"
TALK = Conversation(
    "m",
    (
        Message("user", (Text("Hi"),)),
        Message("assistant", (Text("so"), ToolCall("a", LONG, "{}"), ToolCall("b", "short", "{}"))),
        Message("tool", (ToolResult("a", name=LONG), ToolResult("b", name="short"))),
    ),
    tools=(Tool(LONG), Tool("short"), Tool("a.b"), Tool("web_search_20250305", server=True, family="anthropic")),
    tool_choice=ToolChoice("named", LONG, allowed=(LONG, "short")),
)


@given(st.text(min_size=1, max_size=200))
def test_a_name_that_everybody_takes_stays_and_any_other_becomes_one(name: str) -> None:
    found = fitting(name)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found)
    assert (found == name) is (re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) is not None)
    assert fitting(found) == found == fitting(name)


def test_two_long_names_with_one_beginning_are_told_apart() -> None:
    assert fitting(LONG + "_1") != fitting(LONG + "_2")
    assert fitting("a.b") != fitting("a:b")


def test_a_request_is_changed_everywhere_alike() -> None:
    short = fitting(LONG)
    sent = with_fitting_names(TALK)
    assert [tool.name for tool in sent.tools] == [short, "short", fitting("a.b"), "web_search_20250305"]
    assert sent.tool_choice == ToolChoice("named", short, allowed=(short, "short"))
    assert [part.name for part in sent.messages[1].parts[1:]] == [part.name for part in sent.messages[2].parts] == [short, "short"]
    assert (all_fit(TALK), all_fit(sent)) == (False, True)
    assert all_fit(attrs.evolve(TALK, tools=(), messages=TALK.messages[:1]))
    assert not all_fit(attrs.evolve(TALK, tools=()))  # the history alone
    assert with_fitting_names(sent) == sent


def test_an_answer_has_the_callers_names_whole_and_streamed() -> None:
    short, names = fitting(LONG), changed_names(TALK)
    answer = Completion("i", "m", (Candidate((Text("x"), ToolCall("a", short, "{}"), ToolCall("b", "short", "{}"))),))
    whole = restored_answer(answer, names)
    assert [part.name for part in whole.candidates[0].parts[1:]] == [LONG, "short"]
    assert fold(restored_deltas(unfold(answer), names)) == whole
