"""Which requests Gemini 3 would refuse for want of a signature."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dialects.gemini_unsigned import lacks_signature


def said(role, *parts):
    return {"role": role, "parts": list(parts)}


ASKED = said("user", {"text": "x"})
UNSIGNED, SIGNED = {"functionCall": {"name": "f"}}, {"functionCall": {"name": "f"}, "thoughtSignature": "c2ln"}
SNAKE = {"function_call": {"name": "f"}, "thought_signature": "c2ln"}
RESULT = said("user", {"functionResponse": {"name": "f", "response": {}}})


@pytest.mark.parametrize(
    ("contents", "lacks"),
    [
        ([ASKED, said("model", UNSIGNED), RESULT], True),
        ([ASKED, said("model", SIGNED, UNSIGNED), RESULT], False),
        ([ASKED, said("model", SNAKE), RESULT], False),
        ([ASKED, said("model", {"text": "a"}, UNSIGNED), RESULT, said("model", SIGNED), RESULT], True),
        ([ASKED, said("model", UNSIGNED), RESULT, said("model", {"text": "done"}), ASKED], False),
        ([ASKED, said("model", UNSIGNED), said("user", {"function_response": {}}, {"text": "look"})], True),
        ([ASKED], False),
    ],
)
def test_only_the_current_turns_first_calls_count(contents, lacks):
    assert lacks_signature({"contents": contents}, "gemini-3-pro-preview") == lacks
    assert not lacks_signature({"contents": contents}, "gemini-2.5-flash")


anything = st.recursive(
    st.none() | st.booleans() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["role", "parts", "functionCall", "functionResponse", "text"]), inner, max_size=3),
    max_leaves=12,
)


@given(anything)
def test_no_contents_raise(contents):
    assert lacks_signature({"contents": contents}, "gemini-3-pro-preview") in (True, False)
