"""How much a model wrote in a whole answer whose backend told no usage, in bytes: what it is booked by.

The rule: this is asked only where no usage was told, and only of answers in words. What the answer's own language can read counts as the
model's text, as a stream's does. Of an answer that broke off, what came of it: nothing where only what stands before it had come, as the
instructions that Responses repeat. What cannot be read counts with all that is around its words, but not as more than the request may
become.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from appliance.dialects.answer_size import BYTES_PER_TOKEN
from appliance.dialects.json_prefix import completed
from appliance.dialects.openai_usage import parse_json
from appliance.gateway.allowance import choices
from appliance.gateway.billed import ANSWERING
from appliance.gateway.call import Call
from appliance.gateway.running import Running

if TYPE_CHECKING:
    from appliance.core.completion import Completion

READ_MAX_BYTES = 262_144
"""Of an answer that broke off, from its beginning: token by token that takes some 15 ms, and 40 if every byte is one."""


def note_size(running: Running, answer: "bytes | Completion") -> None:
    """Of a whole answer that tells no usage: its body, or what was read of it."""
    if running.call.parsed.operation not in ANSWERING:
        return
    if isinstance(answer, bytes):
        read = _read(running, answer)
        running.size = _unread(running.call, len(answer)) if read is None else read
    else:
        from appliance.dialects.completion_size import answer_size  # imported already, with the request

        running.size = answer_size(answer)


def size_so_far(running: Running) -> int:
    """Of whatever came of the answer."""
    if running.size or running.call.parsed.operation not in ANSWERING:
        return running.size
    if running.passed_bytes:
        return _unread(running.call, running.passed_bytes)
    if not running.pieces:
        return 0
    came = completed(_beginning(running.pieces))
    read = _read(running, came)
    if read is None:
        return 0 if _is_object(came) else _unread(running.call, sum(map(len, running.pieces)))
    return read


def _beginning(pieces: Sequence[bytes]) -> bytes:
    """No more is copied than is looked at."""
    taken, size = 0, 0
    while taken < len(pieces) and size < READ_MAX_BYTES:
        size += len(pieces[taken])
        taken += 1
    return b"".join(pieces[:taken])[:READ_MAX_BYTES]


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(parse_json(text), dict)
    except ValueError:
        return False


def _read(running: Running, body: bytes) -> int | None:
    verbatim = running.language.verbatim
    if verbatim is not None and verbatim.size is not None:
        return verbatim.size(body)
    from appliance.dialects.completion_size import body_size  # imported already, with the request

    return body_size(running.language.spoken, body)


def _unread(call: Call, size: int) -> int:
    """Of an answer of so many bytes, all in all."""
    bound, held = call.parsed.max_tokens, call.held
    if bound is not None and bound > 0:
        size = min(size, bound * choices(call.parsed) * BYTES_PER_TOKEN)
    return size if held is None else min(size, held.output_tokens * BYTES_PER_TOKEN)
