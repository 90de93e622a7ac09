"""Cohere's answers as bytes, for tests: recordings, and events written by hand."""

from pathlib import Path
from typing import Any

import orjson

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "wire" / "cohere"
WHY_NOT = "the recordings of real providers are not beside the tree"


def recording(name: str) -> bytes:
    return (RECORDINGS / name).read_bytes()


def recordings(ending: str) -> list[Path]:
    return sorted(RECORDINGS.glob(f"*{ending}")) if RECORDINGS.is_dir() else []


def stream_of(path: Path) -> bytes:
    return events(*(orjson.loads(line) for line in path.read_bytes().splitlines()))


def events(*sent: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (one.get("type", "message").encode(), orjson.dumps(one)) for one in sent)


def content(kind: str, number: int = 0, **words: Any) -> dict[str, Any]:
    return {"type": f"content-{kind}", "index": number, **({"delta": {"message": {"content": words}}} if words else {})}


def call_start(number: int, name: str, given: str = "") -> dict[str, Any]:
    call = {"id": f"{name}_{number}", "type": "function", "function": {"name": name, "arguments": given}}
    return {"type": "tool-call-start", "index": number, "delta": {"message": {"tool_calls": call}}}


def call_delta(number: int, piece: str) -> dict[str, Any]:
    return {"type": "tool-call-delta", "index": number, "delta": {"message": {"tool_calls": {"function": {"arguments": piece}}}}}


def call_end(number: int) -> dict[str, Any]:
    return {"type": "tool-call-end", "index": number}


def message_end(reason: str = "COMPLETE", **more: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": reason, **more}}
