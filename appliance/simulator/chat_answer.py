"""What a chat answer says: deltas, one token each, derived from the request alone. Pure.

Whole and streamed answers of every language are made of the same deltas, so the same request says the same everywhere; the token limit
cuts the deltas, whatever they carry, as the services do.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import attrs
import orjson

from appliance.simulator.chat_request import EFFORT_TOKENS, ChatRequest, Tool, prompt_tokens
from appliance.simulator.prose import draws, pick, prose, seed_of
from appliance.simulator.schema_instance import instance
from appliance.simulator.tokens import count_tokens, split_tokens

ANSWER_TOKENS_LEAST, ANSWER_TOKENS_SPREAD = 16, 32  # without any wish a text has 16 to 47 tokens
CALLS_MAX = 16
CUSTOM_INPUT_TOKENS = 12
CREATED_FROM, CREATED_SPREAD = 1_750_000_000, 10_000_000
ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

ASKS_FOR_TOOL = ("tool", "function", "call ")
ASKS_FOR_MANY = ("parallel", "both", "each", "several", "all the")

Part = Literal["reasoning", "content", "call", "arguments"]
Finish = Literal["stop", "length", "tool_calls"]


class Delta(NamedTuple):
    """`call` numbers the tool calls of a choice; a "call" delta opens one with its name as `text`. A call without arguments has none."""

    part: Part
    text: str
    tokens: int = 1
    call: int = 0
    custom: bool = False


@attrs.frozen
class CallMade:
    """A whole call, its deltas joined."""

    number: int
    name: str
    arguments: str
    custom: bool


@attrs.frozen
class Choice:
    """One of the `n` answers. `stop` is the stop sequence that ended it; `refused`: its text is a refusal."""

    index: int
    deltas: tuple[Delta, ...] = attrs.field(repr=False)
    finish: Finish
    stop: str | None = None
    refused: bool = False

    @property
    def ends_refused(self) -> bool:
        """A refusal that was told to its end."""
        return self.refused and self.finish == "stop"

    @property
    def tokens(self) -> int:
        return sum(d.tokens for d in self.deltas)

    def joined(self, part: Part) -> str:
        return "".join(d.text for d in self.deltas if d.part == part)

    @property
    def calls(self) -> tuple[CallMade, ...]:
        opened = [d for d in self.deltas if d.part == "call"]
        return tuple(
            CallMade(o.call, o.text, "".join(d.text for d in self.deltas if d.part == "arguments" and d.call == o.call), o.custom)
            for o in opened
        )


@attrs.frozen
class ChatAnswer:
    """`created` is Unix time; `seed` is what everything was derived from, ids too."""

    created: int
    model: str
    seed: bytes = attrs.field(repr=False)
    choices: tuple[Choice, ...] = attrs.field(repr=False)
    prompt_tokens: int

    @property
    def completion_tokens(self) -> int:
        return sum(choice.tokens for choice in self.choices)

    @property
    def reasoning_tokens(self) -> int:
        return sum(d.tokens for choice in self.choices for d in choice.deltas if d.part == "reasoning")

    @property
    def longest(self) -> int:
        """Tokens of the longest choice: how long the answer takes."""
        return max(choice.tokens for choice in self.choices)


def answer_chat(request: ChatRequest, bare_model: str, *, created: int | None, tokens_max: int) -> ChatAnswer:
    """`created` None derives it too; no choice is longer than `tokens_max`."""
    said = [attrs.asdict(message) for message in request.messages]
    seed = seed_of(bare_model, said, [attrs.asdict(tool) for tool in request.tools], request.schema, request.seed)
    limit = tokens_max if request.limit is None else min(request.limit, tokens_max)
    return ChatAnswer(
        created=created_from(seed) if created is None else created,
        model=request.model,
        seed=seed,
        choices=tuple(make_choice(request, bare_model, seed, i, limit) for i in range(request.n)),
        prompt_tokens=prompt_tokens(request),
    )


def letters(seed: bytes, length: int) -> str:
    number = int.from_bytes(seed, "big")
    made = []
    for _ in range(length):
        number, at = divmod(number, len(ID_LETTERS))
        made.append(ID_LETTERS[at])
    return "".join(made)


def made_id(answer: ChatAnswer, length: int, *parts: object) -> str:
    """Letters for one thing of this answer, such as ("call", choice, call): the same whenever the same is asked."""
    return letters(seed_of(answer.seed.hex(), *parts), length)


def created_from(seed: bytes) -> int:
    return CREATED_FROM + int.from_bytes(seed[:8], "big") % CREATED_SPREAD


def make_choice(request: ChatRequest, bare_model: str, seed: bytes, index: int, limit: int) -> Choice:
    own = seed if index == 0 else seed_of(seed.hex(), index)
    deltas = reasoning_deltas(request, bare_model, own, limit)
    refusal = request.directives.get("refuse")
    calls = wanted_calls(request) if refusal is None else []
    finish: Finish
    stop = None
    if calls:
        said = request.directives.get("say", "")
        deltas += [Delta("content", token) for token in split_tokens(said)] + call_deltas(calls, own)
        finish = "tool_calls"
    else:
        text, stop = answer_text(request, own, limit) if refusal is None else (refusal, None)
        deltas += [Delta("content", token) for token in split_tokens(text)]
        finish = "stop"
    kept = within(deltas, limit)
    cut = len(kept) < len(deltas)
    return Choice(index, tuple(kept), "length" if cut else finish, None if cut else stop, refusal is not None)


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
    """On `[[reasoning=N]]`, on the request's own wish, or on a model whose name holds "reason"."""
    tokens = wished(request, "reasoning", limit)
    if tokens is None:
        tokens = request.reasoning
    if tokens is None:
        tokens = EFFORT_TOKENS["medium" if "reason" in bare_model else "none"]
    return [Delta("reasoning", token) for token in split_tokens(prose(draws(seed_of(seed.hex(), "reasoning")), min(tokens, limit + 1)))]


