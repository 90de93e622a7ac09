"""The stream of a Responses answer: created, in progress, each item from added to done with its parts and deltas, completed. Pure.

Every event has its number; a reasoning item without a summary is added and done with nothing in between.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

import attrs

from appliance.simulator.answer import Answer, Headers, Piece, streamed, whole
from appliance.simulator.chat_answer import Delta, letters
from appliance.simulator.framing import NAMED
from appliance.simulator.languages.openai_logprobs import token_logprob
from appliance.simulator.languages.responses_items import SEALED
from appliance.simulator.languages.responses_wire import Made, OutputItem, ended_response, item_shape, response, summary_part, text_part
from appliance.simulator.settings import Speed

UNFINISHED_SEAL = 40  # characters of it when the item is added: what counts is the seal of the item that is done
OBFUSCATION = 16


def responses_to_wire(made: Made, speed: Speed, headers: Headers) -> Answer:
    answer = made.answer
    if made.request.stream:
        return streamed(Stream(made, speed).pieces(), NAMED, headers, prompt_tokens=answer.prompt_tokens)
    return whole(
        ended_response(made),
        due_s=speed.due_s(answer.longest),
        tokens=answer.completion_tokens,
        prompt_tokens=answer.prompt_tokens,
        headers=headers,
    )


@attrs.define
class Stream:
    """One stream while it is made. `used` is how many tokens were put out."""

    made: Made
    speed: Speed
    used: int = 0
    _numbers: Iterator[int] = attrs.field(factory=count)

    def pieces(self) -> Iterator[Piece]:
        yield self.event("response.created", {"response": response(self.made, "in_progress", [])})
        yield self.event("response.in_progress", {"response": response(self.made, "in_progress", [])})
        for item in self.made.items:
            yield from self.item(item)
        ended = ended_response(self.made)
        yield self.event(f"response.{ended['status']}", {"response": ended})._replace(end=True)

    def event(self, kind: str, fields: dict[str, Any], tokens: int = 0) -> Piece:
        due_s = self.speed.due_s(self.used)
        self.used += tokens
        return Piece(due_s, NAMED.event({"type": kind, "sequence_number": next(self._numbers), **fields}), tokens)

    def item(self, item: OutputItem) -> Iterator[Piece]:
        yield self.event("response.output_item.added", {"output_index": item.index, "item": self.added(item)})
        hidden = 0
        match item.kind:
            case "reasoning" if self.made.request.summarised:
                yield from self.part(item, "reasoning_summary", "summary_index")
            case "reasoning":
                hidden = sum(d.tokens for d in item.deltas)
            case "message":
                yield from self.part(item, "content", "content_index")
            case "function_call":
                yield from self.call(item, "function_call_arguments", "arguments")
            case _:
                yield from self.call(item, "custom_tool_call_input", "input")
        yield self.event("response.output_item.done", {"output_index": item.index, "item": item_shape(item, self.made)}, hidden)

    def added(self, item: OutputItem) -> dict[str, Any]:
        """The item before anything is in it."""
        shape = item_shape(item, self.made)
        match item.kind:
            case "reasoning":
                seal = {"encrypted_content": SEALED + shape["encrypted_content"][-UNFINISHED_SEAL:]} if self.made.request.sealed else {}
                return {**shape, **seal, "summary": []}
            case "message":
                return {**shape, "status": "in_progress", "content": []}
            case "custom_tool_call":
                return {**shape, "status": "in_progress", "input": ""}
        return {**shape, "status": "in_progress", "arguments": ""}

    def part(self, item: OutputItem, name: str, index: str) -> Iterator[Piece]:
        """The one part of a message, or of a summary."""
        where = {"item_id": item.id, "output_index": item.index, index: 0}
        full = summary_part(item.text) if item.kind == "reasoning" else text_part(item, self.made)
        field = "refusal" if full["type"] == "refusal" else "text"
        probable = full["type"] == "output_text"
        empty = {**full, field: "", **({"logprobs": []} if probable else {})}
        text = {"summary_text": "reasoning_summary_text", "output_text": "output_text", "refusal": "refusal"}[full["type"]]
        yield self.event(f"response.{name}_part.added", {**where, "part": empty})
        for delta in item.deltas:
            logprobs = self.logprobs(delta) if probable else {}
            yield self.event(f"response.{text}.delta", {**where, "delta": delta.text, **logprobs, **self.padding(delta)}, delta.tokens)
        yield self.event(f"response.{text}.done", {**where, field: item.text, **({"logprobs": full["logprobs"]} if probable else {})})
        yield self.event(f"response.{name}_part.done", {**where, "part": full})

    def logprobs(self, delta: Delta) -> dict[str, Any]:
        top = self.made.request.logprobs
        return {"logprobs": [] if top is None else [token_logprob(delta.text, top)]}

    def call(self, item: OutputItem, name: str, field: str) -> Iterator[Piece]:
        """The tokens of the name are billed with the first fragment, or with the end where there is none."""
        where = {"item_id": item.id, "output_index": item.index}
        opening, *fragments = item.deltas
        unbilled = opening.tokens
        for delta in fragments:
            yield self.event(f"response.{name}.delta", {**where, "delta": delta.text, **self.padding(delta)}, delta.tokens + unbilled)
            unbilled = 0
        yield self.event(f"response.{name}.done", {**where, field: item.text}, unbilled)

    def padding(self, delta: Delta) -> dict[str, Any]:
        if not self.made.request.obfuscated:
            return {}
        return {"obfuscation": letters(self.made.answer.seed, 2 * OBFUSCATION)[: OBFUSCATION - len(delta.text) % OBFUSCATION]}
