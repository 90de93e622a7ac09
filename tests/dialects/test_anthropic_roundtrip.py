"""What Anthropic's language can say is said and read back without loss; what nobody should send breaks nothing."""

import json
import re
from itertools import pairwise

import attrs
import pytest
from anthropic_values import PLAIN, REPLY, SONNET, conversations, events_of
from core.canonical_values import completions, names, parts, words
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion
from appliance.core.conversation import Conversation, Tool, ToolChoice
from appliance.core.delta import Finished, PartEnded, PartStarted, SealAdded, TextAdded
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Message, Reasoning, Text, ToolCall, ToolResult
from appliance.core.seal import Seal
from appliance.dialects.anthropic import ANTHROPIC
from appliance.dialects.anthropic_answer_blocks import SEAL_OF_WORDS
from appliance.dialects.codec import Target, Written


@given(conversations())
def test_a_conversation_written_and_read_is_itself(conversation):
    written = ANTHROPIC.write_request(conversation, SONNET)
    assert isinstance(written, Written)
    assert written.dropped == ()
    assert ANTHROPIC.read_request(json.loads(written.body)) == conversation


@given(conversations())
def test_a_request_read_and_written_twice_is_the_same_bytes(conversation):
    first = ANTHROPIC.write_request(conversation, SONNET)
    again = ANTHROPIC.write_request(ANTHROPIC.read_request(json.loads(first.body)), SONNET)
    assert again.body == first.body


def as_said(answer: Completion) -> Completion:
    """The answer as far as this language says it, when both sides are ours."""
    said = []
    candidate = answer.candidates[0]
    refusal = "".join(part.text for part in candidate.parts if type(part).__name__ == "Refusal")
    for part in candidate.parts:
        if isinstance(part, Text):
            citations = tuple(one for one in part.citations if one.url)
            if part.text.strip() or citations or (part.text and said and said[-1][0] == "text"):
                said.append(("text", part.text, len(citations)))
        elif isinstance(part, ToolCall):
            if part.seal is not None:
                said.append(("sealed",))
            said.append(("call", part.id, part.name, json.loads(part.arguments or "{}")))
        elif isinstance(part, Reasoning) and (part.text or part.seal):
            said.append(("thought", part.text, part.seal is not None))
        elif type(part).__name__ in ("Foreign", "Media"):
            said.append((type(part).__name__,))
    return said, refusal


def as_read(answer: Completion):
    said, refusal = [], ""
    for part in answer.candidates[0].parts if answer.candidates else ():
        if isinstance(part, Text):
            said.append(("text", part.text, len(part.citations)))
        elif isinstance(part, ToolCall):
            said.append(("call", part.id, part.name, json.loads(part.arguments)))
        elif isinstance(part, Reasoning):
            said.append(("sealed",) if part.hidden else ("thought", part.text, part.seal is not None))
        elif type(part).__name__ == "Refusal":
            refusal += part.text
        else:
            said.append((type(part).__name__,))
    return said, refusal


def with_types(answer: Completion) -> Completion:
    """Foreign blocks of the generator have no `type`, which a real one has, and its calls may have one id, which then changes."""

    def typed(part, place):
        if isinstance(part, ToolCall):
            return attrs.evolve(part, id=f"{part.id}{place}")
        return attrs.evolve(part, raw={"type": "odd", **part.raw}) if type(part).__name__ == "Foreign" else part

    def whole(candidate):
        return attrs.evolve(candidate, parts=tuple(typed(part, place) for place, part in enumerate(candidate.parts)))

    return attrs.evolve(answer, candidates=tuple(whole(one) for one in answer.candidates))


@given(completions)
def test_whole_and_streamed_say_the_same(answer):
    answer = with_types(answer)
    whole = ANTHROPIC.read_answer(ANTHROPIC.write_answer(answer, REPLY))
    writer = ANTHROPIC.stream_writer(REPLY)
    data = writer.write(unfold(answer)) + writer.end()
    reader = ANTHROPIC.stream_reader(1_000_000, "b")
    streamed = fold(reader.feed(data) + reader.end())
    assert (reader.fault, reader.finished) == (None, True)
    assert as_read(streamed) == as_read(whole) == as_said(answer)
    assert streamed.candidates[0].finish == whole.candidates[0].finish
    assert (streamed.id, streamed.model) == (whole.id, whole.model) == (answer.id, "claude")
    if answer.usage is not None:
        assert streamed.usage == whole.usage == answer.usage


@given(completions, st.randoms(use_true_random=False))
def test_an_answer_written_in_any_batches_is_the_same_bytes(answer, chance):
    deltas = unfold(answer)
    one, many = ANTHROPIC.stream_writer(REPLY), ANTHROPIC.stream_writer(REPLY)
    data = b""
    left = list(deltas)
    while left:
        count = chance.randint(1, 3)
        data += many.write(left[:count])
        del left[:count]
    assert data + many.end() == one.write(deltas) + one.end()


