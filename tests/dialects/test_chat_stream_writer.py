"""Streams of chunks are what OpenAI's own SDK declares, add up in it to the whole answer, and read back as what was written."""

import json

import attrs
import orjson
import pytest
from chat_wire import events, read, reply, strict_chunks
from core.canonical_values import candidates, names, usages
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState

from appliance.core.assembly import fold, unfold
from appliance.core.completion import Candidate, Completion, TokenLogprob
from appliance.core.conversation import Tool
from appliance.core.delta import Finished, PartEnded, PartStarted, SealAdded, Started, TextAdded
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Citation, Foreign, Media, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.core.usage import Usage
from appliance.dialects.chat import CHAT


def written(answer, **fields):
    writer = CHAT.stream_writer(reply(**fields))
    return writer.write(unfold(answer)) + writer.end()


def one(*parts, finish="stop", **more):
    return Completion("c1", "m", (Candidate(tuple(parts), finish),), Usage(10, 5, 3), 5, **more)


def deltas_of(stream, choice=0):
    return [
        entry["delta"]
        for event in stream.split(b"\n\n")
        if event.startswith(b"data: {")
        for entry in orjson.loads(event[6:])["choices"]
        if entry["index"] == choice and entry["delta"]
    ]


def added_up(stream):
    """What OpenAI's SDK makes of a stream."""
    state = ChatCompletionStreamState()
    for chunk in strict_chunks(stream):
        state.handle_chunk(chunk)
    return state.current_completion_snapshot


def test_a_stream_begins_with_the_role_and_ends_with_usage_and_done():
    stream = written(one(Text("Hi")), wants_usage=True)
    chunks = strict_chunks(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].choices[0].delta.content == ""
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None, None, "stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == 10
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens == 3
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert {(chunk.id, chunk.model, chunk.created, chunk.object) for chunk in chunks} == {("c1", "shown-model", 5, "chat.completion.chunk")}
    assert stream.endswith(b"data: [DONE]\n\n")


def test_usage_is_only_told_to_a_caller_who_asked():
    stream = written(one(Text("Hi")), wants_usage=False)
    assert b"usage" not in stream
    assert stream.endswith(b"data: [DONE]\n\n")


def test_a_provider_that_named_nothing_gets_the_gateways_names():
    answer = attrs.evolve(one(Text("Hi")), id="", created=0)
    assert {(chunk.id, chunk.created) for chunk in strict_chunks(written(answer))} == {("reply-id", 1_700_000_000)}


def test_words_come_one_chunk_for_each_delta_and_byte_for_byte_equal():
    writer = CHAT.stream_writer(reply(wants_usage=False))
    first = writer.write([Started("c1"), PartStarted(0, Text()), TextAdded(0, "a")])
    more = writer.write([TextAdded(0, 'b"\n\u2028'), TextAdded(0, "c")])
    assert first.count(b"data: ") == 2
    assert [delta["content"] for delta in deltas_of(more)] == ['b"\n\u2028', "c"]
    assert first.split(b"\n\n")[1].replace(b'"a"', b'"c"') == more.split(b"\n\n")[1]


def test_calls_are_numbered_and_their_arguments_are_json_even_when_there_are_none():
    stream = written(one(Text("Hm"), ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g"), finish="tool_use"))
    final = added_up(stream).choices[0]
    assert final.finish_reason == "tool_calls"
    assert [(call.id, call.function.name, call.function.arguments) for call in final.message.tool_calls] == [
        ("a", "f", '{"x":1}'), ("b", "g", "{}"),
    ]  # fmt: skip
    assert final.message.content == "Hm"


def test_an_answer_of_calls_only_has_no_content():
    assert added_up(written(one(ToolCall("a", "f"), finish="tool_use"))).choices[0].message.content is None


def test_overlapping_parts_keep_their_places():
    writer = CHAT.stream_writer(reply())
    stream = writer.write([
        Started("c1"), PartStarted(0, ToolCall("a", "f")), PartStarted(1, ToolCall("b", "g")), TextAdded(0, '{"x"'), TextAdded(1, "{"),
        TextAdded(0, ":1}"), PartEnded(0), TextAdded(1, "}"), PartEnded(1), Finished("tool_use"),
    ]) + writer.end()  # fmt: skip
    assert [call.function.arguments for call in added_up(stream).choices[0].message.tool_calls] == ['{"x":1}', "{}"]


def test_a_caller_of_functions_gets_its_one_function_call():
    calls = ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "{}")
    final = added_up(written(one(*calls, finish="tool_use"), single_call=True)).choices[0]
    assert final.finish_reason == "function_call"
    assert (final.message.function_call.name, final.message.function_call.arguments) == ("f", '{"x":1}')
    assert final.message.tool_calls is None


def test_a_free_text_tool_gets_its_text_though_the_backend_called_a_function():
    writer = CHAT.stream_writer(reply(tools=(Tool("patch", custom=True),)))
    stream = writer.write([
        Started("c1"), PartStarted(0, ToolCall("a", "patch")), TextAdded(0, '{"input":'), TextAdded(0, '"*** Begin"}'), PartEnded(0),
        Finished("tool_use"),
    ])  # fmt: skip
    entries = [delta["tool_calls"][0] for delta in deltas_of(stream) if "tool_calls" in delta]
    assert entries[0] == {"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": ""}}
    assert entries[1:] == [{"index": 0, "custom": {"input": "*** Begin"}}]


