"""Bedrock's answers as bytes, for tests: recordings, and events written by hand."""

from pathlib import Path
from typing import Any

import orjson

from appliance.dialects.aws_eventstream import write_event

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "wire" / "amazon-bedrock"
WHY_NOT = "the recordings of real providers are not beside the tree"


def recordings(ending: str) -> list[Path]:
    return sorted(RECORDINGS.glob(f"*{ending}")) if RECORDINGS.is_dir() else []


def stream_of(path: Path) -> bytes:
    """A recording keeps one event a line, its name as the only key."""
    return b"".join(
        write_event(name, orjson.dumps(event)) for line in path.read_bytes().splitlines() for name, event in orjson.loads(line).items()
    )


def events(*sent: tuple[str, dict[str, Any]]) -> bytes:
    return b"".join(write_event(name, orjson.dumps(payload)) for name, payload in sent)


def start(number: int, what: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "contentBlockStart", {"contentBlockIndex": number, "start": what}


def delta(number: int, what: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "contentBlockDelta", {"contentBlockIndex": number, "delta": what, "p": "abcdefghij"}


def stop(number: int) -> tuple[str, dict[str, Any]]:
    return "contentBlockStop", {"contentBlockIndex": number}


def message_stop(reason: str = "end_turn", **more: Any) -> tuple[str, dict[str, Any]]:
    return "messageStop", {"stopReason": reason, **more}
