"""Images, documents, sounds and films as Converse's blocks: bytes or a place in S3, with a format from a closed list.

The rule: a medium that the language cannot hold is refused by its path, never left out: the question would be about something unseen.
"""

import base64
import re
from typing import Any

import attrs

from appliance.core.message import Media
from appliance.dialects.fields import Unfit

FORMATS: dict[str, dict[str, str]] = {
    "image": {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"},
    "document": {
        "application/pdf": "pdf",
        "text/csv": "csv",
        "application/msword": "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
        "application/vnd.ms-excel": "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
        "text/html": "html",
        "text/plain": "txt",
        "text/markdown": "md",
    },
    "video": {
        "video/mp4": "mp4", "video/quicktime": "mov", "video/x-matroska": "mkv", "video/webm": "webm", "video/x-flv": "flv",
        "video/mpeg": "mpeg", "video/mpg": "mpg", "video/x-ms-wmv": "wmv", "video/3gpp": "three_gp",
    },
    "audio": {
        "audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/opus": "opus",
        "audio/aac": "aac", "audio/flac": "flac", "audio/x-flac": "flac", "audio/mp4": "mp4", "audio/m4a": "m4a", "audio/x-m4a": "m4a",
        "audio/ogg": "ogg", "audio/webm": "webm", "audio/pcm": "pcm", "audio/pcm16": "pcm",
    },
}  # fmt: skip
"""ImageFormat, DocumentFormat, VideoFormat and AudioFormat of the API."""

_NAME_REFUSED = re.compile(r"[^A-Za-z0-9\s()\[\]-]+")
_NAME_MAX_CHARS = 190  # 200 for Bedrock, less the room for a number


@attrs.define
class DocumentNames:
    """Names of one request's documents: as Bedrock allows them (letters, digits, single spaces, hyphens, brackets), and each once."""

    _given: dict[str, int] = attrs.field(factory=dict)

    def make(self, wanted: str) -> str:
        name = " ".join(_NAME_REFUSED.sub("-", wanted).split())[:_NAME_MAX_CHARS].strip(" -") or "document"
        count = self._given[name] = self._given.get(name, 0) + 1
        return name if count == 1 else f"{name} ({count})"


def block_of(media: Media, path: str, names: DocumentNames) -> dict[str, Any]:
    """The content block; raises Unfit."""
    source = _source(media, path)
    media_type = media.media_type.partition(";")[0].strip().lower()
    if media.plain and media_type not in FORMATS["document"]:
        media_type = "text/plain"
    known = FORMATS[media.kind].get(media_type)
    if known is None:
        raise Unfit(path, f"is {media.kind} of a type that this backend does not take: it takes {', '.join(sorted(FORMATS[media.kind]))}")
    inner: dict[str, Any] = {"format": known, "source": source}
    if media.kind == "document":
        inner["name"] = names.make(media.name)
        if media.context:
            inner["context"] = media.context
        if media.cites:
            inner["citations"] = {"enabled": True}
    return {media.kind: inner}


def _source(media: Media, path: str) -> dict[str, Any]:
    if media.url.startswith("s3://"):
        return {"s3Location": {"uri": media.url}}
    if media.url:
        raise Unfit(path, "is a URL, which this backend does not fetch: send the bytes themselves (base64)")
    if not media.data:
        raise Unfit(path, "is a file kept elsewhere, which this backend cannot read: send the bytes themselves (base64)")
    return {"bytes": base64.b64encode(media.data.encode()).decode() if media.plain else media.data}