def test_sealed_thoughts_come_back_whole_in_the_next_turn():
    parts = Reasoning("Let me.", seal=Seal("anthropic", "SIG")), Reasoning(seal=Seal("anthropic", "BLOB"), hidden=True), Text("So")
    stream = written(one(*parts))
    message = added_up(stream).choices[0].message.to_dict()
    assert message["reasoning_content"] == "Let me."
    assert [detail["type"] for detail in message["reasoning_details"]] == ["reasoning.text", "reasoning.encrypted"]
    asked = CHAT.read_request({"model": "m", "messages": [message]})
    assert not isinstance(asked, Fault)
    assert asked.messages[0].parts == parts


def test_a_seal_in_pieces_is_one():
    writer = CHAT.stream_writer(reply())
    seal = [SealAdded(0, Seal("anthropic", "SI")), SealAdded(0, Seal("anthropic", "G"))]
    stream = writer.write([Started("c1"), PartStarted(0, Reasoning()), TextAdded(0, "Hm"), *seal, PartEnded(0), Finished("stop")])
    message = added_up(stream).choices[0].message.to_dict()
    asked = CHAT.read_request({"model": "m", "messages": [message]})
    assert asked.messages[0].parts == (Reasoning("Hm", seal=Seal("anthropic", "SIG")),)


def test_thoughts_before_a_sealed_one_are_in_the_details_too():
    parts = Reasoning("One.", summary=True), Reasoning("Two.", summary=True, seal=Seal("openai", "gAAA"))
    message = added_up(written(one(*parts, Text("So")))).choices[0].message.to_dict()
    assert message["reasoning_content"] == "One.\n\nTwo."
    assert CHAT.read_request({"model": "m", "messages": [message]}).messages[0].parts == (*parts, Text("So"))


def test_googles_signatures_stand_where_its_own_endpoint_has_them():
    parts = Text("Hi", seal=Seal("gemini", "T")), ToolCall("a", "f", "{}", seal=Seal("gemini", "S"))
    message = added_up(written(one(*parts, finish="tool_use"))).choices[0].message.to_dict()
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "S"}}
    assert message["extra_content"] == {"google": {"thought_signature": "T"}}
    assert CHAT.read_request({"model": "m", "messages": [message]}).messages[0].parts == parts


def test_pictures_sound_citations_refusals_and_log_probabilities_are_shown():
    cited = Text("Hi", (Citation("A", "https://a", "words", 0, 2), Citation("B", "https://b")))
    other = Text("Ho", (Citation("C", "https://c", "", 0, 2),))
    foreign = Foreign("anthropic", "server_tool_use", {})
    answer = one(cited, other, Media("image", "image/png", "aGk="), Media("audio", data="aGk="), Refusal("No."), foreign)
    candidate = attrs.evolve(answer.candidates[0], logprobs=(TokenLogprob("Hi", float("-inf"), (72,), (TokenLogprob("Ho", -1),)),))
    final = added_up(written(attrs.evolve(answer, candidates=(candidate,)))).choices[0]
    notes = [note.url_citation for note in final.message.annotations]
    places = [(note.url, note.start_index, note.end_index) for note in notes]
    assert places == [("https://a", 0, 2), ("https://b", 0, 0), ("https://c", 2, 4)]
    assert final.message.audio.data == "aGk="
    assert final.message.refusal == "No."
    assert final.message.to_dict()["images"][0]["image_url"]["url"] == "data:image/png;base64,aGk="
    assert final.logprobs.content[0].logprob == -9999.0
    assert final.logprobs.content[0].top_logprobs[0].token == "Ho"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "stop"), ("stop_sequence", "stop"), ("length", "length"), ("context_length", "length"), ("content_filter", "content_filter"),
     ("refusal", "content_filter"), ("pause", "stop"), ("other", "stop"), ("malformed_tool_call", "stop"), ("tool_use", "stop")],
)  # fmt: skip
def test_every_way_to_end_is_one_that_openais_clients_know(finish, reason):
    assert strict_chunks(written(one(Text("Hi"), finish=finish), wants_usage=False))[-1].choices[0].finish_reason == reason


