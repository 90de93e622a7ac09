"""Where passages of an answer come from: `groundingMetadata` and `citationMetadata`, there and back.

The rule: Google counts bytes of UTF-8 where the canonical form counts characters; both are told against the text they are about.
Sources: ai.google.dev/api/generate-content#GroundingMetadata and #CitationMetadata; google-genai's types.Segment ("measured in bytes").
"""

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.core.message import Citation

CITATIONS_MAX = 10_000

GROUNDED, RECITED = "groundingChunk", "citationSource"
"""Members of `Citation.raw` that hold Google's own object."""


def read_citations(candidate: Mapping[str, Any], texts: Mapping[int, str]) -> list[tuple[int, Citation]]:
    """Citations of a candidate, each with the number of its part, -1 for none in particular.

    Args:
        texts: the texts among the candidate's parts by their number, as far as they are known.
    """
    found = _grounded(candidate.get("groundingMetadata"), texts)
    cited = candidate.get("citationMetadata")
    sources = (cited.get("citationSources") or cited.get("citations")) if isinstance(cited, dict) else None
    only = next(iter(texts)) if len(texts) == 1 else -1
    for source in sources if isinstance(sources, list) else ():
        if isinstance(source, dict) and len(found) < CITATIONS_MAX:
            start, end = _characters(texts.get(only), source.get("startIndex") or 0, source.get("endIndex"))
            found.append((only, Citation(_text(source.get("title")), _text(source.get("uri")), "", start, end, {RECITED: source})))
    return found


def _grounded(metadata: object, texts: Mapping[int, str]) -> list[tuple[int, Citation]]:
    """One citation for each passage and source, then one for each source that no passage names."""
    chunks = metadata.get("groundingChunks") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(chunks, list):
        return []
    found: list[tuple[int, Citation]] = []
    named: set[int] = set()
    supports = metadata.get("groundingSupports")
    for support in supports if isinstance(supports, list) else ():
        segment, numbers = (support.get("segment"), support.get("groundingChunkIndices")) if isinstance(support, dict) else (None, None)
        if not isinstance(segment, dict) or not isinstance(numbers, list):
            continue
        place = _place(segment.get("partIndex"), texts)
        start, end = _characters(texts.get(place), segment.get("startIndex") or 0, segment.get("endIndex"))
        for number in numbers:
            if type(number) is int and 0 <= number < len(chunks) and len(found) < CITATIONS_MAX:
                named.add(number)
                found.append((place, _of_chunk(chunks[number], start, end)))
    rest = [(-1, _of_chunk(chunk, -1, -1)) for number, chunk in enumerate(chunks[:CITATIONS_MAX]) if number not in named]
    return found + rest


def _place(index: object, texts: Mapping[int, str]) -> int:
    """The part that a segment is of; Google leaves a 0 out, and means the answer's one text where the first part is a thought."""
    place = index if type(index) is int else 0
    return place if place in texts else next(iter(texts)) if len(texts) == 1 else -1


def _of_chunk(chunk: object, start: int, end: int) -> Citation:
    fields = chunk if isinstance(chunk, dict) else {}
    inner = next((value for value in fields.values() if isinstance(value, dict)), {})
    url, title = _text(inner.get("uri")), _text(inner.get("title") or inner.get("documentName"))
    return Citation(title, url, _text(inner.get("text")), start, end, {GROUNDED: fields})


def _characters(text: str | None, start: object, end: object) -> tuple[int, int]:
    if text is None or type(start) is not int or type(end) is not int or not 0 <= start <= end:
        return -1, -1
    if text.isascii():
        return (start, end) if end <= len(text) else (-1, -1)
    data = text.encode("utf-8", "replace")
    if end > len(data):
        return -1, -1
    first = len(data[:start].decode("utf-8", "ignore"))
    return first, first + len(data[start:end].decode("utf-8", "ignore"))


def write_citations(cited: Sequence[tuple[int, str, Citation]]) -> dict[str, Any]:
    """Members of a candidate that tell these citations; each with its part's number in the content and that part's text."""
    chunks: list[Any] = []
    numbers: dict[tuple[str, str, str], int] = {}
    supports: list[dict[str, Any]] = []
    sources: list[Any] = []
    for place, text, citation in cited:
        if RECITED in citation.raw:
            sources.append(citation.raw[RECITED])
            continue
        key = (citation.url, citation.title, citation.cited)
        if key not in numbers:
            numbers[key] = len(chunks)
            chunks.append(citation.raw.get(GROUNDED) or _chunk(citation))
        if 0 <= citation.start <= citation.end:
            supports.append({"segment": _segment(place, text, citation), "groundingChunkIndices": [numbers[key]]})
    out: dict[str, Any] = {}
    if chunks:
        out["groundingMetadata"] = {"groundingChunks": chunks, **({"groundingSupports": supports} if supports else {})}
    if sources:
        out["citationMetadata"] = {"citationSources": sources}
    return out


def _chunk(citation: Citation) -> dict[str, Any]:
    """`web` has no place for the source's own words; `retrievedContext` has."""
    said = {"uri": citation.url, "title": citation.title}
    if citation.cited:
        return {"retrievedContext": {**said, "text": citation.cited}}
    return {"web": said}


def _segment(place: int, text: str, citation: Citation) -> dict[str, Any]:
    passage = text[citation.start : citation.end]
    start = len(text[: citation.start].encode("utf-8", "replace"))
    end = start + len(passage.encode("utf-8", "replace"))
    return {**({"partIndex": place} if place > 0 else {}), "startIndex": start, "endIndex": end, "text": passage}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
