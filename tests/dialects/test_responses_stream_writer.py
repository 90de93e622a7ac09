"""What a caller of the Responses API gets: events in OpenAI's order with its numbers, and the whole answer that they add up to."""

import json
from typing import Any

import attrs
import pytest
from core.canonical_values import completions
from hypothesis import given
from hypothesis import strategies as st
from openai import APIError
from responses_values import answers
from responses_wire import ASKED, events_of, read_stream, reply_to, sdk_response, validated, validated_answer, write_stream

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion, Finish, TokenLogprob
from appliance.core.conversation import ReasoningWish, Sampling, Tool, ToolChoice
from appliance.core.delta import Delta, Finished, LogprobsAdded, PartEnded, PartStarted, SealAdded, Started, TextAdded, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Message, Part, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal, wrap
from appliance.core.usage import Usage
from appliance.dialects.codec import Reply
from appliance.dialects.responses import RESPONSES

USAGE = Usage(10, 5, 4, 1, 2)
THINKS = reply_to(attrs.evolve(ASKED, reasoning=ReasoningWish(effort="high", summary="auto", sealed=True)))


def answer_of(*parts: Part, finish: Finish = "stop", **more: Any) -> Completion:
    return Completion("resp_1", "m", (Candidate(parts, finish),), USAGE, 5, **more)


def events(answer: Completion, reply: Reply | None = None) -> list[dict[str, Any]]:
    return validated(write_stream(unfold(answer), reply or reply_to()))


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


def whole(answer: Completion, reply: Reply | None = None) -> dict[str, Any]:
    return validated_answer(RESPONSES.write_answer(answer, reply or reply_to()))


def at_places(answer: Completion) -> Completion:
    """With citations at the whole text, which is what is written of unknown places."""
    def moved(part: Part) -> Part:
        if not isinstance(part, Text):
            return part
        return attrs.evolve(part, citations=tuple(attrs.evolve(one, start=0, end=0) for one in part.citations))

    return attrs.evolve(answer, candidates=tuple(
        attrs.evolve(one, parts=tuple(moved(part) for part in one.parts)) for one in answer.candidates
    ))  # fmt: skip


@given(answers())
def test_an_answer_written_whole_and_read_is_itself(answer: Completion):
    assert RESPONSES.read_answer(RESPONSES.write_answer(answer, reply_to())) == answer


@given(answers())
def test_an_answer_written_as_a_stream_and_read_is_itself(answer: Completion):
    stream = write_stream(unfold(answer), reply_to())
    deltas, reader = read_stream(stream)
    assert (reader.fault, reader.finished) == (None, True)
    assert fold(deltas) == answer


@given(answers())
def test_the_last_event_is_the_whole_answer_and_all_of_it_is_valid(answer: Completion):
    plain = attrs.evolve(answer, candidates=(attrs.evolve(
        answer.candidates[0], parts=tuple(part for part in answer.candidates[0].parts if not isinstance(part, Foreign))
    ),))  # fmt: skip
    found = events(plain)
    assert found[-1]["response"] == whole(plain)
    if not plain.candidates[0].logprobs:  # they come after all words here, and stand in the last event only
        assert found[-1]["response"]["output"] == [one["item"] for one in found if one["type"] == "response.output_item.done"]


@given(completions)
def test_any_answer_of_any_backend_becomes_valid_events(answer: Completion):
    found = events(answer)
    assert found[-1]["response"] == whole(answer)
    assert kinds(found)[:2] == ["created", "in_progress"]


EMPTY = st.sampled_from([Text(), Reasoning(), Reasoning(summary=True), ToolCall("c", "f"), Refusal()])


@given(st.lists(st.one_of(
    st.builds(PartStarted, st.integers(0, 4), EMPTY),
    st.builds(TextAdded, st.integers(0, 4), st.text(max_size=3)),
    st.builds(SealAdded, st.integers(0, 4), st.just(Seal("gemini", "s"))),
    st.builds(PartEnded, st.integers(0, 4)),
    st.builds(LogprobsAdded, st.just((TokenLogprob("a", float("-inf")),))),
    st.builds(Finished, st.sampled_from(["stop", "length"])),
), max_size=12))  # fmt: skip
def test_even_deltas_out_of_order_are_written_without_raising(deltas: list[Delta]):
    list(events_of(write_stream(deltas, reply_to())))


