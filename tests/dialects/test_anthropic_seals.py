"""Thoughts that Anthropic did not sign are taken out of a request that passes verbatim, and nothing else of it."""

import json

import pytest
from anthropic_values import REPLY

from appliance.core.completion import Candidate, Completion
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Text
from appliance.core.seal import UNSIGNED, WRAPPED_QUOTED, Seal, wrap
from appliance.core.step import FOREIGN_SEAL
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.anthropic_blocks import AHEAD, BEHIND, carrier
from appliance.dialects.anthropic_seals import signature_refused, unsealed
from appliance.dialects.anthropic_unthought import unthought
from appliance.dialects.language_table import language

HI, SO = {"role": "user", "content": "Hi"}, {"role": "user", "content": "So?"}
OWN = {"type": "thinking", "thinking": "mine", "signature": "c2ln"}
THEIRS = {"type": "thinking", "thinking": "theirs", "signature": wrap(Seal("openai_chat", "x"), "anthropic")}
NOBODYS = {"type": "thinking", "thinking": "unsigned", "signature": UNSIGNED}
HIDDEN = {"type": "redacted_thinking", "data": wrap(Seal("gemini", "x"), "anthropic")}
CARRIED, COMING = carrier(Seal("gemini", "x"), BEHIND), carrier(Seal("gemini", "x"), AHEAD)
TEXT = {"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}
CALL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}


def said(*content):
    return {"role": "assistant", "content": list(content), "odd": 1}


def test_a_request_with_nothing_of_other_vendors_stays_as_it_is():
    for messages in ([HI], [HI, said(OWN, TEXT), SO], [HI, {"role": "assistant", "content": "x"}], "odd", [7, {"content": [7]}]):
        assert unsealed({"messages": messages}, False) is None
    assert unsealed({}, True) is None


def test_what_others_signed_is_left_out_and_named():
    messages = [HI, said(THEIRS, HIDDEN, OWN, TEXT, CARRIED, COMING), SO, said(NOBODYS, {**NOBODYS, "signature": ""}), SO]
    assert unsealed({"messages": messages, "model": "m"}, False) == (
        {"messages": [HI, said(OWN, TEXT), SO, SO]},
        (
            "messages[1].content[0]: sealed reasoning of openai_chat", "messages[1].content[1]: sealed reasoning of gemini",
            "messages[1].content[4]: sealed reasoning of gemini", "messages[1].content[5]: sealed reasoning of gemini",
            "messages[3].content[0]: unsigned reasoning", "messages[3].content[1]: unsigned reasoning",
        ),
    )  # fmt: skip
    everything = unsealed({"messages": [HI, said(OWN, TEXT), SO]}, True)
    assert everything == ({"messages": [HI, said(TEXT), SO]}, ("messages[1].content[0]: sealed reasoning of anthropic",))


def test_a_turn_that_goes_on_without_its_thought_goes_on_without_thinking():
    fields = {"messages": [HI, said(THEIRS, CALL), RESULT], "thinking": {"type": "enabled", "budget_tokens": 2000}}
    changed, _ = unsealed(fields, False)
    assert unthought({**fields, **changed}, "claude-sonnet-4-5") == ({"thinking": {"type": "disabled"}}, ("thinking",))


@pytest.mark.parametrize(("message", "refused"), [
    ("messages.1.content.0: Invalid `signature` in `thinking` block", True), ("Invalid signature in thinking block", True),
    ("messages.1.content.3: Invalid `data` in `redacted_thinking` block", True), ("messages.1.content.0.thinking: Field required", False),
])  # fmt: skip
def test_a_refusal_of_a_signature_is_known_by_its_words(message, refused):
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"%b"}}' % message.encode()
    fault = ANTHROPIC.classify(400, [], body, backend="b", now=0.0)
    assert (fault.code == FOREIGN_SEAL) is refused
    assert signature_refused(fault) is refused
    assert fault.body == body
    assert not signature_refused(Fault(FaultKind.SERVER_ERROR, message))


def test_sources_that_another_vendor_found_are_left_out_of_their_words():
    answer = Completion("", "m", (Candidate((Text("Paris", (Citation("A", "https://a.test"),)),), "stop"),))
    (theirs,) = json.loads(ANTHROPIC.write_answer(answer, REPLY))["content"]
    assert WRAPPED_QUOTED in json.dumps(theirs).encode()
    own = {"type": "web_search_result_location", "url": "https://b.test", "encrypted_index": "RW5j", "cited_text": "", "title": None}
    both = {**theirs, "citations": [*theirs["citations"], own]}
    changed, dropped = unsealed({"messages": [HI, said(theirs), SO, said(both), SO]}, False)
    bare = {"type": "text", "text": "Paris"}
    assert changed["messages"] == [HI, said(bare), SO, said({**bare, "citations": [own]}), SO]
    assert dropped == ("messages[1].content[0].citations", "messages[3].content[0].citations")


@pytest.mark.parametrize("name", ["openai_chat", "anthropic_messages"])
def test_words_that_look_like_a_seal_are_none(name):
    verbatim = language(name).verbatim
    assert verbatim is not None
    assert verbatim.wrapped in json.dumps({"signature": THEIRS["signature"]}).encode()
    assert verbatim.wrapped not in json.dumps({"content": "what does gw1. mean?"}).encode()
