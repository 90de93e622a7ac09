"""What real vendors streamed passes through the tap to the byte, and is understood."""

import json
from pathlib import Path

import pytest

from appliance.dialects.openai_chat import OpenAIStreamTap, hidden_error, read_answer
from appliance.dialects.protocol import Answer

WIRE = Path(__file__).parents[3] / "shared" / "recordings" / "wire"

# (recording, input, output, cached, reasoning tokens, finish reason, deltas with something in them)
STREAMS = [
    ("openai/chat-openai-text", 16, 300, 0, 0, "stop", 300),
    ("openai/completion-openai-completion-text", 14, 16, 0, 0, "length", 16),
    ("openai/chat-azure-model-router.1", 15, 78, 0, 64, "stop", 4),
    ("groq/groq-tool-call", 210, 15, 0, 0, "tool_calls", 1),
    ("mistral/mistral-text", 13, 8, 0, 0, "stop", 6),
    ("mistral/mistral-reasoning", 10, 46, 0, 0, "stop", 3),
    ("mistral/mistral-tool-call", 124, 22, 0, 0, "tool_calls", 1),
    ("mistral/mistral-incremental-tool-call", None, None, None, None, "tool_calls", None),
    ("deepseek/chat-deepseek-text", 13, 400, 0, 0, "length", 400),
    ("deepseek/chat-deepseek-reasoning", 18, 219, 0, 205, "stop", 218),
    ("deepseek/chat-deepseek-tool-call", 339, 83, 320, 39, "tool_calls", 50),
    ("alibaba/alibaba-text", 18, 779, 0, 0, "stop", 171),
    ("alibaba/alibaba-reasoning", 24, 1355, 0, 1084, "stop", 272),
    ("alibaba/alibaba-tool-call", 295, 22, 0, 0, "tool_calls", 4),
    # xAI counts reasoning beside the completion: 1 + 290, 26 + 196.
    ("xai/xai-text", 12, 291, 11, 290, "stop", 6),
    ("xai/xai-tool-call", 291, 222, 290, 196, "tool_calls", 6),
    ("openai-compatible/chat-xai-text", 12, 342, 11, 340, "stop", None),
    ("openai-compatible/chat-xai-tool-call", None, None, None, None, "tool_calls", None),
    ("moonshotai/moonshotai-stream", 9, 12, 0, 7, "stop", 4),
]

WHOLE = [
    "openai/chat-openai-text", "openai/completion-openai-completion-text", "openai/embedding-openai-embedding", "groq/groq-reasoning",
    "groq/groq-text", "groq/groq-tool-call", "mistral/mistral-reasoning", "mistral/mistral-text", "mistral/mistral-tool-call",
    "deepseek/chat-deepseek-json", "deepseek/chat-deepseek-reasoning", "deepseek/chat-deepseek-text", "deepseek/chat-deepseek-tool-call",
    "alibaba/alibaba-reasoning", "alibaba/alibaba-text", "alibaba/alibaba-tool-call", "xai/xai-text", "xai/xai-tool-call",
    "moonshotai/moonshotai-reasoning", "moonshotai/moonshotai-text", "moonshotai/moonshotai-tool-call",
    "openai-compatible/chat-xai-text", "openai-compatible/chat-xai-tool-call",
]  # fmt: skip

needs_recordings = pytest.mark.skipif(not WIRE.is_dir(), reason="the provider recordings (../shared/recordings) are not on this machine")


def _events(name: str) -> list[bytes]:
    lines = (WIRE / f"{name}.chunks.txt").read_bytes().splitlines()
    return [b"data: " + line + b"\n\n" for line in lines if line.strip()]


@needs_recordings
@pytest.mark.parametrize(("name", "given", "made", "cached", "reasoning", "reason", "deltas"), STREAMS, ids=[one[0] for one in STREAMS])
@pytest.mark.parametrize("done", [True, False])
def test_a_recorded_stream_passes_verbatim_and_is_understood(
    name: str, given: int | None, made: int, cached: int, reasoning: int, reason: str, deltas: int | None, done: bool
) -> None:
    events = [*_events(name), *([b"data: [DONE]\n\n"] if done else [])]
    tap = OpenAIStreamTap(hide_usage=False, event_max_bytes=1 << 20)
    assert [tap.feed(event) for event in events] == events
    assert tap.end() == b""
    assert tap.fault is None
    assert (tap.committed, tap.token_seen, tap.finished) == (True, True, True)
    said = tap.answer()
    assert said.model
    assert said.finish_reason == reason
    assert said.usage is not None
    if given is not None:
        one = said.usage
        assert (one.input_tokens, one.output_tokens, one.cached_input_tokens, one.reasoning_tokens) == (given, made, cached, reasoning)
    if deltas is not None:
        assert tap.deltas == deltas


@needs_recordings
@pytest.mark.parametrize("name", [one[0] for one in STREAMS])
def test_cut_before_its_last_finish_a_recorded_stream_is_not_finished(name: str) -> None:
    events = _events(name)
    last = max(place for place, event in enumerate(events) if b'"finish_reason":"' in event)
    tap = OpenAIStreamTap(hide_usage=False, event_max_bytes=1 << 20)
    for event in events[:last]:
        tap.feed(event)
    tap.end()
    assert not tap.finished
    assert tap.fault is not None


@needs_recordings
@pytest.mark.parametrize("name", [one[0] for one in STREAMS])
def test_all_at_once_or_in_odd_pieces_a_recorded_stream_is_the_same(name: str) -> None:
    whole = b"".join(_events(name)) + b"data: [DONE]\n\n"
    said = []
    for size in (len(whole), 1460, 97):
        tap = OpenAIStreamTap(hide_usage=True, event_max_bytes=1 << 20)
        out = b"".join(tap.feed(whole[at : at + size]) for at in range(0, len(whole), size)) + tap.end()
        said.append((out, tap.answer(), tap.deltas, tap.finished, tap.fault))
    assert said[0] == said[1] == said[2]


@needs_recordings
def test_a_recorded_sse_capture_passes_as_it_is() -> None:
    capture = (WIRE / "openai-compatible" / "chat-anthropic-fallback-tool-call.sse").read_bytes()
    tap = OpenAIStreamTap(hide_usage=True, event_max_bytes=1 << 20)
    assert tap.feed(capture) + tap.end() == capture + b"\n"  # the file lacks the last event's blank line: readers would drop that event
    assert (tap.finished, tap.fault, tap.answer().finish_reason, tap.answer().usage) == (True, None, "tool_calls", None)


@needs_recordings
@pytest.mark.parametrize("name", WHOLE)
def test_a_recorded_answer_is_understood(name: str) -> None:
    body = (WIRE / f"{name}.json").read_bytes()
    said = read_answer(body)
    assert isinstance(said, Answer)
    assert hidden_error(body) is None
    assert said.usage is not None
    told = json.loads(body)["usage"]
    assert said.usage.input_tokens == told["prompt_tokens"]
    assert said.usage.input_tokens + said.usage.output_tokens == told["total_tokens"]
    assert said.model


@needs_recordings
def test_a_recorded_error_body_is_recognised() -> None:
    fault = hidden_error((WIRE / "openai" / "chat-reasoning-model-legacy-parameter-error.json").read_bytes())
    assert fault is not None
    assert (fault.param, fault.code, fault.surface_status) == ("max_tokens", "unsupported_parameter", 400)