def test_words_come_in_openais_order_of_events():
    found = validated(write_stream([
        Started("resp_1", "backend-model", 7, Usage(3)), PartStarted(0, Text()), TextAdded(0, "Hel"), TextAdded(0, "lo"), PartEnded(0),
        Finished("stop"), UsageKnown(USAGE),
    ], reply_to()))  # fmt: skip
    assert kinds(found) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    created, last = found[0]["response"], found[-1]["response"]
    assert (created["id"], created["status"], created["output"], created["usage"]) == ("resp_1", "in_progress", [], None)
    assert (created["model"], created["created_at"], last["status"]) == ("the-model", 7, "completed")
    item = last["output"][0]
    assert item["id"].startswith("msg_")
    assert {event["item_id"] for event in found if "item_id" in event} == {item["id"]}
    assert [event["delta"] for event in found if "delta" in event] == ["Hel", "lo"]
    assert item["content"] == [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}]
    assert last["usage"] == {
        "input_tokens": 10, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1}, "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 15,
    }  # fmt: skip


def test_thoughts_words_and_parallel_calls_are_items_in_their_order():
    answer = answer_of(
        Reasoning("raw"), Text("a"), Text("b"), ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", ""), finish="tool_use",
    )  # fmt: skip
    found = events(answer)
    assert kinds(found)[2:] == [
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done", "output_item.done",
        "output_item.added",
        "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
        "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
        "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    output = found[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert [item["id"].split("_")[0] for item in output] == ["rs", "msg", "fc", "fc"]
    assert len({item["id"] for item in output}) == 4
    assert [(item["call_id"], item["arguments"], item["status"]) for item in output[2:]] == [
        ("c1", '{"a":1}', "completed"), ("c2", "{}", "completed"),
    ]  # fmt: skip
    assert [event["output_index"] for event in found if event["type"] == "response.output_item.done"] == [0, 1, 2, 3]
    assert [event["content_index"] for event in found if event["type"] == "response.output_text.delta"] == [0, 1]


def test_overlapping_calls_come_one_after_the_other():
    found = validated(write_stream([
        PartStarted(0, ToolCall("c1", "f")), PartStarted(1, ToolCall("c2", "g")), TextAdded(1, '{"b"'), TextAdded(0, '{"a"'),
        TextAdded(0, ":1}"), TextAdded(1, ":2}"), PartEnded(1), PartEnded(0), Finished("tool_use"),
    ], reply_to()))  # fmt: skip
    assert [item["arguments"] for item in found[-1]["response"]["output"]] == ['{"a":1}', '{"b":2}']
    places = [event["output_index"] for event in found if "output_index" in event]
    assert places == sorted(places)


def test_thoughts_are_summaries_for_a_caller_that_asked_for_those():
    parts = (Reasoning("one"), Reasoning("two", seal=Seal("anthropic", "sig")), ToolCall("c", "f", "{}"))
    found = events(answer_of(*parts, finish="tool_use"), THINKS)
    assert kinds(found)[2:12] == [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.done",
        "reasoning_summary_part.done", "reasoning_summary_part.added", "reasoning_summary_text.delta", "reasoning_summary_text.done",
        "reasoning_summary_part.done", "output_item.done",
    ]  # fmt: skip
    assert [event["summary_index"] for event in found if "summary_index" in event] == [0, 0, 0, 0, 1, 1, 1, 1]
    item = found[-1]["response"]["output"][0]
    assert item["summary"] == [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}]
    assert item["encrypted_content"] == wrap(Seal("anthropic", "sig"), "openai")


@pytest.mark.parametrize("reply", [reply_to(), THINKS], ids=["unasked", "asked"])
def test_what_is_sealed_comes_back_sealed_when_a_caller_sends_the_items_again(reply: Reply):
    parts = (
        Reasoning("thinking", seal=Seal("anthropic", "sig")), Reasoning(seal=Seal("anthropic", "redacted"), hidden=True),
        ToolCall("c1", "f", "{}", seal=Seal("gemini", "g1")), ToolCall("c2", "f", "{}", seal=Seal("gemini", "g2")),
    )  # fmt: skip
    output = whole(answer_of(*parts, finish="tool_use"), reply)["output"]
    streamed = events(answer_of(*parts, finish="tool_use"), reply)
    assert [event["item"] for event in streamed if event["type"] == "response.output_item.done"] == output
    asked = RESPONSES.read_request({"model": "m", "input": output})
    assert not isinstance(asked, Fault)
    assert [attrs.evolve(part, summary=False) if isinstance(part, Reasoning) else part for part in asked.messages[0].parts] == list(parts)


def test_seals_of_mere_words_are_given_to_callers_that_send_seals_back():
    answer = answer_of(Text("a", seal=Seal("gemini", "g")))
    assert [item["type"] for item in whole(answer)["output"]] == ["message"]
    output = whole(answer, THINKS)["output"]
    assert [item["type"] for item in output] == ["message", "reasoning"]
    asked = RESPONSES.read_request({"model": "m", "input": output})
    assert not isinstance(asked, Fault)
    assert asked.messages == (Message("assistant", (Text("a", seal=Seal("gemini", "g")),)),)