@given(st.lists(st.builds(Message, st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
                          st.lists(parts | st.builds(ToolResult, names, st.lists(st.builds(Text, words), max_size=2).map(tuple)),
                                   max_size=4).map(tuple)), max_size=5),
       st.sampled_from(["claude-3-haiku-20240307", "claude-sonnet-4-6", "claude-opus-4-8", "kimi-k2"]))  # fmt: skip
def test_any_conversation_is_written_or_refused(messages, model):
    written = ANTHROPIC.write_request(Conversation("m", tuple(messages)), Target(model))
    if isinstance(written, Fault):
        assert written.kind is FaultKind.BAD_REQUEST
        return
    body = json.loads(written.body)
    assert body["messages"]
    roles = [turn["role"] for turn in body["messages"]]
    assert all(one != other for one, other in pairwise(roles))
    assert set(roles) <= {"user", "assistant"}
    for turn in body["messages"]:
        blocks = turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
        assert blocks
        assert all(block["text"].strip() for block in blocks if block.get("type") == "text")
        kinds = [block.get("type") == "tool_result" for block in blocks]
        assert turn["role"] == "assistant" or kinds == sorted(kinds, reverse=True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([
        "type", "role", "content", "text", "source", "data", "url", "id", "name", "input", "tool_use_id", "thinking", "signature",
        "citations", "cache_control", "ttl", "system", "messages", "tools", "title", "input_schema",
    ]), inner | st.sampled_from([
        "user", "assistant", "system", "text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking", "base64",
        "content", "search_result",
    ]), max_size=4), max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([
    "model", "messages", "system", "max_tokens", "tools", "tool_choice", "thinking", "output_config", "metadata", "stop_sequences",
    "temperature", "stream", "service_tier", "other",
]), json_values, max_size=6), st.lists(json_values, max_size=2))  # fmt: skip
def test_any_json_is_read_or_refused(fields, turns):
    for body in (fields, {"model": "m", "max_tokens": 1, **fields, "messages": turns}):
        for read in (ANTHROPIC.read_request, ANTHROPIC.read_count):
            found = read(body)
            if isinstance(found, Fault):
                assert found.kind is FaultKind.BAD_REQUEST
                assert found.param
            else:
                assert isinstance(found, Conversation)
                ANTHROPIC.write_request(found, SONNET)


def test_a_seal_of_another_maker_goes_through_a_caller_and_comes_back():
    for part in (
        Reasoning("hm", seal=Seal("openai", "gAAA==")), Reasoning(seal=Seal("openai", "gAAA=="), hidden=True),
        ToolCall("c1", "f", "{}", seal=Seal("gemini", "sig/+=")), Reasoning("hm"),
    ):  # fmt: skip
        answer = Completion("a", "m", (Candidate((part,), "stop"),))
        writer = ANTHROPIC.stream_writer(REPLY)
        streamed = fold(ANTHROPIC.stream_reader(10_000, "b").feed(writer.write(unfold(answer)) + writer.end()))
        for seen in (answer, streamed):  # what the caller keeps of a stream is the same blocks
            content = json.loads(ANTHROPIC.write_answer(seen, REPLY))["content"]
            turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": content}]
            back = ANTHROPIC.read_request({"model": "m", "max_tokens": 1, "messages": turns})
            assert back.messages[1].parts == (part,)


@pytest.mark.parametrize("thinking", [True, False])
def test_an_answer_ends_in_words_or_calls_whatever_is_sealed(thinking):
    fields = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    fields |= {"thinking": {"type": "adaptive"}} if thinking else {}
    words, call = Text("x", seal=Seal("gemini", "s1")), ToolCall("c1", "f", "{}", seal=Seal("gemini", "s2"))
    held, bare = ["text", "redacted_thinking"] if thinking else ["text"], attrs.evolve(words, seal=None)
    kept = words if thinking else bare
    for said, kinds, back in [
        ((words,), ["text"], (bare,)),
        ((words, call), [*held, "redacted_thinking", "tool_use"], (kept, call)),
        ((call, words), ["redacted_thinking", "tool_use", "text"], (call, bare)),
        ((words, bare), [*held, "text"], (kept, bare)),
        ((words, words), [*held, "text"], (kept, bare)),
    ]:
        answer = Completion("a", "m", (Candidate(said, "stop"),))
        reply = attrs.evolve(REPLY, conversation=ANTHROPIC.read_request(fields), dropped=[])
        content = json.loads(ANTHROPIC.write_answer(answer, reply))["content"]
        assert [block["type"] for block in content] == kinds
        assert reply.dropped == ([] if words not in said or (thinking and said[-1] is not words) else [SEAL_OF_WORDS])
        turns = [*fields["messages"], {"role": "assistant", "content": content}]
        assert ANTHROPIC.read_request({**fields, "messages": turns}).messages[1].parts == back
        told = list(reply.dropped)
        reply.dropped.clear()
        writer = ANTHROPIC.stream_writer(reply)
        events = events_of(writer.write(unfold(answer)) + writer.end())
        started = [one["content_block"] for one in events if one["type"] == "content_block_start"]
        assert [block["type"] for block in started] == kinds
        assert [block["data"] for block in started if "data" in block] == [block["data"] for block in content if "data" in block]
        assert reply.dropped == told