def test_a_refusal_in_words_ends_with_stop():
    assert strict_chunks(written(one(Refusal("No."), finish="refusal"), wants_usage=False))[-1].choices[0].finish_reason == "stop"


def test_an_error_may_come_at_any_point_and_is_no_end():
    writer = CHAT.stream_writer(reply())
    before = writer.write([Started("c1"), PartStarted(0, Text()), TextAdded(0, "Hi")])
    said = writer.error(Fault(FaultKind.OVERLOADED, "try later"), "r1")
    assert json.loads(said[6:])["error"]["message"] == "try later"
    _, reader = read(before + writer.keepalive() + said)
    assert reader.fault is not None
    assert CHAT.stream_writer(reply()).error(Fault(FaultKind.INTERNAL, "m"), "").startswith(b"data: ")


def test_candidates_that_come_out_of_order_begin_in_order():
    writer = CHAT.stream_writer(reply())
    stream = writer.write([
        Started("c1"), PartStarted(0, Text(), 1), TextAdded(0, "B", 1), PartStarted(0, Text(), 0), TextAdded(0, "A", 0), PartEnded(0, 1),
        Finished("stop", "", 1), PartEnded(0, 0), Finished("length", "", 0),
    ])  # fmt: skip
    final = added_up(stream)
    assert [(choice.message.content, choice.finish_reason) for choice in final.choices] == [("A", "length"), ("B", "stop")]


def plain(part):
    """As far as chat completions say it: without citations and seals that have no place, ids that are never empty."""
    if isinstance(part, Text):
        return Text(part.text)
    return attrs.evolve(part, arguments=part.arguments or "{}", seal=None) if isinstance(part, ToolCall) else part


@st.composite
def sayable(draw):
    """An answer in the order of a chat message: one thought, words, a refusal, calls."""
    found = []
    for candidate in draw(st.lists(candidates, min_size=1, max_size=3)):
        kinds = {kind: [plain(part) for part in candidate.parts if isinstance(part, kind)] for kind in (Reasoning, Text, Refusal, ToolCall)}
        thoughts = [Reasoning(part.text) for part in kinds[Reasoning] if part.text][:1]
        words = [part for part in kinds[Text] if part.text][:1]
        calls = list({part.id: part for part in kinds[ToolCall]}.values())
        refusals = [part for part in kinds[Refusal] if part.text][:1]
        finish = "tool_use" if calls else "stop" if candidate.finish in ("tool_use", "stop_sequence") else candidate.finish
        finish = "refusal" if refusals and finish == "stop" else finish
        found.append(Candidate((*thoughts, *words, *refusals, *calls), finish, "", candidate.logprobs))
    return Completion(draw(names), "shown-model", tuple(found), draw(usages), draw(st.integers(1, 2**31)))


@given(sayable(), st.integers(1, 50))
def test_a_streamed_answer_and_a_whole_one_read_back_as_they_are(answer, step):
    stream = written(answer, wants_usage=True)
    strict_chunks(stream)
    deltas, reader = read(stream, step)
    assert reader.finished
    assert fold(deltas) == answer
    assert CHAT.read_answer(CHAT.write_answer(answer, reply())) == answer


@given(st.lists(candidates, min_size=1, max_size=2), usages)
def test_every_answer_of_any_language_is_a_valid_stream_that_adds_up(found, usage):
    answer = Completion("c1", "m", tuple(found), usage, 5)
    stream = written(answer)
    final = added_up(stream)
    whole = json.loads(CHAT.write_answer(answer, reply()))
    for choice, other in zip(final.choices, whole["choices"], strict=True):
        message = choice.message.to_dict()
        assert (message.get("content") or "") == (other["message"]["content"] or "")
        for name in ("reasoning_content", "reasoning_details", "refusal", "images", "annotations", "extra_content"):
            assert (message.get(name) or None) == (other["message"].get(name) or None), name
        calls = message.get("tool_calls") or []
        for place, call in enumerate(calls):
            assert call.pop("index") == place
            call["function"].pop("parsed_arguments", None)
        assert calls == (other["message"].get("tool_calls") or [])
        assert choice.finish_reason == other["finish_reason"]


def test_a_text_that_no_json_may_hold_is_written_all_the_same():
    stream = written(one(Text("a\ud83db")))
    assert added_up(stream).choices[0].message.content == "a\ufffdb"
    assert b"\\ud83d" not in events(stream)
