"""The pieces that messages and tool results of the Responses API are made of: words, images, files, refusals, citations, log probabilities.

The rule: what is written is what the API's reference calls valid; a piece that it has no word for is refused by its path, never changed.
Shapes: platform.openai.com/docs/api-reference/responses and the types of openai-python 3.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.core.completion import TokenLogprob
from appliance.core.message import Citation, Foreign, Media, Part, Refusal, Text
from appliance.dialects import fields as f
from appliance.dialects.fields import Unfit

FAMILY = "openai_responses"
"""This dialect's name, under which its own blocks travel."""

LONG_CACHE = ("30m", "12h")
"""Lifetimes of a prompt_cache_breakpoint; both are nearer to the canonical hour than to its five minutes."""

LOGPROB_MIN = -9999.0
"""What OpenAI writes for a token that is out of reach; JSON has no infinity."""

_INPUT_TYPES = ("input_text", "input_image", "input_file", "input_audio", "output_text", "refusal")
_OWN_CITATIONS = frozenset({"url_citation", "file_citation", "container_file_citation", "file_path"})


def read_content(value: Any, path: str) -> tuple[Part, ...]:
    """`content` of a message or `output` of a tool: a text, or a list of pieces."""
    if isinstance(value, str):
        return (Text(value),) if value else ()
    if not isinstance(value, list):
        raise Unfit(path, f"must be a string or an array, not {f.kind_of(value)}")
    return tuple(_read_piece(f.mapping(piece, f"{path}[{place}]"), f"{path}[{place}]") for place, piece in enumerate(value))


def _read_piece(piece: Mapping[str, Any], path: str) -> Part:
    kind = f.needed(f.text, piece, "type", path)
    match kind:
        case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
            citations = tuple(read_citation(one) for one in piece.get("annotations") or () if isinstance(one, dict))
            return Text(f.needed(f.text, piece, "text", path), citations, _read_cache(piece, path))
        case "input_image" | "computer_screenshot":
            return _read_image(piece, path)
        case "input_file":
            return _read_file(piece, path)
        case "input_audio":
            audio = f.needed(f.mapping, piece, "input_audio", path)
            sound = f.needed(f.text, audio, "format", f"{path}.input_audio")
            return Media("audio", f"audio/{sound}", f.needed(f.text, audio, "data", f"{path}.input_audio"))
        case "refusal":
            return Refusal(f.needed(f.text, piece, "refusal", path))
        case "encrypted_content":
            return _read_encrypted(piece, path)
    f.one_of(kind, _INPUT_TYPES, f"{path}.type")
    raise AssertionError(kind)


def _read_encrypted(piece: Mapping[str, Any], path: str) -> Part:
    """A message between agents. The coding agent that writes them puts words here as they are when its model did not encrypt them; what is
    encrypted is a Fernet token and starts as those do."""
    content = f.needed(f.text, piece, "encrypted_content", path)
    return Foreign(FAMILY, "encrypted_content", dict(piece)) if content.startswith("gAAAA") else Text(content)


def _read_cache(piece: Mapping[str, Any], path: str) -> str:
    mark = f.optional(f.mapping, piece, "prompt_cache_breakpoint", path)
    if mark is None:
        return ""
    return "1h" if mark.get("ttl") in LONG_CACHE else "5m"


def _read_image(piece: Mapping[str, Any], path: str) -> Media:
    url, file_id = piece.get("image_url"), f.optional(f.text, piece, "file_id", path)
    if isinstance(url, dict):  # chat's shape, which many clients send here too
        url = url.get("url")
    detail = f.optional(f.text, piece, "detail", path) or ""
    detail = "" if detail == "auto" else detail
    cache = _read_cache(piece, path)
    if url is not None:
        media_type, data, link = _read_url(f.text(url, f"{path}.image_url"), f"{path}.image_url")
        return Media("image", media_type, data, link, detail=detail, cache=cache)
    if file_id:
        return Media("image", file_id=file_id, detail=detail, cache=cache)
    raise Unfit(f"{path}.image_url", "is missing")


def _read_file(piece: Mapping[str, Any], path: str) -> Media:
    name = f.optional(f.text, piece, "filename", path) or ""
    detail = f.optional(f.text, piece, "detail", path) or ""
    detail = "" if detail == "auto" else detail
    cache = _read_cache(piece, path)
    if (data := f.optional(f.text, piece, "file_data", path)) is not None:
        media_type = ""
        if data.startswith("data:"):
            media_type, data, _ = _read_url(data, f"{path}.file_data")
        return Media("document", media_type or _type_by_name(name), data, name=name, detail=detail, cache=cache)
    if url := f.optional(f.text, piece, "file_url", path):
        return Media("document", url=url, name=name, detail=detail, cache=cache)
    if file_id := f.optional(f.text, piece, "file_id", path):
        return Media("document", file_id=file_id, name=name, detail=detail, cache=cache)
    raise Unfit(f"{path}.file_data", "is missing: an input_file has file_data, file_url or file_id")


def _type_by_name(name: str) -> str:
    """Bare base64 comes without its type. PDF is what the API took before it took anything else."""
    return "text/plain" if name.endswith((".txt", ".md", ".csv", ".json", ".html", ".xml")) else "application/pdf"


