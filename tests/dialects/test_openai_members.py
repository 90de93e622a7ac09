"""Thoughts that a vendor refuses leave a chat's history, and nothing else does."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.dialects.openai_members import without_members

NAMES = ("reasoning_content", "extra_content")


def test_only_these_members_of_assistants_turns_and_their_calls_go():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"extra_content":1}'}, "extra_content": {"google": {}}}
    user = {"role": "user", "content": "x", "reasoning_content": "the user's own"}
    turn = {"role": "assistant", "content": "y", "reasoning_content": "hm", "reasoning_details": [], "tool_calls": [call], "unknown": 1e3}
    found = without_members({"messages": [user, turn, "odd", {"role": "assistant", "content": "z"}]}, NAMES)
    assert found is not None
    assert found[0] == {"messages": [
        user, {"role": "assistant", "content": "y", "reasoning_details": [], "unknown": 1e3,
               "tool_calls": [{"id": "c", "type": "function", "function": call["function"]}]},
        "odd", {"role": "assistant", "content": "z"},
    ]}  # fmt: skip
    assert found[1] == ("messages[1].reasoning_content", "messages[1].tool_calls[0].extra_content")


def test_where_they_are_not_nothing_changes():
    for messages in ([{"role": "assistant", "content": "extra_content"}], [], None, "x", [{"role": "user", "extra_content": 1}]):
        assert without_members({"messages": messages}, NAMES) is None


anything = st.recursive(
    st.none() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["role", "tool_calls", *NAMES]), inner | st.just("assistant"), max_size=4),
    max_leaves=12,
)


@given(anything)
def test_no_messages_raise(messages):
    without_members({"messages": messages}, NAMES)
