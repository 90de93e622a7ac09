"""Content of chat messages: text, images, sound, film and files, as parts or as a bare string.

The rule: a `data:` URL is read into its media type and its base64, whatever vendor the part came from, and is written again as one.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import attrs

from appliance.core.fault import Fault, FaultKind
from appliance.core.message import Media, Refusal, Text
from appliance.dialects.fields import Unfit, mapping, needed, one_of, optional, sequence, text

_DATA_URL = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)

_AUDIO = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/vnd.wave": "wav", "audio/mpeg": "mp3"}
"""OpenAI's own two formats; other vendors take any subtype as its own name (flac, opus, pcm16)."""

_PDF = "application/pdf"
_TYPES_BY_ENDING = {
    "pdf": _PDF, "txt": "text/plain", "md": "text/markdown", "csv": "text/csv", "html": "text/html", "json": "application/json",
}  # fmt: skip

_LINKS = {"image_url": "image", "video_url": "video", "audio_url": "audio"}
"""Part types that hold one URL. OpenAI has the first; the others are vLLM's, Alibaba's and OpenRouter's."""

USER_PARTS = ("text", *_LINKS, "input_audio", "file")


def read_texts(value: Any, path: str) -> tuple[Text, ...]:
    """Content of messages that hold words only (system, developer). An empty string is no part."""
    if isinstance(value, str):
        return (Text(value),) if value else ()
    return tuple(read_text(mapping(one, f"{path}[{place}]"), f"{path}[{place}]") for place, one in enumerate(sequence(value, path)))


def read_text(part: Mapping[str, Any], path: str) -> Text:
    one_of(part.get("type", "text"), ("text",), f"{path}.type")
    return Text(needed(text, part, "text", path), cache=cache_mark(part))


def read_content(value: Any, path: str) -> tuple[Text | Media, ...]:
    """Content of a user's or a tool's message."""
    if isinstance(value, str):
        return (Text(value),) if value else ()
    return tuple(read_part(mapping(one, f"{path}[{place}]"), f"{path}[{place}]") for place, one in enumerate(sequence(value, path)))


def read_part(part: Mapping[str, Any], path: str) -> Text | Media:
    kind = one_of(part.get("type", "text"), USER_PARTS, f"{path}.type")
    if kind == "text":
        return read_text(part, path)
    if kind in _LINKS:
        media = _read_link(part, kind, path)
    elif kind == "input_audio":
        sound = needed(mapping, part, kind, path)
        name = needed(text, sound, "format", f"{path}.{kind}")
        media = Media("audio", _AUDIO.get(name, f"audio/{name}"), needed(text, sound, "data", f"{path}.{kind}"))
    else:
        media = _read_file(needed(mapping, part, kind, path), f"{path}.{kind}")
    mark = cache_mark(part)
    return attrs.evolve(media, cache=mark) if mark else media


def _read_link(part: Mapping[str, Any], kind: str, path: str) -> Media:
    link = part.get(kind)
    if isinstance(link, str):  # Mistral's spelling (docs.mistral.ai/capabilities/vision)
        link = {"url": link}
    fields, where = needed(mapping, {kind: link}, kind, path), f"{path}.{kind}"
    url = needed(text, fields, "url", where)
    found = _LINKS[kind]
    media = data_url(url, f"{where}.url")
    detail = optional(text, fields, "detail", where) or ""
    shown = Media("image", detail=detail) if found == "image" else Media("video") if found == "video" else Media("audio")
    return attrs.evolve(shown, url=url) if media is None else attrs.evolve(shown, media_type=media[0], data=media[1])


