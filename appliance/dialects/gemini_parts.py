"""One part of a Gemini content ↔ one canonical part, all but calls and their results, which need their surroundings.

The rule: a part of a kind that is not known here is Foreign, whole as it came. Source: ai.google.dev/api/caching#Part.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from appliance.core.message import Foreign, Media, MediaKind, Part, Reasoning, Text
from appliance.core.seal import Seal
from appliance.dialects.fields import flag, needed, optional, text
from appliance.dialects.gemini_json import message
from appliance.dialects.gemini_seal import OWN

SealReader = Callable[[str], tuple[Seal | None, bool]]

NOTES = frozenset({"thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"})
"""Members that say something about a part; any other is what it holds."""

LOST_NOTES = ("videoMetadata", "mediaResolution", "partMetadata")

_FILES = ("https://generativelanguage.googleapis.com/", "files/")
"""What Google's own file store hands out: nobody else can read these addresses."""

_TYPES_BY_ENDING = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif", "heic": "image/heic",
    "pdf": "application/pdf", "txt": "text/plain", "html": "text/html", "csv": "text/csv", "md": "text/md",
    "mp3": "audio/mp3", "wav": "audio/wav", "ogg": "audio/ogg", "flac": "audio/flac", "mp4": "video/mp4", "webm": "video/webm",
    "mov": "video/mov",
}  # fmt: skip


def kind_of(part: Mapping[str, Any]) -> str:
    """The name of the member that holds what the part says; "text" for a part without any, "thought" for thoughts that are no words."""
    kind = next((name for name in part if name not in NOTES and part[name] is not None), "text")
    if kind != "text" and part.get("thought") is True and kind != "functionCall":
        return "thought"
    return kind


def own_seal(value: str) -> tuple[Seal | None, bool]:
    """What a backend of this language wrote."""
    return (Seal(OWN, value) if value else None), False


def read_sealed(part: Mapping[str, Any], path: str, seals: SealReader) -> tuple[Seal | None, bool]:
    signature = optional(text, part, "thoughtSignature", path)
    return seals(signature) if signature else (None, False)


def read_text(part: Mapping[str, Any], path: str, seals: SealReader) -> Text | Reasoning:
    """Words, or thoughts. Google's thoughts are summaries (ai.google.dev/gemini-api/docs/thinking#summaries)."""
    words = optional(text, part, "text", path) or ""
    seal, hidden = read_sealed(part, path, seals)
    if not optional(flag, part, "thought", path):
        return Text(words, seal=seal)
    return Reasoning(words, not hidden and (seal is None or seal.maker == OWN), seal, hidden)


def continues(before: Part, part: Part) -> bool:
    """Whether the second part is more of the first, or no more than its signature.

    Streams are cut anywhere, and their signature often comes last in a part without words. Parts with a signature of their own stay apart
    (ai.google.dev/gemini-api/docs/thought-signatures: "don't merge a part with a signature with another part").
    """
    if isinstance(part, Text) and isinstance(before, Text):
        return before.seal is None and (part.seal is None or not part.text)
    if isinstance(part, Reasoning) and isinstance(before, Reasoning):
        return before.seal is None and not part.hidden and (part.seal is None or not part.text)
    return False


def joined(before: Part, more: str, seal: Seal | None) -> Part:
    """A part with what was found to continue it."""
    if isinstance(before, Text):
        return attrs.evolve(before, text=before.text + more, seal=seal)
    assert isinstance(before, Reasoning)
    return attrs.evolve(before, text=before.text + more, seal=seal, summary=before.summary and (seal is None or seal.maker == OWN))


def settled(part: Part) -> Part:
    """A signature without words, which belongs to no words before it, is all there is of its thoughts."""
    if isinstance(part, Reasoning) and not part.text and part.seal is not None and not part.hidden:
        return attrs.evolve(part, hidden=True, summary=False)
    return part


def read_media(part: Mapping[str, Any], path: str) -> Media:
    """Of an `inlineData` or `fileData`."""
    blob = part.get("inlineData")
    if blob is not None:
        fields = message(blob, f"{path}.inlineData")
        kind = needed(text, fields, "mimeType", f"{path}.inlineData")
        data = _standard(needed(text, fields, "data", f"{path}.inlineData"))
        return Media(media_kind(kind), kind, data=data, name=optional(text, fields, "displayName", path) or "")
    where = f"{path}.fileData"
    fields = message(part.get("fileData"), where)
    uri = needed(text, fields, "fileUri", where)
    kind = optional(text, fields, "mimeType", where) or type_of_url(uri)
    name = optional(text, fields, "displayName", where) or ""
    if uri.startswith(_FILES):
        return Media(media_kind(kind), kind, file_id=uri, name=name)
    return Media(media_kind(kind), kind, url=uri, name=name)


def read_foreign(part: Mapping[str, Any], kind: str) -> Foreign:
    return Foreign(OWN, kind, part)


def write_text(part: Text | Reasoning, signature: str) -> dict[str, Any]:
    out: dict[str, Any] = {"text": part.text}
    if isinstance(part, Reasoning):
        out["thought"] = True
    if signature:
        out["thoughtSignature"] = signature
    return out


def write_media(media: Media, named: bool = False) -> dict[str, Any]:
    """named: inside a function response, the only place where the Gemini API takes a `displayName`."""
    name = {"displayName": media.name} if named and media.name else {}
    if media.data:
        data = base64.b64encode(media.data.encode()).decode() if media.plain else media.data
        return {"inlineData": {"mimeType": media.media_type or _USUAL[media.kind], "data": data, **name}}
    uri = media.url or media.file_id
    kind = media.media_type or type_of_url(uri) or (_USUAL[media.kind] if media.kind != "video" else "")
    return {"fileData": {"fileUri": uri, **({"mimeType": kind} if kind else {}), **name}}


_USUAL: dict[MediaKind, str] = {"image": "image/jpeg", "audio": "audio/wav", "video": "video/mp4", "document": "application/pdf"}
"""Where nobody said what it is. A film without a type may be YouTube's, which wants none."""


def media_kind(media_type: str) -> MediaKind:
    family = media_type.partition("/")[0]
    if family == "image":
        return "image"
    if family == "audio":
        return "audio"
    return "video" if family == "video" else "document"


def type_of_url(url: str) -> str:
    """By the ending of its path; "" when that tells nothing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.hostname in ("www.youtube.com", "youtube.com", "youtu.be"):
        return "video/*"
    return _TYPES_BY_ENDING.get(parts.path.rpartition(".")[2].lower(), "")


def _standard(data: str) -> str:
    """Base64 in the standard alphabet; google-genai writes the URL-safe one."""
    return data.replace("-", "+").replace("_", "/") if "-" in data or "_" in data else data
