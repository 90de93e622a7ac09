"""A chat request in no language's words: what an answer is derived from, and how its tokens are counted. Pure.

The rule: every language reads its own request into this form, so the same question asked in two languages is the same value here and
gets the same words and the same counts.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs
import orjson

from appliance.simulator.tokens import count_tokens

Role = Literal["system", "user", "assistant", "tool"]
Mode = Literal["auto", "none", "required", "named"]

EFFORT_TOKENS = {"none": 0, "minimal": 8, "low": 16, "medium": 32, "high": 64, "xhigh": 128, "max": 128}
# Thinking budgets (Anthropic, Gemini, Cohere): one token for so many of the budget, so that 1,024 is a low effort and 4,096 a high one.
BUDGET_TOKENS_PER_TOKEN = 64
# OpenAI's accounting of chat framing, used for every language: three tokens a message, three to open the answer.
TOKENS_PER_MESSAGE = 3
TOKENS_TO_OPEN = 3
PICTURE_TOKENS_LOW = 85
PICTURE_TOKENS = 765  # 85 and four tiles of 170, a 1024 × 1024 picture
DOCUMENT_TOKENS = 1500  # a page of a PDF, whatever its size

DIRECTIVE = re.compile(r"\[\[(say|refuse|tokens|reasoning|calls)=(.*?)\]\]", re.DOTALL)


@attrs.frozen
class Tool:
    """`custom` tools take free text instead of JSON that fits `schema`."""

    name: str
    schema: Mapping[str, Any]
    description: str = ""
    custom: bool = False


@attrs.frozen
class Called:
    """A tool call in the conversation; `arguments` is JSON text (a custom tool's: its input)."""

    name: str
    arguments: str


@attrs.frozen
class Media:
    """A picture or a document. `source` is its base64 text or its URL, whichever the request has."""

    source: str = attrs.field(repr=False)
    tokens: int


@attrs.frozen
class Message:
    """One message. Text parts are joined by a line feed; a tool's result is one message a call, whatever the language puts together."""

    role: Role
    text: str = attrs.field(default="", repr=False)
    name: str = ""
    calls: tuple[Called, ...] = ()
    media: tuple[Media, ...] = ()


@attrs.frozen
class ChatRequest:
    """What is asked.

    Attributes:
        messages: at least one.
        mode: whether a tool is called: "auto" as the prompt asks, "required" at least one, "named" the one in `allowed`.
        allowed: names of the only tools that may be called; None for all.
        parallel: whether one answer may hold several calls.
        schema: of a JSON answer; {} for any object, None for prose.
        limit: the most completion tokens, reasoning included; None when the caller gave none.
        reasoning: tokens of reasoning wished for; None leaves it to the model.
    """

    model: str
    messages: tuple[Message, ...] = attrs.field(repr=False)
    tools: tuple[Tool, ...] = ()
    mode: Mode = "auto"
    allowed: tuple[str, ...] | None = None
    parallel: bool = True
    schema: Mapping[str, Any] | None = None
    stops: tuple[str, ...] = ()
    limit: int | None = None
    reasoning: int | None = None
    seed: int | None = None
    n: int = 1

    @property
    def last(self) -> Message:
        """The message that is answered: the last one that is not the assistant's own (a prefill is continued, not answered)."""
        return next((m for m in reversed(self.messages) if m.role != "assistant"), self.messages[-1])

    @property
    def text(self) -> str:
        """Where the prompt's wishes are looked for."""
        return self.last.text

    @property
    def directives(self) -> Mapping[str, str]:
        """`[[key=value]]` in that text; the last of a key wins."""
        return dict(DIRECTIVE.findall(self.text))

    @property
    def answers_tool(self) -> bool:
        return self.last.role == "tool"


def prompt_tokens(request: ChatRequest) -> int:
    """The rule: 3, and for each message 3, its text, its name, its tool calls' names and arguments, its pictures and documents; and for
    each tool its name, its description and its schema as JSON without white space."""
    return prefix_tokens(request, len(request.messages))


def prefix_tokens(request: ChatRequest, messages: int) -> int:
    """Tokens of the tools and of the first so many messages."""
    return TOKENS_TO_OPEN + tools_tokens(request.tools) + sum(message_tokens(m) for m in request.messages[:messages])


def message_tokens(message: Message) -> int:
    total = TOKENS_PER_MESSAGE + count_tokens(message.text) + count_tokens(message.name)
    total += sum(count_tokens(c.name) + count_tokens(c.arguments) for c in message.calls)
    return total + sum(m.tokens for m in message.media)


def tools_tokens(tools: Iterable[Tool]) -> int:
    return sum(count_tokens(t.name) + count_tokens(t.description) + count_tokens(orjson.dumps(t.schema).decode()) for t in tools)


def sent_before(request: ChatRequest) -> int:
    """Tokens of the prompt that were in the conversation's previous request: tools and the messages before the last answer; 0 at first."""
    last_answer = max((i for i, m in enumerate(request.messages) if m.role == "assistant"), default=None)
    return 0 if last_answer is None else prefix_tokens(request, last_answer)


def joined(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Neighbouring messages of the assistant made one: in some languages its text and each of its calls are items of their own."""
    made: list[Message] = []
    for message in messages:
        if made and made[-1].role == message.role == "assistant":
            before = made.pop()
            text = "\n".join(t for t in (before.text, message.text) if t)
            message = attrs.evolve(before, text=text, calls=before.calls + message.calls, media=before.media + message.media)
        made.append(message)
    return tuple(made)


def canonical_json(text: str) -> str:
    """JSON text without white space, or the text itself where it is no JSON: the same arguments, however a caller wrote them."""
    try:
        return orjson.dumps(orjson.loads(text)).decode()
    except orjson.JSONDecodeError:
        return text


def budget_reasoning(budget_tokens: int) -> int:
    """Tokens of reasoning for a thinking budget: 8 at least, 128 at most."""
    return max(8, min(128, budget_tokens // BUDGET_TOKENS_PER_TOKEN)) if budget_tokens > 0 else 0


def media_source(url: str) -> str:
    """What a picture's URL points to: the base64 text of a data URL, else the URL."""
    head, comma, data = url.partition(",")
    return data if comma and head.startswith("data:") and head.endswith(";base64") else url


def decodes(data: str) -> bool:
    """Whether this is base64."""
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