def test_citations_and_log_probabilities_stand_with_their_words():
    web, book = Citation("X", "https://x.test"), Citation("Book", cited="so it is", start=0, end=2)
    scores = (TokenLogprob("so", -0.5, (115, 111), (TokenLogprob("as", -1.0),)),)
    found = validated(write_stream([
        PartStarted(0, Text(citations=(web,))), LogprobsAdded(scores), TextAdded(0, "so"), *unfold(answer_of(Text("", (book,))))[2:3],
        LogprobsAdded(scores), PartEnded(0), LogprobsAdded(scores), Finished("stop"),
    ], reply_to()))  # fmt: skip
    assert kinds(found)[4:9] == [
        "output_text.delta", "output_text.annotation.added", "output_text.annotation.added", "output_text.done", "content_part.done",
    ]  # fmt: skip
    written = {"token": "so", "logprob": -0.5, "bytes": [115, 111], "top_logprobs": [{"token": "as", "logprob": -1.0, "bytes": [97, 115]}]}
    assert found[4]["logprobs"] == [written]
    assert found[7]["logprobs"] == [written, written]
    piece = found[-1]["response"]["output"][0]["content"][0]
    assert piece["logprobs"] == [written] * 3
    assert piece["annotations"] == [
        {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 2},
        {"type": "file_citation", "file_id": "", "filename": "Book", "index": 2},
    ]


def test_refusals_are_said_as_such():
    found = events(answer_of(Refusal("I can't"), finish="refusal"))
    assert kinds(found)[3:7] == ["content_part.added", "refusal.delta", "refusal.done", "content_part.done"]
    assert found[-1]["response"]["status"] == "completed"
    assert found[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "I can't"}]


def test_free_text_calls_stream_as_such():
    found = events(answer_of(ToolCall("c", "exec", "ls", "functions", custom=True), finish="tool_use"))
    assert kinds(found)[2:6] == ["output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done"]
    item = found[-1]["response"]["output"][0]
    assert item.pop("id").startswith("ctc_")
    assert item == {
        "type": "custom_tool_call", "status": "completed", "call_id": "c", "name": "exec", "input": "ls", "namespace": "functions",
    }  # fmt: skip


def test_calls_of_functions_that_stand_for_other_tools_are_turned_back():
    asked = attrs.evolve(ASKED, tools=(Tool("exec", custom=True, namespace="functions"),))
    call = ToolCall("c", "functions__exec", '{"input": "ls -l\\n"}')
    found = events(answer_of(call, finish="tool_use"), reply_to(asked))
    item = found[-1]["response"]["output"][0]
    assert (item["type"], item["name"], item["namespace"], item["input"]) == ("custom_tool_call", "exec", "functions", "ls -l\n")
    assert whole(answer_of(call, finish="tool_use"), reply_to(asked))["output"] == [item]


def test_a_made_image_is_an_image_call():
    item = whole(answer_of(Media("image", "image/png", "aGk=")))["output"][0]
    assert (item["type"], item["result"], item["status"]) == ("image_generation_call", "aGk=", "completed")


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None), ("stop_sequence", "completed", None), ("tool_use", "completed", None), ("pause", "completed", None),
        ("other", "completed", None), ("length", "incomplete", "max_output_tokens"), ("context_length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"), ("refusal", "incomplete", "content_filter"),
        ("malformed_tool_call", "failed", None),
    ],
)  # fmt: skip
def test_the_ending_says_why(finish: Finish, status: str, reason: str | None):
    answer = answer_of(Text("so"), finish=finish)
    found = events(answer)
    assert kinds(found)[-1] == status
    response = found[-1]["response"]
    assert response["status"] == status
    assert (response["incomplete_details"] or {}).get("reason") == reason
    assert (response["error"] is not None) is (status == "failed")
    assert response["output"][0]["status"] == ("incomplete" if status == "incomplete" else "completed")


def test_a_call_that_the_answer_broke_off_in_is_marked_and_read_as_one():
    answer = answer_of(ToolCall("c", "f", '{"a'), finish="length")
    assert whole(answer)["output"][0]["status"] == "incomplete"
    again = RESPONSES.read_answer(RESPONSES.write_answer(answer, reply_to()))
    assert again == attrs.evolve(answer, model="the-model")
    deltas, _ = read_stream(write_stream(unfold(answer), reply_to()))
    assert fold(deltas).candidates == answer.candidates