def _read_file(file: Mapping[str, Any], path: str) -> Media:
    name = optional(text, file, "filename", path) or ""
    file_id, data = optional(text, file, "file_id", path), optional(text, file, "file_data", path)
    if file_id:
        return Media("document", file_id=file_id, name=name)
    if not data:
        raise Unfit(path, "must hold file_data or file_id")
    if data.startswith(("https://", "http://")):  # OpenRouter's (openrouter.ai/docs/features/multimodal/pdfs)
        return Media("document", url=data, name=name)
    named = data_url(data, f"{path}.file_data")
    if named is not None:
        return Media("document", named[0] or _PDF, named[1], name=name)
    return Media("document", _TYPES_BY_ENDING.get(name.rpartition(".")[2].lower(), _PDF), data, name=name)


def data_url(url: str, path: str) -> tuple[str, str] | None:
    """Media type and base64 of a `data:` URL (RFC 2397); None for another URL."""
    if url[:5].lower() != "data:":
        return None
    head = _DATA_URL.match(url)
    if head is None:
        raise Unfit(path, "must be a whole data: URL, with a comma before its data")
    if head.group(2).lower().endswith(";base64"):
        return head.group(1).lower(), url[head.end() :]
    return head.group(1).lower() or "text/plain", base64.b64encode(unquote_to_bytes(url[head.end() :])).decode()


def cache_mark(fields: Mapping[str, Any]) -> str:
    """The lifetime of a cache mark: Anthropic's `cache_control`, which OpenRouter and Alibaba take over, or OpenAI's breakpoint."""
    mark = fields.get("cache_control")
    if isinstance(mark, dict) and mark.get("type") == "ephemeral":
        return "1h" if mark.get("ttl") == "1h" else "5m"
    mark = fields.get("prompt_cache_breakpoint")
    if isinstance(mark, dict):
        return "1h" if mark.get("ttl") else "5m"
    return ""


def written_mark(cache: str) -> dict[str, Any]:
    return {"type": "ephemeral", "ttl": cache} if cache == "1h" else {"type": "ephemeral"}


def write_part(part: Text | Media | Refusal, path: str, file_urls: bool = False) -> dict[str, Any] | Fault:
    """One content part; a Fault where chat completions have no place for it. file_urls: a file's data may be its URL (OpenRouter)."""
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    if part.kind == "document":
        return _write_file(part, path, file_urls)
    if part.file_id:
        return _fault(path, f"names {_A[part.kind]} by a file id, which chat completions cannot: send its data or its URL")
    if part.kind == "audio" and part.data:
        kind = part.media_type.partition(";")[0].lower()
        sound = {"data": part.data, "format": _AUDIO_FORMATS.get(kind) or kind.partition("/")[2] or "wav"}
        return {"type": "input_audio", "input_audio": sound}
    name = f"{part.kind}_url"
    link: dict[str, Any] = {"url": part.url or f"data:{part.media_type};base64,{part.data}"}
    return {"type": name, name: {**link, "detail": part.detail} if part.detail and part.kind == "image" else link}


_A = {"image": "an image", "audio": "a sound", "video": "a film", "document": "a document"}


def plain_words(part: Media) -> str:
    """A document that is text, with what is said about it."""
    return "\n\n".join(one for one in (part.name, part.context, part.data) if one)


def _write_file(part: Media, path: str, file_urls: bool) -> dict[str, Any] | Fault:
    named = {"filename": part.name} if part.name else {}
    if part.plain:
        return {"type": "text", "text": plain_words(part)}
    if part.file_id:
        return {"type": "file", "file": {"file_id": part.file_id, **named}}
    if part.url and file_urls:
        return {"type": "file", "file": {"file_data": part.url, "filename": part.name or "document.pdf"}}
    if part.url:
        return _fault(path, "names a document by its URL, which chat completions cannot: send its data")
    named = named or {"filename": "document." + part.media_type.rpartition("/")[2]}  # OpenAI refuses data without a name
    return {"type": "file", "file": {"file_data": f"data:{part.media_type};base64,{part.data}", **named}}


def _fault(path: str, message: str) -> Fault:
    return Fault(FaultKind.BAD_REQUEST, f"{path} {message}", param=path)