def answer_text(request: ChatRequest, seed: bytes, limit: int) -> tuple[str, str | None]:
    """The text and the stop sequence that ended it: what the prompt asked to say, JSON for a schema, the tool's result, or prose."""
    chance = draws(seed)
    length = wished(request, "tokens", limit + 1)
    if "say" in request.directives:
        text = request.directives["say"]
    elif request.schema is not None:
        made = instance(request.schema, chance) if request.schema else {"answer": prose(chance, length or 8)}
        text = orjson.dumps(made).decode()
    elif request.answers_tool:
        text = f"The tool answered: {request.text}"
    else:
        text = prose(chance, ANSWER_TOKENS_LEAST + pick(chance, ANSWER_TOKENS_SPREAD) if length is None else length)
    ends = [(at, stop) for stop in request.stops if stop and (at := text.find(stop)) >= 0]
    return (text[: min(ends)[0]], min(ends)[1]) if ends else (text, None)


def wanted_calls(request: ChatRequest) -> list[Tool]:
    """The tools to call, in order: none with mode "none"; always with "required" or "named"; else when the prompt names a tool or speaks of
    tools, functions or calls, and is no tool's result. Several when it also says parallel, both, each, several or all the, or (in a result
    too) `[[calls=N]]`, unless parallel calls are forbidden."""
    tools = [t for t in request.tools if request.allowed is None or t.name in request.allowed]
    count = wished(request, "calls", CALLS_MAX)
    if not tools or request.mode == "none" or (request.answers_tool and request.mode == "auto" and not count):
        return []
    if request.mode == "named":
        return tools[:1]
    text = request.text.lower()
    mentioned = [t for t in tools if t.name.lower() in text or t.name.lower().replace("_", " ") in text]
    if not (mentioned or count or request.mode == "required" or any(sign in text for sign in ASKS_FOR_TOOL)):
        return []
    pool = mentioned or tools
    if not request.parallel:
        return pool[:1]
    if count is None:
        many = any(sign in text for sign in ASKS_FOR_MANY)
        count = max(2, len(pool)) if many else 1
    return [pool[i % len(pool)] for i in range(min(count, CALLS_MAX))]


def call_deltas(calls: Iterable[Tool], seed: bytes) -> list[Delta]:
    deltas: list[Delta] = []
    for i, tool in enumerate(calls):
        chance = draws(seed_of(seed.hex(), "call", i))
        if tool.custom:
            text = prose(chance, CUSTOM_INPUT_TOKENS)
        else:
            arguments = instance(tool.schema, chance)
            text = orjson.dumps(arguments if isinstance(arguments, dict) else {}).decode()
        deltas.append(Delta("call", tool.name, count_tokens(tool.name), i, tool.custom))
        deltas.extend(Delta("arguments", token, 1, i, tool.custom) for token in split_tokens(text))
    return deltas