def test_the_response_says_what_was_asked():
    asked = attrs.evolve(
        ASKED, messages=(Message("system", (Text("be brief"),)), *ASKED.messages), tools=(Tool("f", parameters={"type": "object"}),),
        tool_choice=ToolChoice("named", "f"), parallel_tools=False, max_tokens=9, sampling=Sampling(0.5, 0.9), store=True,
        metadata={"a": "b"}, reasoning=ReasoningWish(effort="low", summary="auto"), extra={"truncation": "auto"}, user="u",
    )  # fmt: skip
    response = whole(answer_of(Text("a")), reply_to(asked))
    expected = {
        "instructions": "be brief", "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": False, "max_output_tokens": 9,
        "temperature": 0.5, "top_p": 0.9, "store": False, "metadata": {"a": "b"}, "reasoning": {"effort": "low", "summary": "auto"},
        "truncation": "auto", "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}], "user": "u",
    }  # fmt: skip
    assert {name: response[name] for name in expected} == expected


def test_ids_are_made_where_the_backend_gave_others():
    strange = attrs.evolve(answer_of(Text("a")), id="chatcmpl-1/2")
    assert whole(strange)["id"] == "resp_chatcmpl-1_2"
    nameless = attrs.evolve(answer_of(Text("a")), id="")
    assert whole(nameless)["id"] == "resp_gw0123"
    assert whole(nameless)["output"] == whole(nameless)["output"]
    assert len(whole(nameless)["output"][0]["id"]) <= 64


def test_the_sdks_accumulator_takes_the_stream():
    answer = answer_of(
        Reasoning("hm", summary=True, seal=Seal("openai", "x")), Text("so it is"), ToolCall("c", "f", '{"a":1}', seal=Seal("gemini", "s")),
        finish="tool_use",
    )  # fmt: skip
    response = sdk_response(write_stream(unfold(answer), reply_to()))
    assert response.output_text == "so it is"
    assert [item.type for item in response.output] == ["reasoning", "message", "reasoning", "function_call"]


@pytest.mark.parametrize("before", [0, 1, 3, 5, 7])
def test_an_error_may_come_at_any_point(before: int):
    deltas = unfold(answer_of(Text("so"), ToolCall("c", "f", "{}"), finish="tool_use"))[:before]
    writer = RESPONSES.stream_writer(reply_to())
    stream = writer.write(deltas) + writer.error(Fault(FaultKind.OVERLOADED, "the backend is overloaded: try again later"), "req_1")
    found = validated(stream)
    assert kinds(found)[-2:] == ["error", "failed"]
    assert found[-2]["message"] == found[-2]["error"]["message"] == "the backend is overloaded: try again later"
    assert found[-1]["response"]["error"]["code"] == "server_error"
    assert writer.write(unfold(answer_of(Text("more")))) + writer.end() == b""
    with pytest.raises(APIError, match="overloaded"):
        sdk_response(stream)
    _, reader = read_stream(stream)
    assert reader.fault is not None
    assert not reader.finished


def test_agents_can_tell_a_context_that_is_too_long():
    writer = RESPONSES.stream_writer(reply_to())
    last = list(events_of(writer.error(Fault(FaultKind.CONTEXT_LENGTH, "too long"), "")))[-1]
    assert last["response"]["error"] == {"code": "context_length_exceeded", "message": "too long"}


def test_half_characters_do_not_break_the_stream():
    stream = write_stream([PartStarted(0, Text()), TextAdded(0, "a\ud83d"), PartEnded(0), Finished("stop")], reply_to())
    assert json.loads(stream.split(b"data: ")[-1])["response"]["output"][0]["content"][0]["text"] == "a?"
    list(events_of(stream))


def test_keepalives_are_comments_until_the_response_has_begun_and_then_events_in_their_number():
    writer = RESPONSES.stream_writer(reply_to())
    assert writer.keepalive() == RESPONSES.keepalive() == b": keep-alive\n\n"
    stream = writer.write([Started("r", "m"), PartStarted(0, Text()), TextAdded(0, "Hel")])
    stream += writer.keepalive() + writer.write([TextAdded(0, "lo"), PartEnded(0), Finished("stop")]) + writer.end()
    told = list(events_of(stream))
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert [event["type"] for event in told].count("response.in_progress") == 2
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"
    writer.error(Fault(FaultKind.STREAM_CUT, "cut"), "")
    assert writer.keepalive() == b": keep-alive\n\n"


def test_a_whole_response_has_usage_though_the_backend_told_none():
    writer = RESPONSES.stream_writer(reply_to())
    told = list(events_of(writer.write([Started("r", "m"), Finished("stop")]) + writer.end()))
    assert told[-1]["response"]["usage"]["total_tokens"] == 0
    broken = RESPONSES.stream_writer(reply_to())
    told = list(events_of(broken.write([Started("r", "m")]) + broken.error(Fault(FaultKind.STREAM_CUT, "cut"), "")))
    assert told[-1]["response"]["usage"] is None
