"""The recordings: which language each file is in, what its answer says, and which files hold no answer of a model.

The rule: every file of the folder is in exactly one place of this module, and a file that nobody can be served says why.
"""

import json
from pathlib import Path

import attrs
from recorded import wire_anthropic, wire_bedrock, wire_chat, wire_cohere, wire_gemini, wire_responses
from recorded.said import Json, Said

WIRE = Path(__file__).parents[3] / "shared" / "recordings" / "wire"
WHY_NOT = "the provider recordings (../shared/recordings) are not on this machine"

READERS = {
    "chat": wire_chat, "responses": wire_responses, "anthropic": wire_anthropic, "gemini": wire_gemini, "bedrock": wire_bedrock,
    "cohere": wire_cohere,
}  # fmt: skip

_BY_NAME = {
    "openai/chat-": "chat", "openai/completion-": "completion", "openai/embedding-": "embedding", "openai/responses-": "responses",
    "azure/azure-deepseek-": "chat", "azure/": "responses", "xai/responses-": "responses", "xai/": "chat", "open-responses/": "responses",
    "cohere/cohere-embedding": "embedding", "cohere/reranking-": "reranking", "cohere/": "cohere", "amazon-bedrock/reranking-": "reranking",
    "amazon-bedrock/": "bedrock", "anthropic/": "anthropic", "google/": "gemini", "alibaba/": "chat", "deepseek/": "chat", "groq/": "chat",
    "mistral/": "chat", "moonshotai/": "chat", "openai-compatible/": "chat",
}  # fmt: skip

OTHERS = ("completion", "embedding", "reranking")
"""Families that no conversation is in."""

UNSERVED = {
    "amazon-bedrock/reranking-amazon-bedrock-reranking.1.json": "Bedrock's rankings are another service's, which nothing here calls",
}
"""Files that no caller can be answered with."""

ENDS = {
    "anthropic": ("message_stop",), "responses": ("response.completed", "response.incomplete", "response.failed"),
    "cohere": ("message-end",),
}  # fmt: skip
"""The `type` of a stream's last event: what a recording has behind it is the next answer of a loop of tool use."""


@attrs.frozen
class Fault:
    """What a recording says went wrong. status: for the caller. words: in the message, where a caller may know them."""

    status: int
    words: str = ""
    retry_after: str = ""


REFUSED_FIELD = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."

FAULTS = {
    "anthropic/spliced-message-start.chunks.txt": Fault(502, "began another one in the same stream"),
    "google/google-429-retry-info.json": Fault(429, "rate of requests", "35"),
    "openai/chat-reasoning-model-legacy-parameter-error.json": Fault(400, REFUSED_FIELD),
    "openai/responses-openai-error.1.chunks.txt": Fault(502, "out of quota"),  # of the operator's account
    "openai/responses-openai-error.1.json": Fault(502, "out of quota"),
    "openai/responses-parallel-tool-call-wrapper.1.chunks.txt": Fault(502, "not an event"),  # its first line lacks a brace
    "openai/responses-reasoning-model-temperature-error.json": Fault(400, "'temperature' is not supported with this model."),
}
"""Recordings of what went wrong."""


@attrs.frozen
class Recording:
    """One file. name: as the simulator's models are called, PROVIDER/NAME without the suffix. family: the language it is in."""

    path: Path
    name: str
    family: str
    streamed: bool

    @property
    def backend(self) -> str:
        """Whose server sends it: OpenAI's language is also that of its other operations."""
        if self.label.startswith("cohere/"):
            return "cohere"
        return self.family if self.family in READERS else "chat"

    @property
    def label(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"

    def body(self) -> Json:
        found: Json = json.loads(self.path.read_bytes())
        return found

    def lines(self) -> list[str]:
        """Each event's JSON text, as recorded."""
        text = self.path.read_text()
        if self.path.suffix == ".sse":
            blocks = [block.strip().removeprefix("data: ") for block in text.split("\n\n") if block.strip()]
            return [block for block in blocks if block != "[DONE]"]
        return [line for line in text.splitlines() if line.strip()]

    def events(self) -> list[Json]:
        """Those of the first answer in it."""
        events: list[Json] = []
        for line in self.lines():
            events.append(json.loads(line))
            if events[-1].get("type") in ENDS.get(self.family, ()):
                break
        return events

    def said(self) -> Said:
        """The truth."""
        reader = READERS[self.family]
        return reader.streamed(self.events()) if self.streamed else reader.whole(self.body())


def recordings() -> list[Recording]:
    """Every file below the folder but its licence, in order; raises where one is in no known language."""
    found = []
    for path in sorted(WIRE.glob("*/*")):
        label = f"{path.parent.name}/{path.name}"
        family = next(family for start, family in _BY_NAME.items() if label.startswith(start))
        name = label
        for suffix in (".chunks.txt", ".sse", ".json"):
            name = name.removesuffix(suffix)
        found.append(Recording(path, name, family, path.suffix != ".json"))
    return found
