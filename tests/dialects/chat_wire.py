"""Recorded chat completions and helpers for tests of their codec."""

from pathlib import Path

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation
from appliance.core.delta import Delta
from appliance.dialects.chat import CHAT
from appliance.dialects.chat_stream_reader import ChatStreamReader
from appliance.dialects.codec import Reply

WIRE = Path(__file__).parents[3] / "shared" / "recordings" / "wire"
EVENT_MAX_BYTES = 1 << 20

_FOLDERS = ("groq", "mistral", "deepseek", "alibaba", "moonshotai", "openai-compatible")
_PREFIXES = {"xai": "xai-", "openai": "chat-", "azure": "azure-deepseek"}
ERROR = "chat-reasoning-model-legacy-parameter-error.json"


def recorded(streamed: bool) -> list[Path]:
    """Every recording of a chat completion."""
    found = [path for folder in _FOLDERS for path in sorted((WIRE / folder).glob("*"))]
    found += [path for folder, prefix in _PREFIXES.items() for path in sorted((WIRE / folder).glob(f"{prefix}*"))]
    return [path for path in found if (path.suffix != ".json") is streamed and path.name != ERROR]


def params(streamed: bool) -> list:
    """For parametrize: the recordings, or one mark that says why there are none."""
    paths = [pytest.param(path, id=path.name) for path in recorded(streamed)]
    return paths or [pytest.param(None, marks=pytest.mark.skip(reason=f"no recordings at {WIRE}"))]


def as_stream(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".sse":
        return data
    return events(*data.split(b"\n"))


def events(*chunks: bytes, done: bool = True) -> bytes:
    """The chunks as an event stream."""
    said = b"".join(b"data: " + chunk.strip() + b"\n\n" for chunk in chunks if chunk.strip())
    return said + b"data: [DONE]\n\n" if done else said


def read(stream: bytes, step: int = 0) -> tuple[list[Delta], ChatStreamReader]:
    """Everything that a reader makes of a stream, fed whole or in pieces of `step` bytes."""
    reader = CHAT.stream_reader(EVENT_MAX_BYTES, "b1")
    deltas: list[Delta] = []
    for place in range(0, len(stream), step or len(stream) or 1):
        deltas += reader.feed(stream[place : place + (step or len(stream))])
    return deltas + reader.end(), reader


def reply(**fields) -> Reply:
    """What a writer is told; `fields` are the conversation's."""
    return Reply(Conversation("m", (), **fields), "shown-model", "reply-id", 1_700_000_000)


def strict_completion(body: bytes) -> ChatCompletion:
    """As OpenAI's SDK declares it, with every type checked."""
    return ChatCompletion.model_validate_json(body, strict=True)


def strict_chunks(stream: bytes) -> list[ChatCompletionChunk]:
    """The chunks of a written stream, each checked; what is no chunk must be a comment or the end."""
    chunks = []
    for event in stream.split(b"\n\n"):
        if event and not event.startswith(b":") and event != b"data: [DONE]":
            assert event.startswith(b"data: ")
            chunks.append(ChatCompletionChunk.model_validate_json(event[6:], strict=True))
    return chunks


def texts(answer: Completion, kind: type) -> list[str]:
    return [part.text for candidate in answer.candidates for part in candidate.parts if isinstance(part, kind)]