def test_a_calls_seal_that_comes_late_stands_behind_it():
    seal = Seal("gemini", "s")
    writer = ANTHROPIC.stream_writer(REPLY)
    data = writer.write([PartStarted(0, ToolCall("c1", "f")), TextAdded(0, "{}"), SealAdded(0, seal), PartEnded(0), Finished("tool_use")])
    blocks = [one["content_block"] for one in events_of(data + writer.end()) if one["type"] == "content_block_start"]
    assert [block["type"] for block in blocks] == ["tool_use", "redacted_thinking"]
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": blocks}]
    back = ANTHROPIC.read_request({"model": "m", "max_tokens": 1, "messages": turns})
    assert back.messages[1].parts == (ToolCall("c1", "f", "{}", seal=seal),)


def test_a_free_text_tool_of_a_namespace_goes_out_as_a_function():
    tools = (Tool("patch", "Edits.", custom=True, namespace="fs"),)
    call = Message("assistant", (ToolCall("c1", "patch", "*** Begin", "fs", custom=True),))
    result = Message("tool", (ToolResult("c1", (Text("ok"),), custom=True),))
    conversation = attrs.evolve(PLAIN, messages=(*PLAIN.messages, call, result), tools=tools, tool_choice=ToolChoice("named", "patch"))
    body = json.loads(ANTHROPIC.write_request(conversation, SONNET).body)
    assert body["tools"][0]["name"] == body["tool_choice"]["name"] == body["messages"][1]["content"][0]["name"] == "fs__patch"
    assert body["messages"][1]["content"][0]["input"] == {"input": "*** Begin"}
    assert body["tools"][0]["input_schema"]["required"] == ["input"]


def test_thoughts_that_nobody_signed_are_known_when_they_come_back_and_go_to_no_vendor_that_checks():
    answer = Completion("", "m", (Candidate((Reasoning("Hm"), Text("Hello")), "stop"),))
    content = json.loads(ANTHROPIC.write_answer(answer, REPLY))["content"]
    assert content[0]["signature"].startswith("gw1.")  # which makes the gateway write the next request anew
    writer = ANTHROPIC.stream_writer(REPLY)
    streamed = events_of(writer.write(unfold(answer)) + writer.end())
    assert [one["delta"]["signature"] for one in streamed if one.get("delta", {}).get("type") == "signature_delta"] == [
        content[0]["signature"]
    ]  # fmt: skip
    again = ANTHROPIC.read_request({
        "model": "m", "max_tokens": 9, "messages": [
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": content}, {"role": "user", "content": "So?"},
        ],
    })  # fmt: skip
    assert again.messages[1].parts == (Reasoning("Hm"), Text("Hello"))
    written = ANTHROPIC.write_request(again, SONNET)
    assert json.loads(written.body)["messages"][1] == {"role": "assistant", "content": "Hello"}
    assert written.dropped == ("messages[1].parts[0]: unsigned reasoning",)
    assert fold(unfold(ANTHROPIC.read_answer(ANTHROPIC.write_answer(answer, REPLY)))).candidates == answer.candidates


@pytest.mark.parametrize("made", ["functions.read:0", "call|fc_1", "", "gwid_x", "\u00fc" * 40, "toolu_01", "call_abc-DEF"])
def test_an_id_of_any_vendor_is_one_that_anthropic_takes_and_comes_back_as_it_was(made):
    answer = Completion("", "m", (Candidate((ToolCall(made, "f", "{}"),), "tool_use"),))
    (call,) = json.loads(ANTHROPIC.write_answer(answer, REPLY))["content"]
    assert re.fullmatch(r"[A-Za-z0-9_-]+", call["id"])
    again = ANTHROPIC.read_request({
        "model": "m", "max_tokens": 9, "messages": [
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"]}]},
        ],
    })  # fmt: skip
    assert again.messages[0].parts[0].id == again.messages[1].parts[0].call_id == (made or call["id"])
    assert (call["id"] == made) is (made in ("toolu_01", "call_abc-DEF"))


def test_a_call_never_gets_an_id_that_the_conversation_has_already():
    history = attrs.evolve(PLAIN, messages=(*PLAIN.messages, Message("assistant", (ToolCall("call_0", "f"),))))
    answer = Completion("", "m", (Candidate((ToolCall("call_0", "f"), ToolCall("call_1", "f"), ToolCall("call_1", "f")), "tool_use"),))
    reply = attrs.evolve(REPLY, conversation=history)
    ids = [block["id"] for block in json.loads(ANTHROPIC.write_answer(answer, reply))["content"]]
    assert ids[1] == "call_1"
    assert len({"call_0", *ids}) == 4
    writer = ANTHROPIC.stream_writer(reply)
    streamed = events_of(writer.write(unfold(answer)) + writer.end())
    assert [one["content_block"]["id"] for one in streamed if "content_block" in one] == ids