def _read_url(url: str, path: str) -> tuple[str, str, str]:
    """Media type, base64 data and link: of a data URL the first two, of any other the last."""
    if not url.startswith("data:"):
        return "", "", url
    head, comma, data = url[5:].partition(",")
    if not comma or not head.endswith(";base64"):
        raise Unfit(path, "must be an http(s) URL or a data URL in base64")
    return head.removesuffix(";base64").partition(";")[0], data, ""


def write_piece(part: Part, role: str, path: str, dropped: list[str]) -> dict[str, Any]:
    """One piece of a message of `role` or, with the role "tool", of a tool's output. Raises Unfit for what there is no piece for."""
    if getattr(part, "cache", ""):
        dropped.append(f"{path}.cache")  # prompt_cache_breakpoint is refused by models before gpt-5.6; caching itself needs no mark here
    match part:
        case Text() if role == "assistant":
            said = [one.raw for one in part.citations if str(one.raw.get("type")) in _OWN_CITATIONS]
            if len(said) < len(part.citations):
                dropped.append(f"{path}.citations")
            return {"type": "output_text", "text": part.text, "annotations": said}
        case Text():
            return {"type": "input_text", "text": part.text}
        case Refusal() if role == "assistant":
            return {"type": "refusal", "refusal": part.text}
        case Refusal():
            return {"type": "input_text", "text": part.text}
        case Media(kind="image") if role != "assistant":
            return _write_image(part)
        case Media(kind="document") if role != "assistant":
            return _write_file(part, path, dropped)
        case Media() as media:
            where = "an assistant's message" if role == "assistant" else "a message"
            raise Unfit(path, f"is {media.kind}, which the Responses API has no place for in {where}")
    raise AssertionError(part)


def _write_image(media: Media) -> dict[str, Any]:
    piece: dict[str, Any] = {"type": "input_image", "detail": media.detail or "auto"}
    if media.file_id:
        return {**piece, "file_id": media.file_id}
    return {**piece, "image_url": media.url or f"data:{media.media_type or 'image/png'};base64,{media.data}"}


def _write_file(media: Media, path: str, dropped: list[str]) -> dict[str, Any]:
    dropped += [f"{path}.{name}" for name in ("context", "cites") if getattr(media, name)]
    piece: dict[str, Any] = {"type": "input_file"}
    if media.detail:
        piece["detail"] = media.detail
    if media.file_id:
        return {**piece, "file_id": media.file_id}
    if media.url:
        return {**piece, "file_url": media.url}
    media_type, data = media.media_type or "application/pdf", media.data
    if media.plain:  # text files are read since 2026: developers.openai.com/api/docs/guides/file-inputs
        media_type, data = media.media_type or "text/plain", base64.b64encode(data.encode()).decode()
    return {**piece, "filename": _file_name(media.name, media_type), "file_data": f"data:{media_type};base64,{data}"}


def _file_name(name: str, media_type: str) -> str:
    """The API goes by the name's ending; a title (Anthropic) has none."""
    ending = {"application/pdf": ".pdf", "text/plain": ".txt"}.get(media_type, "")
    if not name:
        return f"document{ending}"
    return name if "." in name[-6:] else name + ending


def read_citation(raw: Mapping[str, Any]) -> Citation:
    start, end = raw.get("start_index"), raw.get("end_index")
    return Citation(
        title=_text(raw.get("title")) or _text(raw.get("filename")),
        url=_text(raw.get("url")),
        start=start if type(start) is int else -1,
        end=end if type(end) is int else -1,
        raw=dict(raw),
    )


def write_citation(citation: Citation, text_chars: int) -> dict[str, Any]:
    """An annotation of an answer. What is not known of its place is the whole text; a document without a URL is a file."""
    kind = citation.raw.get("type")
    if kind in _OWN_CITATIONS and kind != "url_citation":
        return dict(citation.raw)
    start, end = citation.start, citation.end
    if not 0 <= start <= end <= text_chars:
        start, end = 0, text_chars
    if citation.url:
        own = citation.raw if kind == "url_citation" else {}  # without its place at xAI
        return {"type": "url_citation", "url": citation.url, "title": citation.title, "start_index": start, "end_index": end, **own}
    return {"type": "file_citation", "file_id": "", "filename": citation.title, "index": end}


def read_logprobs(value: object) -> tuple[TokenLogprob, ...]:
    """Of a piece of an answer; entries that are none are left out."""
    return tuple(_read_logprob(one) for one in value if isinstance(one, dict)) if isinstance(value, list) else ()


def _read_logprob(one: Mapping[str, Any]) -> TokenLogprob:
    number, raw = one.get("logprob"), one.get("bytes")
    return TokenLogprob(
        _text(one.get("token")),
        float(number) if isinstance(number, int | float) else 0.0,
        tuple(raw) if isinstance(raw, list) and raw and all(type(byte) is int for byte in raw) else None,
        read_logprobs(one.get("top_logprobs")),
    )


def write_logprobs(logprobs: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    return [{**_written(one), "top_logprobs": [_written(top) for top in one.top]} for one in logprobs]


def _written(one: TokenLogprob) -> dict[str, Any]:
    raw = list(one.raw_bytes) if one.raw_bytes is not None else list(one.token.encode("utf-8", "replace"))
    return {"token": one.token, "logprob": one.logprob if math.isfinite(one.logprob) else LOGPROB_MIN, "bytes": raw}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
