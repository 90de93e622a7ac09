"""Legacy completions to backends that have chats only: a prompt becomes a chat, its answer text, whole and streamed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion as SdkCompletion

from appliance.core.completion import Candidate, Completion, TokenLogprob
from appliance.core.conversation import Conversation, Sampling
from appliance.core.delta import Finished, LogprobsAdded, PartEnded, PartStarted, Started, TextAdded, UsageKnown
from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Message, Reasoning, Refusal, Text
from appliance.core.usage import Usage
from appliance.dialects.codec import Reply
from appliance.dialects.openai_completion import COMPLETIONS

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "wire" / "openai"


def read(**fields):
    return COMPLETIONS.read_request({"model": "m", **fields})


def reply(**fields):
    conversation = read(prompt="p", **fields)
    assert isinstance(conversation, Conversation)
    return Reply(conversation, "asked", "cmpl-made", 7)


def events(*batches, **fields):
    writer = COMPLETIONS.stream_writer(reply(stream=True, **fields))
    out = b"".join(writer.write(batch) for batch in batches) + writer.end()
    blocks = out.decode().removesuffix("\n\n").split("\n\n")
    assert blocks.pop() == "data: [DONE]"
    found = [json.loads(one.removeprefix("data: ")) for one in blocks]
    for one in found:
        assert (one["id"], one["object"], one["model"]) == ("c", "text_completion", "asked")
    return found


def test_a_prompt_becomes_one_user_message_bounded_as_the_api_says():
    for prompt in ("Say hi", ["Say hi"]):
        found = read(prompt=prompt)
        assert found.messages == (Message("user", (Text("Say hi"),)),)
        assert found.max_tokens == 16
    assert read(prompt="p", max_tokens=0).max_tokens == 0
    assert read(prompt="p", max_tokens=99).max_tokens == 99


def test_sampling_is_carried():
    found = read(
        prompt="p", temperature=0.5, top_p=0.9, stop=["a", "b"], seed=3, presence_penalty=1, frequency_penalty=-1, n=2, logprobs=5,
        logit_bias={"50256": -100}, user="u", stream=True, stream_options={"include_usage": True}, best_of=2, echo=False, suffix="",
    )  # fmt: skip
    assert found.sampling == Sampling(
        temperature=0.5, top_p=0.9, stop=("a", "b"), seed=3, presence_penalty=1, frequency_penalty=-1, logit_bias={"50256": -100},
        logprobs=True, top_logprobs=5, candidates=2,
    )  # fmt: skip
    assert (found.user, found.stream, found.wants_usage, dict(found.extra)) == ("u", True, True, {})
    assert read(prompt="p", logprobs=0).sampling == Sampling(logprobs=True)


@pytest.mark.parametrize(("fields", "param"), [
    ({}, "prompt"), ({"prompt": None}, "prompt"), ({"prompt": 5}, "prompt"), ({"prompt": []}, "prompt"), ({"prompt": [1, 2]}, "prompt"),
    ({"prompt": [[1], [2]]}, "prompt"), ({"prompt": ["a", "b"]}, "prompt"), ({"prompt": "p", "suffix": "end"}, "suffix"),
    ({"prompt": "p", "echo": True}, "echo"), ({"prompt": "p", "best_of": 3}, "best_of"), ({"prompt": "p", "best_of": 3, "n": 2}, "best_of"),
    ({"prompt": "p", "logprobs": True}, "logprobs"), ({"prompt": "p", "max_tokens": "9"}, "max_tokens"), ({"prompt": "p", "n": 0}, "n"),
])  # fmt: skip
def test_what_a_chat_cannot_do_is_refused_by_name(fields, param):
    found = read(**fields)
    assert isinstance(found, Fault)
    assert (found.kind, found.param) == (FaultKind.BAD_REQUEST, param)


def test_a_whole_answer_is_text():
    answer = Completion("c", "m", (
        Candidate((Reasoning("hm"), Text("Good "), Text("day")), "stop"), Candidate((Refusal("No."),), "refusal"), Candidate((), "length"),
    ), Usage(4, 6, reasoning_tokens=2), 5, "fp")  # fmt: skip
    found = json.loads(COMPLETIONS.write_answer(answer, reply()))
    SdkCompletion.model_validate(found)
    assert [(one["index"], one["text"], one["finish_reason"], one["logprobs"]) for one in found["choices"]] == [
        (0, "Good day", "stop", None), (1, "No.", "content_filter", None), (2, "", "length", None),
    ]  # fmt: skip
    assert (found["id"], found["created"], found["model"], found["system_fingerprint"]) == ("c", 5, "asked", "fp")
    assert [found["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")] == [4, 6, 10]
    bare = json.loads(COMPLETIONS.write_answer(Completion("", "m", (Candidate((Text("x"),), "stop"),)), reply()))
    assert (bare["id"], bare["created"], "usage" in bare) == ("cmpl-made", 7, False)


TOKENS = (TokenLogprob("Good", -0.1, top=(TokenLogprob("Good", -0.1), TokenLogprob("Bad", -3.0))), TokenLogprob(" day", float("-inf")))
LEGACY = {
    "tokens": ["Good", " day"], "token_logprobs": [-0.1, -9999.0], "top_logprobs": [{"Good": -0.1, "Bad": -3.0}, {}], "text_offset": [0, 4],
}  # fmt: skip


def test_log_probabilities_have_their_older_form():
    answer = Completion("c", "m", (Candidate((Text("Good day"),), "stop", logprobs=TOKENS),))
    found = json.loads(COMPLETIONS.write_answer(answer, reply(logprobs=2)))
    assert found["choices"][0]["logprobs"] == LEGACY
    streamed = events([Started("c"), PartStarted(0, Text()), LogprobsAdded(TOKENS[:1]), LogprobsAdded(TOKENS[1:])])
    assert [one["choices"][0]["logprobs"]["text_offset"] for one in streamed] == [[0], [4]]


def test_a_stream_is_text_by_text_and_ends_with_its_reason_and_usage():
    found = events(
        [Started("c", created=5), PartStarted(0, Reasoning()), TextAdded(0, "hm"), PartEnded(0), PartStarted(1, Text())],
        [TextAdded(1, "Good "), TextAdded(1, "day"), PartEnded(1), Finished("length"), UsageKnown(Usage(4, 6))],
        stream_options={"include_usage": True},
    )
    assert [one["choices"] for one in found[:-1]] == [
        [{"text": "Good ", "index": 0, "logprobs": None, "finish_reason": None}],
        [{"text": "day", "index": 0, "logprobs": None, "finish_reason": None}],
        [{"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}],
    ]
    assert [one["usage"] for one in found[:-1]] == [None] * 3
    assert (found[-1]["choices"], found[-1]["usage"]["total_tokens"]) == ([], 10)
    for one in found[:-1]:
        SdkCompletion.model_validate({**one, "choices": [{**one["choices"][0], "finish_reason": "stop"}]})


def test_usage_that_nobody_asked_for_is_not_sent():
    found = events([Started("c"), PartStarted(0, Text("x")), Finished("stop"), UsageKnown(Usage(1, 1))])
    assert [("usage" in one, one["choices"][0]["text"]) for one in found] == [(False, "x"), (False, "")]


def test_an_error_amid_a_stream_is_openais():
    writer = COMPLETIONS.stream_writer(reply())
    said = writer.error(Fault(FaultKind.STREAM_CUT, "cut"), "id")
    assert json.loads(said.removeprefix(b"data: "))["error"]["message"] == "cut"
    assert writer.keepalive().startswith(b":")


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings of real providers are not beside the tree")
def test_what_is_written_has_the_recorded_form():
    whole = json.loads((RECORDINGS / "completion-openai-completion-text.json").read_bytes())
    choice = whole["choices"][0]
    usage = Usage(whole["usage"]["prompt_tokens"], whole["usage"]["completion_tokens"])
    answer = Completion(whole["id"], "", (Candidate((Text(choice["text"]),), "length"),), usage, whole["created"])
    written = json.loads(COMPLETIONS.write_answer(answer, Reply(reply().conversation, whole["model"], "x", 1)))
    assert {**written, "usage": None} == {**whole, "usage": None}
    assert written["usage"].items() >= whole["usage"].items()
    lines = [json.loads(one) for one in (RECORDINGS / "completion-openai-completion-text.chunks.txt").read_text().splitlines()]
    texts = [one["choices"][0]["text"] for one in lines[:-1]]
    deltas = [Started("c"), PartStarted(0, Text()), *(TextAdded(0, one) for one in texts), Finished("length"), UsageKnown(usage)]
    found = events(deltas, stream_options={"include_usage": True})
    assert [one.keys() for one in found] == [*(one.keys() for one in lines[:-1]), lines[-2].keys(), lines[-1].keys()]
    assert "".join(one["choices"][0]["text"] for one in found[:-1]) == "".join(texts)


@given(st.dictionaries(
    st.sampled_from(["prompt", "suffix", "echo", "best_of", "n", "logprobs", "stop", "max_tokens", "stream_options", "logit_bias", "x"]),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2), max_leaves=4),
))  # fmt: skip
def test_no_request_makes_the_reader_raise(fields):
    assert isinstance(read(**fields), Conversation | Fault)
