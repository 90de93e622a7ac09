"""Chat completion streams of every vendor are read for what they say, in any pieces, and nothing that comes raises."""

import json

import attrs
import orjson
import pytest
from chat_wire import EVENT_MAX_BYTES, as_stream, events, params, read, reply, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.assembly import fold
from appliance.core.delta import Finished, PartEnded, PartStarted, Started, TextAdded, UsageKnown
from appliance.core.fault import FaultKind
from appliance.core.message import Media, Reasoning, Refusal, Text, ToolCall
from appliance.core.seal import Seal
from appliance.dialects.chat import CHAT


def chunk(delta=None, finish=None, **more):
    choice = {"index": more.pop("index", 0), "delta": delta or {}, "finish_reason": finish, **more.pop("choice", {})}
    return json.dumps({"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [choice], **more}).encode()


def calls(*entries):
    return chunk({"tool_calls": list(entries)})


def answer(*chunks, done=True):
    deltas, reader = read(events(*chunks, done=done))
    assert reader.fault is None
    assert reader.finished
    return fold(deltas)


def only(*chunks, done=True):
    return answer(*chunks, done=done).candidates[0]


@pytest.mark.parametrize("path", params(streamed=True))
def test_a_recorded_stream_says_what_its_chunks_hold(path):
    stream = as_stream(path)
    chunks = [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: {")]
    choices = [one["choices"][0]["delta"] for one in chunks if one["choices"]]
    deltas, reader = read(stream)
    assert reader.fault is None
    assert reader.finished
    found = fold(deltas)
    words = [one.get("content") for one in choices]
    said = "".join(
        piece if isinstance(piece, str) else "".join(part.get("text", "") for part in piece) for piece in words if piece is not None
    )
    assert "".join(texts(found, Text)) == said
    thought = "".join(one.get("reasoning_content") or "" for one in choices)
    assert "".join(texts(found, Reasoning)) == thought or path.name.startswith("mistral-reasoning")
    arguments = "".join(entry["function"].get("arguments") or "" for one in choices for entry in one.get("tool_calls") or [])
    named = [entry["function"]["name"] for one in choices for entry in one.get("tool_calls") or [] if entry["function"].get("name")]
    made = [part for part in found.candidates[0].parts if isinstance(part, ToolCall)]
    assert "".join(call.arguments for call in made) == arguments
    assert [call.name for call in made] == named
    assert found.candidates[0].finish == ("tool_use" if made else chunks_finish(chunks))
    usage = next((one["usage"] for one in reversed(chunks) if one.get("usage")), None)
    assert (found.usage is None) == (usage is None)
    if usage is not None:
        assert found.usage.input_tokens == usage["prompt_tokens"]
        assert found.usage.total_tokens == usage["total_tokens"]


def chunks_finish(chunks):
    return next(one["choices"][0]["finish_reason"] for one in reversed(chunks) if one["choices"] and one["choices"][0].get("finish_reason"))


@pytest.mark.parametrize("path", params(streamed=True))
def test_a_recorded_stream_in_single_bytes_gives_the_same_deltas(path):
    stream = as_stream(path)
    stream = stream if len(stream) < 40_000 else stream[:20_000] + b"\n\n" + stream[-10_000:].partition(b"\n\n")[2]
    assert read(stream, 1)[0] == read(stream)[0]


def test_deltas_come_in_the_order_that_every_stream_has():
    deltas, _ = read(events(chunk({"role": "assistant", "content": ""}), chunk({"content": "Hi"}), chunk({}, "stop"), b'{"usage":null}'))
    assert deltas == [
        Started("c1", "m", 5), PartStarted(0, Text()), TextAdded(0, "Hi"), PartEnded(0), Finished("stop"),
    ]  # fmt: skip


def test_counts_after_the_finish_are_the_last_word():
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    last = json.dumps({"choices": [], "usage": usage}).encode()
    deltas, _ = read(events(chunk({"content": "Hi"}), chunk({}, "stop"), last))
    assert isinstance(deltas[-1], UsageKnown)
    assert deltas[-1].usage.input_tokens == 3


def test_parallel_calls_may_interleave_and_share_a_chunk():
    found = only(
        calls({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
              {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": '{"x"'}}),
        calls({"index": 0, "function": {"arguments": '{"y":'}}),
        calls({"index": 1, "function": {"arguments": ":1}"}}, {"index": 0, "function": {"arguments": "2}"}}),
        chunk({}, "tool_calls"),
    )  # fmt: skip
    assert found.parts == (ToolCall("a", "f", '{"y":2}'), ToolCall("b", "g", '{"x":1}'))
    assert found.finish == "tool_use"


FRAGMENTS = {
    "id and name repeated": [
        [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}],
        [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ":1}"}}],
    ],
    "id late": [
        [{"index": 0, "function": {"name": "f", "arguments": '{"x"'}}],
        [{"index": 0, "id": "a", "function": {"arguments": ":1}"}}],
    ],
    "name late": [[{"index": 0, "id": "a"}], [{"index": 0, "function": {"name": "f", "arguments": '{"x":1}'}}]],
    "no index": [[{"id": "a", "function": {"name": "f", "arguments": '{"x"'}}], [{"function": {"arguments": ":1}"}}]],
    "no index, id repeated": [[{"id": "a", "function": {"name": "f"}}], [{"id": "a", "function": {"arguments": '{"x":1}'}}]],
    "an empty name and id later": [
        [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}],
        [{"index": 0, "id": "", "function": {"name": "", "arguments": '{"x":1}'}}],
    ],
    "a new id without a name": [
        [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}],
        [{"index": 0, "id": "other", "function": {"name": None, "arguments": ":1}"}}],
    ],
    "arguments as an object": [[{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]],
    "an index that begins at one": [[{"index": 1, "id": "a", "function": {"name": "f", "arguments": '{"x":1}'}}]],
}


@pytest.mark.parametrize("fragments", FRAGMENTS.values(), ids=FRAGMENTS)
def test_one_call_is_one_call_however_its_fragments_are_marked(fragments):
    found = only(*(calls(*entries) for entries in fragments), chunk({}, "tool_calls"))
    assert found.parts == (ToolCall("a", "f", '{"x":1}'),)


TWO = {
    "one index for both": [
        [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}],
        [{"index": 0, "id": "b", "function": {"name": "f", "arguments": '{"x":1}'}}],
    ],
    "no index, in one chunk": [
        [{"id": "a", "function": {"name": "f", "arguments": "{}"}}, {"id": "b", "function": {"name": "f", "arguments": '{"x":1}'}}],
    ],
    "no index, cut": [
        [{"id": "a", "function": {"name": "f", "arguments": "{}"}}],
        [{"id": "b", "function": {"name": "f", "arguments": '{"x"'}}],
        [{"function": {"arguments": ":1}"}}],
    ],
}


@pytest.mark.parametrize("fragments", TWO.values(), ids=TWO)
def test_two_calls_are_two_calls_however_they_are_marked(fragments):
    found = only(*(calls(*entries) for entries in fragments), chunk({}, "stop"))
    assert found.parts == (ToolCall("a", "f", "{}"), ToolCall("b", "f", '{"x":1}'))
    assert found.finish == "tool_use"


def test_calls_without_ids_get_the_same_ones_each_time():
    nameless = [{"function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "g", "arguments": "{}"}}]
    first, second = only(calls(*nameless)), only(calls(*nameless))
    assert first == second
    assert [part.name for part in first.parts] == ["f", "g"]
    assert len({part.id for part in first.parts}) == 2


def test_the_older_function_call_and_free_text_tools_are_calls():
    found = only(chunk({"function_call": {"name": "f", "arguments": "{"}}), chunk({"function_call": {"arguments": "}"}}, "function_call"))
    assert [(part.name, part.arguments) for part in found.parts] == [("f", "{}")]
    assert found.finish == "tool_use"
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    found = only(calls(custom), calls({"index": 0, "custom": {"input": "y"}}), chunk({}, "tool_calls"))
    assert found.parts == (ToolCall("a", "patch", "xy", custom=True),)


@pytest.mark.parametrize(("arguments", "finish"), [('{"x":', "length"), ('{"x":1}', "tool_use")])
def test_a_call_that_was_cut_at_the_token_limit_is_told_from_a_whole_one(arguments, finish):
    cut = calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": arguments}})
    assert only(cut, chunk({}, "length")).finish == finish


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "reasoning_text"])
def test_thoughts_come_in_any_spelling_and_end_where_words_begin(field):
    found = only(chunk({field: "Let "}), chunk({field: "me."}), chunk({"content": "So"}), chunk({field: "Hm"}), chunk({}, "stop"))
    assert found.parts == (Reasoning("Let me."), Text("So"), Reasoning("Hm"))


BLOB = {"type": "reasoning.encrypted", "data": "BLOB", "id": "rs_1", "format": "openai-responses-v1"}


def test_openrouters_details_give_one_sealed_thought_and_no_words_twice():
    detail = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    found = only(
        chunk({"content": "", "reasoning": None, "reasoning_details": []}),
        chunk({"content": "", "reasoning": "Let ", "reasoning_details": [{**detail, "text": "Let "}]}),
        chunk({"content": "", "reasoning": "me.", "reasoning_details": [{**detail, "text": "me."}]}),
        chunk({"content": "", "reasoning": None, "reasoning_details": [{**detail, "signature": "SIG"}]}),
        chunk({"reasoning_details": [{**BLOB, "index": 1}]}),
        chunk({"content": "So"}), chunk({}, "stop"),
    )  # fmt: skip
    first, second, said = found.parts
    assert (first.text, first.seal.maker, json.loads(first.seal.value)["signature"]) == ("Let me.", "openai_chat", "SIG")
    assert second.hidden
    assert json.loads(second.seal.value) == BLOB
    assert said == Text("So")


def test_google_signs_calls_and_words_and_numbers_neither():
    signed = {"extra_content": {"google": {"thought_signature": "SIG"}}}
    found = only(
        chunk({"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
        chunk({"role": "assistant", "tool_calls": [signed]}),
        chunk({"role": "assistant"}, "stop"),
    )
    assert found.parts == (ToolCall("a", "f", "{}", seal=Seal("openai_chat", '{"google":{"thought_signature":"SIG"}}')),)
    found = only(chunk({"content": "Hi"}), chunk({"content": "", **signed}, "stop"))
    assert found.parts == (Text("Hi", seal=Seal("openai_chat", '{"google":{"thought_signature":"SIG"}}')),)


def test_candidates_refusals_pictures_sound_and_log_probabilities_are_read():
    token = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [{"token": "Ho", "logprob": None, "bytes": None}]}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    found = answer(
        chunk({"content": "Hi"}, choice={"logprobs": {"content": [token]}}), chunk({"refusal": "No."}, index=1), chunk({"images": [image]}),
        chunk({"audio": {"id": "x", "data": "aGk=", "transcript": "hi"}}, index=2), chunk({"audio": {"data": "aG8="}}, index=2),
        chunk({}, "stop"), chunk({}, "stop", index=1), chunk({}, "stop", index=2),
    )  # fmt: skip
    assert found.candidates[0].parts == (Text("Hi"), Media("image", "image/png", "aGk="))
    assert found.candidates[0].logprobs[0].raw_bytes == (72, 105)
    assert found.candidates[0].logprobs[0].top[0].logprob == -9999.0
    assert found.candidates[1].parts == (Refusal("No."),)
    assert found.candidates[2].parts == (Text("hi"), Media("audio", data="aGlobw=="))


def test_citations_belong_to_the_words():
    note = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A", "start_index": 0, "end_index": 2}}
    cited = only(chunk({"content": "Hi"}), chunk({"annotations": [note]}), chunk({}, "stop")).parts[0].citations[0]
    assert (cited.url, cited.title, cited.start, cited.end, cited.raw) == ("https://a", "A", 0, 2, note)
    linked = only(chunk({"content": "Hi"}, citations=["https://a"]), chunk({"content": "!"}, "stop", citations=["https://a"])).parts[0]
    assert (linked.text, [one.url for one in linked.citations]) == ("Hi!", ["https://a"])


def test_the_text_that_ended_an_answer_is_told():
    found = only(chunk({"content": "Hi"}), chunk({}, "stop", choice={"stop_reason": "END"}))
    assert (found.finish, found.stop_sequence) == ("stop_sequence", "END")


def test_words_after_a_finish_reason_still_count():
    found = only(chunk({"content": "Hi"}, "stop"), chunk({"content": "!"}, "stop"))
    assert found.parts == (Text("Hi!"),)


def test_a_stream_without_its_last_word_is_whole_if_it_said_why_it_ended():
    assert only(chunk({"content": "Hi"}, "stop"), done=False).parts == (Text("Hi"),)


@pytest.mark.parametrize("stream", [b"", events(chunk({"content": "Hi"}), done=False), b": hi\n\n"], ids=["empty", "cut", "comment"])
def test_a_stream_that_was_cut_is_a_fault(stream):
    deltas, reader = read(stream)
    assert reader.fault is not None
    assert reader.fault.kind is FaultKind.STREAM_CUT
    assert not reader.finished
    assert not any(isinstance(one, Finished) for one in deltas)


FAULTS = {
    "an error event": (events(b'{"error":{"message":"m","type":"overloaded_error"}}'), FaultKind.OVERLOADED),
    "an error named": (b'event: error\ndata: {"message":"m","status_code":503}\n\n', FaultKind.OVERLOADED),
    "an error in a choice": (events(chunk({}, "error")), FaultKind.STREAM_ERROR),
    "too long a prompt": (events(b'{"error":{"message":"m","code":"context_length_exceeded"}}'), FaultKind.CONTEXT_LENGTH),
    "no JSON": (events(b"hello"), FaultKind.PROTOCOL),
    "no object": (events(b"[1]"), FaultKind.PROTOCOL),
    "HTML": (b"<html>\n</html>", FaultKind.PROTOCOL),
    "an error in bare JSON": (b'{"error":{"message":"m","type":"server_error"}}', FaultKind.SERVER_ERROR),
    "nothing but the end": (events(), FaultKind.PROTOCOL),
    "an event without end": (b"data: " + b"x" * (EVENT_MAX_BYTES + 100), FaultKind.PROTOCOL),
}


@pytest.mark.parametrize(("stream", "kind"), FAULTS.values(), ids=FAULTS)
def test_what_is_no_answer_is_the_fault_that_it_is(stream, kind):
    _, reader = read(stream)
    assert reader.fault is not None
    assert reader.fault.kind is kind
    assert read(stream, 7)[1].fault == reader.fault
    assert reader.feed(events(chunk({"content": "more"}))) == []


def test_a_vendor_that_does_not_stream_is_read_all_the_same():
    body = {"id": "c", "model": "m", "choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    deltas, reader = read(json.dumps(body).encode())
    assert reader.finished
    assert fold(deltas).candidates[0].parts == (Text("Hi"),)


def test_a_surrogate_pair_cut_between_two_chunks_is_one_character():
    halves = [b'{"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}', b'{"choices":[{"index":0,"delta":{"content":"\\ude00b"}}]}']
    assert only(*halves, chunk({}, "stop")).parts == (Text("a\U0001f600b"),)
    assert only(halves[0], chunk({}, "stop")).parts == (Text("a\ufffd"),)


def test_held_arguments_are_bounded():
    whole = calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": "x" * 1000}})
    reader = CHAT.stream_reader(4096, "b1")
    for _ in range(10):
        reader.feed(events(whole, done=False))
    assert reader.fault is None  # what has been passed on need not be held
    nameless = calls({"index": 1, "function": {"arguments": "x" * 1000}})
    for _ in range(10):
        reader.feed(events(nameless, done=False))
    assert reader.fault is not None
    assert reader.fault.kind is FaultKind.PROTOCOL


def test_faults_do_not_quote_what_came():
    _, reader = read(events(b"the secret prompt"))
    assert "secret" not in repr(reader.fault)
    assert "secret" not in repr(reader)


@given(st.binary(max_size=300), st.integers(1, 7))
def test_arbitrary_bytes_never_raise(data, step):
    read(data, step)


scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4) | st.just("\ud83d")
names = st.sampled_from([
    "content", "role", "reasoning", "reasoning_content", "reasoning_details", "tool_calls", "function_call", "index", "id", "function",
    "name", "arguments", "custom", "input", "type", "text", "thinking", "summary", "signature", "data", "annotations", "url_citation",
    "images", "image_url", "url", "audio", "transcript", "extra_content", "refusal", "logprobs", "top_logprobs", "bytes", "token",
    "logprob", "start_index", "end_index", "format", "message", "delta", "finish_reason", "stop_reason",
])  # fmt: skip
kinds = st.sampled_from(["text", "thinking", "image_url", "reasoning.text", "reasoning.encrypted", "url_citation", "custom"])
values = st.recursive(scalars | kinds, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4), max_leaves=12)
tops = st.sampled_from(["id", "model", "created", "usage", "x_groq", "citations", "system_fingerprint", "service_tier", "error", "object"])


@settings(max_examples=300)
@given(st.lists(st.tuples(st.lists(values, max_size=2), st.dictionaries(tops, values, max_size=2)), max_size=4))
def test_chunks_of_any_shape_never_raise_and_deltas_keep_their_order(chunks):
    made = [json.dumps({"choices": choices, **more}).encode() for choices, more in chunks]
    deltas, _ = read(events(*made))
    check_order(deltas)


@settings(max_examples=300)
@given(st.lists(st.dictionaries(names, values, max_size=5), max_size=5))
def test_deltas_of_any_shape_never_raise_and_keep_their_order(made):
    deltas, reader = read(events(*(chunk(one) for one in made), chunk({}, "stop")))
    check_order(deltas)
    if reader.finished:
        answer = fold(deltas)
        orjson.dumps(attrs.asdict(answer))
        stream = CHAT.stream_writer(reply()).write(deltas)
        assert stream.endswith(b"\n\n") or not stream


def check_order(deltas):
    """Parts begin in order, hold only between their ends, and nothing follows the last word."""
    assert sum(isinstance(one, Started) for one in deltas) <= 1
    started: dict[int, int] = {}
    is_open: set[tuple[int, int]] = set()
    for place, one in enumerate(deltas):
        if isinstance(one, UsageKnown):
            assert place == len(deltas) - 1
        elif isinstance(one, PartStarted):
            assert one.index == started.get(one.candidate, 0)
            started[one.candidate] = one.index + 1
            is_open.add((one.candidate, one.index))
        elif isinstance(one, PartEnded):
            is_open.remove((one.candidate, one.index))
        elif isinstance(one, Finished):
            assert not [key for key in is_open if key[0] == one.candidate]
        elif hasattr(one, "index"):
            assert (one.candidate, one.index) in is_open


def test_a_call_whose_arguments_are_whole_is_over_when_the_next_thing_begins():
    def call(index, name, arguments):
        return calls({"index": index, "id": f"c{index}", "type": "function", "function": {"name": name, "arguments": arguments}})

    def more(index, arguments):
        return calls({"index": index, "function": {"arguments": arguments}})

    told = [call(0, "f", ""), more(0, '{"a":'), more(0, "1}"), call(1, "g", "{}"), call(2, "h", '{"b":'), more(0, " "), more(2, "2}")]
    said = [*told, chunk({"content": "So"}), chunk({}, "stop")]
    deltas, reader = read(events(*said))
    order = [(type(one).__name__, one.index) for one in deltas if isinstance(one, PartStarted | PartEnded)]
    assert order == [
        ("PartStarted", 0), ("PartEnded", 0), ("PartStarted", 1), ("PartStarted", 2), ("PartEnded", 2), ("PartStarted", 3),
        ("PartEnded", 3), ("PartEnded", 1),
    ]  # fmt: skip
    assert [part.arguments for part in fold(deltas).candidates[0].parts[:3]] == ['{"a":1}', "{}", '{"b":2}']
    assert reader.fault is None
