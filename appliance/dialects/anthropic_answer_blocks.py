"""Parts of an answer as content blocks for a caller of Anthropic's Messages API.

The rule: words and calls look as Anthropic's own; what its API has no block for takes the nearest one, so that nothing a model said is
lost: a picture is an image block, another vendor's seal travels wrapped in a signature or in redacted thinking. The words of a refusal
stand beside the content, as Anthropic's own do.

Anthropic's own answers end in words or calls, and callers take the last block for the answer. So a call's seal stands ahead of it, where
thoughts stand; a text's, which a stream tells when the text is over, stands ahead of what follows the text. Of the last words, and for
callers that did not ask for thinking, it is left out and reported: Google wants it back but does not insist, as it does for calls
(ai.google.dev/gemini-api/docs/thought-signatures).
"""

from typing import Any

import attrs

from appliance.core.message import Citation, Foreign, Media, Part, Reasoning, Text, ToolCall
from appliance.core.seal import UNSIGNED, Seal, wrap
from appliance.core.tool_forms import arguments_of, flat_name
from appliance.core.tool_ids import carried_id, made_id
from appliance.dialects.anthropic_blocks import AHEAD, BEHIND, FAMILY, carrier
from appliance.dialects.anthropic_json import fragment_or_wrapped
from appliance.dialects.anthropic_parts import CITED, Block
from appliance.dialects.codec import Reply

SEAL_OF_WORDS = "answer: seal of text"
"""In the record, where one is left out."""


@attrs.define
class AnswerBlocks:
    """Of one answer.

    Attributes:
        words_before: the last block of the model's own is text, so that white space belongs to the words; alone it is no text that the
            API takes back.
    """

    reply: Reply
    words_before: bool = False
    _seal: Seal | None = None
    _calls: int = 0
    _ids: set[str] | None = None

    def whole(self, part: Part) -> list[Block]:
        """A finished part: its block, behind a seal that needs one of its own; nothing for a part that says nothing."""
        block = self._whole(part)
        if block is None:
            return []
        before = self.before(part)
        self.words_before = block.get("type") == "text"
        if isinstance(part, Text):
            self.words_ended(part.seal)
        return [*before, block]

    def before(self, part: Part) -> list[Block]:
        """What stands ahead of a part's own block: the seal of the words that came last, and its own where it is a call's."""
        seal, self._seal = self._seal, None
        held = [] if seal is None else [carrier(seal, BEHIND)]
        own = part.seal if isinstance(part, ToolCall) else None
        return held if own is None else [*held, carrier(own, AHEAD)]

    def words_ended(self, seal: Seal | None) -> None:
        """A text has been written, whose seal waits for what follows."""
        wish = self.reply.conversation.reasoning
        if wish is not None and wish.enabled is not False:
            self._seal = seal
        elif seal is not None:
            self._leave_out()

    def end(self) -> None:
        """Nothing follows."""
        if self._seal is not None:
            self._leave_out()

    def _leave_out(self) -> None:
        if SEAL_OF_WORDS not in self.reply.dropped:
            self.reply.dropped.append(SEAL_OF_WORDS)

    def _whole(self, part: Part) -> Block | None:
        if isinstance(part, Text):
            citations = written_citations(part.citations)
            if not citations and not (part.text if self.words_before else part.text.strip()):
                return None
            return {"type": "text", "text": part.text} | ({"citations": citations} if citations else {})
        if isinstance(part, ToolCall):
            arguments = arguments_of(part.arguments) if part.custom else part.arguments
            return self.call(part) | {"input": fragment_or_wrapped(arguments)}
        if isinstance(part, Reasoning):
            return self._reasoning(part)
        if isinstance(part, Foreign):
            return dict(part.raw) if part.family == FAMILY else None
        return _shown(part) if isinstance(part, Media) else None

    def call(self, part: ToolCall) -> Block:
        """The block of a tool call with no input yet."""
        self._calls += 1
        name = flat_name(part.name, part.namespace)
        return {"type": "tool_use", "id": self._unique(part.id), "name": name, "input": {}}

    def _unique(self, given: str) -> str:
        """The API refuses a conversation that has an id twice, while some vendors begin to count anew in each answer ("call_0")."""
        if self._ids is None:
            messages = self.reply.conversation.messages
            self._ids = {part.id for message in messages for part in message.parts if isinstance(part, ToolCall)}
        found = given if given and given not in self._ids else made_id(f"{self.reply.id} {given}", self._calls)
        self._ids.add(found)
        return carried_id(found)

    @staticmethod
    def _reasoning(part: Reasoning) -> Block | None:
        if part.seal is None:
            return {"type": "thinking", "thinking": part.text, "signature": UNSIGNED} if part.text and not part.hidden else None
        sealed = wrap(part.seal, FAMILY)
        if part.hidden:
            return {"type": "redacted_thinking", "data": sealed} if sealed else None
        return {"type": "thinking", "thinking": part.text, "signature": sealed} if part.text or sealed else None


def stop_details(refusal: str) -> dict[str, Any]:
    """The member of an answer that holds the words of a refusal, none for none."""
    return {"stop_details": {"type": "refusal", "category": None, "explanation": refusal}} if refusal else {}


def written_citations(citations: tuple[Citation, ...]) -> list[Any]:
    return [written for one in citations if (written := written_citation(one)) is not None]


def written_citation(citation: Citation) -> Any:
    """Anthropic's own as it was; another vendor's as a search result from the web, the only kind that has an address. None without one."""
    if str(citation.raw.get("type")) in CITED:
        return citation.raw
    if not citation.url:
        return None
    return {
        "type": "web_search_result_location", "url": citation.url, "title": citation.title or None, "cited_text": citation.cited,
        "encrypted_index": UNSIGNED,
    }  # fmt: skip


def _shown(part: Media) -> Block:
    source: Block
    if part.url:
        source = {"type": "url", "url": part.url}
    elif part.file_id:
        source = {"type": "file", "file_id": part.file_id}
    else:
        source = {"type": "text" if part.plain else "base64", "media_type": part.media_type, "data": part.data}
    return {"type": "image" if part.kind == "image" else "document", "source": source}
