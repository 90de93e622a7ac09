"""OpenAI's legacy completions, for backends that have chats only: a caller's prompt as a chat of one user message, a chat's answer as text.

The rule: what a chat cannot be asked for without another answer coming of it is refused by name (tokens instead of text, several prompts,
`suffix`, `echo`, `best_of`); what an answer has beside words (thoughts, citations) has no place here. A chat model *answers* a prompt, it
does not continue it. Source: platform.openai.com/docs/api-reference/completions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation
from appliance.core.fault import Fault
from appliance.core.message import Part, Refusal, Text
from appliance.dialects import chat_request
from appliance.dialects.chat_answer_writer import FINISHES, dumped, written_usage
from appliance.dialects.codec import Reply
from appliance.dialects.fields import Unfit, flag, integer, optional, text
from appliance.dialects.openai_completion_stream import CompletionStreamWriter, legacy_logprobs

MAX_TOKENS_ELSE = 16
"""The API's own default, unlike that of chats, which have no bound."""

_READ_HERE = frozenset({"prompt", "logprobs", "max_tokens", "suffix", "echo", "best_of"})


class Completions:
    """codec.Accepted."""

    name = "openai_chat"
    stream_type = b"text/event-stream; charset=utf-8"

    def read_request(self, fields: Mapping[str, Any]) -> Conversation | Fault:
        try:
            return chat_request.read_request(_as_chat(fields))
        except Unfit as unfit:
            return unfit.fault()

    def write_answer(self, answer: Completion, reply: Reply) -> bytes:
        choices: list[dict[str, Any]] = [
            {
                "text": _words(one.parts),
                "index": place,
                "logprobs": legacy_logprobs(one.logprobs, 0) if one.logprobs else None,
                "finish_reason": FINISHES.get(one.finish, "stop"),
            }
            for place, one in enumerate(answer.candidates)
        ]
        body: dict[str, Any] = {
            "id": answer.id or reply.id, "object": "text_completion", "created": answer.created or reply.created, "model": reply.model,
            "choices": choices,
        }  # fmt: skip
        if answer.usage is not None:
            body["usage"] = written_usage(answer.usage)
        if answer.fingerprint:
            body["system_fingerprint"] = answer.fingerprint
        return dumped(body)

    def stream_writer(self, reply: Reply) -> CompletionStreamWriter:
        return CompletionStreamWriter(reply)


def _as_chat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The request as a chat's; raises Unfit."""
    if optional(text, fields, "suffix"):
        raise Unfit("suffix", "is not possible with this backend: it answers prompts and cannot fill a gap in a text")
    if optional(flag, fields, "echo"):
        raise Unfit("echo", "must be false for this backend: it answers a prompt and does not continue it")
    best_of = optional(integer, fields, "best_of") or 1
    if best_of > 1 and best_of != fields.get("n"):  # as many as are returned are no choice
        raise Unfit("best_of", "is not possible with this backend: ask for `n` answers and choose")
    limit = optional(integer, fields, "max_tokens")
    chat = {name: value for name, value in fields.items() if name not in _READ_HERE}
    chat["messages"] = [{"role": "user", "content": _prompt(fields.get("prompt"))}]
    chat["max_tokens"] = MAX_TOKENS_ELSE if limit is None else limit
    alternatives = optional(integer, fields, "logprobs")
    if alternatives is not None:
        chat["logprobs"] = True
        chat["top_logprobs"] = alternatives or None
    return chat


def _prompt(prompt: Any) -> str:
    """The one text to be answered."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0]
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str):
        raise Unfit("prompt", "must be one text for this backend: send several prompts in several requests")
    if isinstance(prompt, list):
        raise Unfit("prompt", "must be a text for this backend: it cannot read tokens of another model")
    if prompt is None:
        raise Unfit("prompt", "is missing")
    return text(prompt, "prompt")


def _words(parts: Sequence[Part]) -> str:
    """What there is to read. A refusal has no field of its own here."""
    return "".join(part.text for part in parts if isinstance(part, Text | Refusal))


COMPLETIONS = Completions()
