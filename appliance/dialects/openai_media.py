"""Operations that pass as they are or not at all: rankings, moderations, images and audio, in OpenAI's language to their callers.

The rule: nothing is known of them but what routing and accounting need. Answers may be anything (audio, subtitles, a bare text), so one
that cannot be read says nothing of itself and is no fault.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from appliance.core.fault import Fault
from appliance.core.usage import Usage
from appliance.dialects.language import Language, TapWish, Verbatim
from appliance.dialects.openai_chat import hidden_error, read_answer, read_request, rewrite
from appliance.dialects.openai_language import OPENAI_CHAT
from appliance.dialects.openai_media_stream import MediaStreamReader, drawn
from appliance.dialects.openai_usage import PARSE_MAX_BYTES, parse_json
from appliance.dialects.protocol import RERANK, Answer, ParsedRequest, Rewrite, StreamTap
from appliance.dialects.stream_taps import ReadingTap

_COUNT_MAX = 1_000_000_000_000


def read_media_request(body: bytes, operation: str) -> ParsedRequest | Fault:
    """A request in JSON. Where its own field says so, speech streams: OpenAI's `stream_format`, others' `stream`."""
    parsed = read_request(body, operation)
    if isinstance(parsed, Fault):
        return parsed
    stream = parsed.stream or parsed.fields.get("stream_format") == "sse"
    return attrs.evolve(parsed, stream=stream, wants_usage=True, max_tokens=None)


def _rewrite(body: bytes, parsed: ParsedRequest, wanted: Rewrite) -> bytes:
    """A model that the caller left out is added where the operator names one, and only there: the vendor has its own default."""
    if wanted.model is not None and parsed.fields.get("model") is None:
        wanted = attrs.evolve(wanted, model=None, overrides={"model": wanted.model, **wanted.overrides})
    return rewrite(body, parsed, wanted)


def _tap(wish: TapWish) -> StreamTap:
    return ReadingTap(MediaStreamReader(wish.backend, wish.secrets), wish.event_max_bytes, eager=True)


def _answer(body: bytes, operation: str) -> Answer:
    said = read_answer(body)
    if isinstance(said, Fault):
        return Answer(None)
    if operation == RERANK and said.usage is None and len(body) <= PARSE_MAX_BYTES:
        return attrs.evolve(said, usage=_billed(parse_json(body).get("meta")))
    if operation in _IMAGES and said.usage is not None:
        return attrs.evolve(said, usage=drawn(said.usage))
    return said


def _billed(meta: object) -> Usage | None:
    """What Cohere counts of a ranking (docs.cohere.com/reference/rerank): search units, and tokens where it tells them."""
    units = meta.get("billed_units") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(units, dict):
        return None
    tokens = meta.get("tokens")
    read = _count(tokens if isinstance(tokens, dict) else units, "input_tokens") or _count(units, "total_tokens")
    return Usage(read, 0, search_units=_count(units, "search_units"))


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _COUNT_MAX else 0


_IMAGES = frozenset({"image_generation", "image_edit", "image_variation"})

_VERBATIM = Verbatim(read_media_request, _rewrite, _tap, _answer, hidden_error, token_field="")

OPENAI_MEDIA = attrs.evolve(OPENAI_CHAT, verbatim=_VERBATIM, load_accepted=None, load_operations=None)

RERANK_V2: Language = attrs.evolve(OPENAI_MEDIA, verbatim=attrs.evolve(_VERBATIM, endpoint="rerank_v2"))
"""The second version of Cohere's ranking, whose documents are texts alone; servers that have one kind only answer both."""
