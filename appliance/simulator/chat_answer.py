"""What a chat answer says: deltas, one token each, derived from the request alone. Pure.

Whole and streamed answers are made of the same deltas, so the same request says the same both ways; the token limit cuts the deltas,
whatever they carry, as the service does.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import attrs
import orjson

from appliance.simulator.chat_request import EFFORT_TOKENS, ChatRequest, Tool, cached_tokens, chosen_tool, content_text, prompt_tokens
from appliance.simulator.prose import draws, pick, prose, seed_of
from appliance.simulator.schema_instance import instance
from appliance.simulator.tokens import count_tokens, split_tokens

ANSWER_TOKENS_LEAST, ANSWER_TOKENS_SPREAD = 16, 32  # without any wish a text has 16 to 47 tokens
CALLS_MAX = 16
CREATED_FROM, CREATED_SPREAD = 1_750_000_000, 10_000_000
ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

ASKS_FOR_TOOL = ("tool", "function", "call ")
ASKS_FOR_MANY = ("parallel", "both", "each", "several", "all the")

Part = Literal["reasoning", "content", "call", "arguments"]


class Delta(NamedTuple):
    """`call` numbers the tool calls of a choice; a "call" delta opens one with its name as `text`."""

    part: Part
    text: str
    tokens: int = 1
    call: int = 0


@attrs.frozen
class Choice:
    index: int
    deltas: tuple[Delta, ...] = attrs.field(repr=False)
    finish: str

    @property
    def tokens(self) -> int:
        return sum(d.tokens for d in self.deltas)


@attrs.frozen
class ChatAnswer:
    """`created` is Unix time; `seed` is what everything was derived from."""

    id: str
    created: int
    model: str
    seed: bytes = attrs.field(repr=False)
    choices: tuple[Choice, ...] = attrs.field(repr=False)
    prompt_tokens: int
    cached_tokens: int

    @property
    def completion_tokens(self) -> int:
        return sum(choice.tokens for choice in self.choices)

    @property
    def reasoning_tokens(self) -> int:
        return sum(d.tokens for choice in self.choices for d in choice.deltas if d.part == "reasoning")


def answer_chat(request: ChatRequest, bare_model: str, *, created: int | None, tokens_max: int) -> ChatAnswer:
    """`created` None derives it too; no choice is longer than `tokens_max`."""
    fields = request.fields
    seed = seed_of(bare_model, fields["messages"], fields.get("tools"), fields.get("response_format"), fields.get("seed"))
    limit = min(request.limit or tokens_max, tokens_max)
    prompt = prompt_tokens(request)
    return ChatAnswer(
        id="chatcmpl-" + letters(seed, 29),
        created=created_from(seed) if created is None else created,
        model=request.model,
        seed=seed,
        choices=tuple(make_choice(request, bare_model, seed, i, limit) for i in range(request.n)),
        prompt_tokens=prompt,
        cached_tokens=cached_tokens(request, prompt),
    )


def letters(seed: bytes, length: int) -> str:
    number = int.from_bytes(seed, "big")
    made = []
    for _ in range(length):
        number, at = divmod(number, len(ID_LETTERS))
        made.append(ID_LETTERS[at])
    return "".join(made)


def created_from(seed: bytes) -> int:
    return CREATED_FROM + int.from_bytes(seed[:8], "big") % CREATED_SPREAD


def make_choice(request: ChatRequest, bare_model: str, seed: bytes, index: int, limit: int) -> Choice:
    own = seed if index == 0 else seed_of(seed.hex(), index)
    deltas = reasoning_deltas(request, bare_model, own, limit)
    calls = wanted_calls(request)
    if calls:
        deltas += call_deltas(calls, own)
        finish = "tool_calls"
    else:
        text, finish = answer_text(request, own, limit)
        deltas += [Delta("content", token) for token in split_tokens(text)]
    kept = within(deltas, limit)
    return Choice(index, tuple(kept), "length" if len(kept) < len(deltas) else finish)


def within(deltas: list[Delta], limit: int) -> list[Delta]:
    used = 0
    for i, delta in enumerate(deltas):
        used += delta.tokens
        if used > limit:
            return deltas[:i]
    return deltas


def wished(request: ChatRequest, key: str, most: int) -> int | None:
    """The number in `[[key=N]]`; None when there is none."""
    text = request.directives.get(key, "").strip()
    return min(int(text), most) if text.isdecimal() and len(text) < 10 else None


def reasoning_deltas(request: ChatRequest, bare_model: str, seed: bytes, limit: int) -> list[Delta]:
    """On `reasoning_effort`, on a model whose name holds "reason", or on `[[reasoning=N]]`."""
    tokens = wished(request, "reasoning", limit)
    if tokens is None:
        effort = request.effort or ("medium" if "reason" in bare_model else "none")
        tokens = EFFORT_TOKENS[effort]
    return [Delta("reasoning", token) for token in split_tokens(prose(draws(seed_of(seed.hex(), "reasoning")), min(tokens, limit + 1)))]


def answer_text(request: ChatRequest, seed: bytes, limit: int) -> tuple[str, str]:
    """The text and its finish reason: what the prompt asked to say, JSON for a response format, the tool's result, or prose."""
    chance = draws(seed)
    length = wished(request, "tokens", limit + 1)
    if "say" in request.directives:
        text = request.directives["say"]
    elif request.schema is not None:
        made = instance(request.schema, chance) if request.schema else {"answer": prose(chance, length or 8)}
        text = orjson.dumps(made).decode()
    elif request.answers_tool:
        text = f"The tool answered: {content_text(request.messages[-1].get('content'))}"
    else:
        text = prose(chance, ANSWER_TOKENS_LEAST + pick(chance, ANSWER_TOKENS_SPREAD) if length is None else length)
    ends = [at for stop in request.stops if stop and (at := text.find(stop)) >= 0]
    return (text[: min(ends)] if ends else text), "stop"


