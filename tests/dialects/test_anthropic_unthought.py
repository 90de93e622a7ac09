"""Thinking is switched off for the rest of a turn that began without it, and only then."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.seal import Seal, wrap
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.anthropic_seals import unsealed
from appliance.dialects.anthropic_unthought import unthought
from appliance.dialects.codec import Target

THINKING = {"type": "enabled", "budget_tokens": 2000}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]}


def asked(*blocks, **fields):
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": list(blocks)}, RESULT]
    return {"messages": turns, "thinking": THINKING, **fields}


def test_a_turn_that_began_without_thinking_goes_on_so():
    for blocks in ([USE], [{"type": "text", "text": "a"}, USE]):
        assert unthought(asked(*blocks), "claude-sonnet-4-5") == ({"thinking": {"type": "disabled"}}, ("thinking",))


def test_an_edit_that_clears_thinking_goes_with_it():
    clear, other = {"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}
    found = unthought(asked(USE, context_management={"edits": [clear, other]}), "claude-sonnet-4-5")
    assert found is not None
    assert found[0]["context_management"] == {"edits": [other]}
    found = unthought(asked(USE, context_management={"edits": [clear]}), "claude-sonnet-4-5")
    assert found is not None
    assert found[0]["context_management"] is None
    assert found[1] == ("thinking", "context_management")


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        (asked(THOUGHT, USE), "claude-sonnet-4-5"), (asked({"type": "redacted_thinking", "data": "d"}, USE), "claude-sonnet-4-5"),
        (asked(USE), "glm-4.7"), (asked(USE, thinking={"type": "adaptive"}), "claude-opus-4-6"), (asked(USE, thinking=None), "claude-x"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}, {"role": "user", "content": "z"}],
          "thinking": THINKING}, "claude-x"),
    ],
)  # fmt: skip
def test_what_claude_takes_stays_as_it_is(fields, model):
    assert unthought(fields, model) is None


anything = st.recursive(
    st.none() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["content", "type"]), inner | st.just("tool_result"), max_size=2),
    max_leaves=12,
)


@given(anything)
def test_no_messages_raise(messages):
    unthought({"messages": messages, "thinking": THINKING, "context_management": messages}, "claude-x")


@pytest.mark.parametrize(("thinking", "kept"), [(THINKING, 1), ({"type": "adaptive"}, 2), (None, 1)])
def test_a_request_written_anew_clears_no_thoughts_where_none_are_thought(thinking, kept):
    edits = [{"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}]
    fields = asked(USE, thinking=thinking, context_management={"edits": edits}, model="claude-opus-4-6", max_tokens=9000)
    conversation = ANTHROPIC.read_request(fields)
    body = json.loads(ANTHROPIC.write_request(conversation, Target("claude-opus-4-6")).body)
    assert body["context_management"]["edits"] == edits[-kept:]


def test_a_turn_whose_thoughts_were_another_vendors_clears_none_either():
    sealed = {"type": "thinking", "thinking": "hm", "signature": wrap(Seal("gemini", "s"), "anthropic")}
    edits = [{"type": "clear_thinking_20251015", "keep": "all"}]
    fields = asked(sealed, USE, context_management={"edits": edits})
    found = unsealed(fields, False)
    assert found is not None
    off = {"thinking": {"type": "disabled"}, "context_management": None}
    assert unthought({**fields, **found[0]}, "claude-sonnet-4-5") == (off, ("thinking", "context_management"))
