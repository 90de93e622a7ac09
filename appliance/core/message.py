"""A conversation with a model in no vendor's words: messages made of parts.

Every wire language is read into these values and written from them, so N languages need 2N codecs and never learn of each other. The rule:
a part holds what its meaning needs, in one spelling; what only one vendor can read travels as a `Seal` and comes back to that vendor.
Same-language requests never pass through here: their bytes go verbatim.
"""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from appliance.core.seal import Seal

Role = Literal["system", "developer", "user", "assistant", "tool"]
"""`developer` is OpenAI's word for instructions that rank below the system's; languages without it say system. A message of role `tool`
holds ToolResult parts only; languages that put results into user turns (Anthropic, Gemini, Bedrock) are read so that each run of results
becomes one.
"""

MediaKind = Literal["image", "audio", "video", "document"]


@attrs.frozen
class Citation:
    """Where a passage of text comes from.

    Attributes:
        title, url: of the source, empty when unknown. cited: the source's own words. start, end: characters of the text, -1 when unknown.
        raw: the vendor's own object, for a caller of the same language family.
    """

    title: str = ""
    url: str = ""
    cited: str = attrs.field(default="", repr=False)
    start: int = -1
    end: int = -1
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class Text:
    """Words. cache: "" or the lifetime of a cache mark that follows this part ("5m", "1h"; Anthropic cache_control, Bedrock cachePoint)."""

    text: str = attrs.field(default="", repr=False)
    citations: tuple[Citation, ...] = ()
    cache: str = ""
    seal: Seal | None = None


@attrs.frozen
class Media:
    """An image, sound, film or document: exactly one of `data` (base64, standard alphabet), `url` and `file_id` is set.

    Attributes:
        media_type: MIME type; for a URL perhaps unknown (empty).
        detail: OpenAI's "low", "high", "auto"; name: a file's name or a document's title; context: words about a document (Anthropic).
        plain: the document is text, which `data` holds as it is (not base64).
        cites: answers shall cite it.
    """

    kind: MediaKind
    media_type: str = ""
    data: str = attrs.field(default="", repr=False)
    url: str = attrs.field(default="", repr=False)
    file_id: str = ""
    detail: str = ""
    name: str = ""
    context: str = attrs.field(default="", repr=False)
    plain: bool = False
    cites: bool = False
    cache: str = ""


@attrs.frozen
class ToolCall:
    """The model wants a tool.

    Attributes:
        id: unique in the conversation, stable across turns; made (see core.tool_ids) where a language has none.
        arguments: for a function JSON text exactly as the model wrote it ("" means no arguments: {}); for a custom tool free text.
        namespace: the group the tool belongs to (Responses), empty for none.
        custom: the input is free text (Responses custom tools), not JSON.
    """

    id: str
    name: str
    arguments: str = attrs.field(default="", repr=False)
    namespace: str = ""
    custom: bool = False
    cache: str = ""
    seal: Seal | None = None


@attrs.frozen
class ToolResult:
    """What a tool gave back. parts: Text and Media. name: the tool's, where known (Gemini matches by it)."""

    call_id: str
    parts: "tuple[Text | Media, ...]" = ()
    name: str = ""
    is_error: bool = False
    custom: bool = False
    cache: str = ""


@attrs.frozen
class Reasoning:
    """What the model thought.

    Attributes:
        text: its thoughts in words, as far as the vendor shows them.
        summary: `text` summarises hidden thoughts (Responses); several summaries are several parts.
        seal: what the vendor wants back unchanged: a signature over the text, or all of the thoughts encrypted.
        hidden: there are no words at all, only the seal (Anthropic redacted_thinking, encrypted reasoning).
    """

    text: str = attrs.field(default="", repr=False)
    summary: bool = False
    seal: Seal | None = None
    hidden: bool = False


@attrs.frozen
class Refusal:
    """The model declined, in words."""

    text: str = attrs.field(default="", repr=False)


@attrs.frozen
class Foreign:
    """A block that only languages of one family know (server tools and their results, compaction, file search calls).

    Attributes:
        family: the dialect's name that can read `raw`. kind: its type, for the list of what was dropped elsewhere.
    """

    family: str
    kind: str
    raw: Mapping[str, Any] = attrs.field(repr=False)


Part = Text | Media | ToolCall | ToolResult | Reasoning | Refusal | Foreign


@attrs.frozen
class Message:
    """One turn, or one message of several in a row by the same speaker: consecutive messages of one role are legal here."""

    role: Role
    parts: tuple[Part, ...] = ()
    name: str = ""


def text_of(parts: tuple[Part, ...], joint: str = "") -> str:
    """The words of the Text parts, joined."""
    return joint.join(part.text for part in parts if isinstance(part, Text))