def wanted_calls(request: ChatRequest) -> list[Tool]:
    """The tools to call, in order: none with tool_choice "none" or after a tool's result; always with "required" or a named one; else when
    the prompt names a tool or speaks of tools, functions or calls. Several when it also says parallel, both, each, several or all the, or
    `[[calls=N]]`, unless parallel_tool_calls is false."""
    choice = request.fields.get("tool_choice")
    tools = request.tools
    if not tools or choice == "none" or (request.answers_tool and choice in (None, "auto")):
        return []
    named = chosen_tool(choice)
    if named is not None:
        return [tool for tool in tools if tool.name == named][:1]
    text = request.text.lower()
    mentioned = [t for t in tools if t.name.lower() in text or t.name.lower().replace("_", " ") in text]
    count = wished(request, "calls", CALLS_MAX)
    forced = choice == "required" or isinstance(choice, dict)
    if not (mentioned or count or forced or any(sign in text for sign in ASKS_FOR_TOOL)):
        return []
    pool = mentioned or list(tools)
    if request.fields.get("parallel_tool_calls") is False:
        return pool[:1]
    if count is None:
        many = any(sign in text for sign in ASKS_FOR_MANY)
        count = max(2, len(pool)) if many else 1
    return [pool[i % len(pool)] for i in range(min(count, CALLS_MAX))]


def call_deltas(calls: Iterable[Tool], seed: bytes) -> list[Delta]:
    deltas: list[Delta] = []
    for i, tool in enumerate(calls):
        arguments = instance(tool.schema, draws(seed_of(seed.hex(), "call", i)))
        text = orjson.dumps(arguments if isinstance(arguments, dict) else {}).decode()
        deltas.append(Delta("call", tool.name, count_tokens(tool.name), i))
        deltas.extend(Delta("arguments", token, 1, i) for token in split_tokens(text))
    return deltas
