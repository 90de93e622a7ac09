"""The legacy completions endpoint, whole and streamed. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from appliance.simulator.answer import Answer, Headers, Piece, streamed, whole
from appliance.simulator.api_error import ApiError, missing, wrong_type
from appliance.simulator.chat_answer import ANSWER_TOKENS_LEAST, ANSWER_TOKENS_SPREAD, created_from, letters
from appliance.simulator.chat_request import DIRECTIVE
from appliance.simulator.framing import DATA
from appliance.simulator.languages.openai_chat_check import check_scalars
from appliance.simulator.languages.openai_chat_wire import DONE
from appliance.simulator.languages.openai_embeddings import parse_inputs
from appliance.simulator.languages.openai_logprobs import logprob, top_tokens
from appliance.simulator.prose import draws, pick, prose, seed_of
from appliance.simulator.settings import Speed
from appliance.simulator.tokens import count_tokens, split_tokens
from appliance.simulator.vectors import Input

MAX_TOKENS_ELSE = 16  # the service's default for this endpoint


@attrs.frozen
class Text:
    """One choice."""

    index: int
    tokens: tuple[str, ...] = attrs.field(repr=False)
    finish: str


def answer_completion(
    fields: Mapping[str, Any], bare_model: str, speed: Speed, headers: Headers, *, created: int | None, tokens_max: int
) -> Answer | ApiError:
    if not isinstance(fields.get("model"), str) or not fields["model"]:
        return ApiError(400, "you must provide a model parameter")
    if fields.get("prompt") is None:
        return missing("prompt")
    prompts = parse_inputs(fields["prompt"])
    if isinstance(prompts, ApiError):
        return wrong_type("prompt", "a string, an array of strings, an array of tokens, or an array of token arrays")
    error = check_scalars({k: v for k, v in fields.items() if k != "logprobs"})
    if error is not None:
        return error
    seed = seed_of(bare_model, "completion", prompts, fields.get("seed"))
    n = fields.get("n") or 1
    limit = min(fields.get("max_tokens") or MAX_TOKENS_ELSE, tokens_max)
    texts = [make_text(fields, p, seed, i * n + j, limit) for i, p in enumerate(prompts) for j in range(n)]
    prompt = sum(count_tokens(p) if isinstance(p, str) else len(p) for p in prompts)
    completion = sum(len(t.tokens) for t in texts)
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    head = {
        "id": "cmpl-" + letters(seed, 29),
        "object": "text_completion",
        "created": created_from(seed) if created is None else created,
        "model": fields["model"],
    }
    if fields.get("stream") is True:
        include = (fields.get("stream_options") or {}).get("include_usage") is True
        pieces = stream_pieces(texts, head, speed, usage if include else None, fields.get("logprobs"))
        return streamed(pieces, DATA, headers, prompt_tokens=prompt)
    document = {**head, "choices": [shape(t, "".join(t.tokens), t.finish, fields.get("logprobs"), t.tokens) for t in texts], "usage": usage}
    longest = max(len(t.tokens) for t in texts)
    return whole(document, headers=headers, due_s=speed.due_s(longest), tokens=completion, prompt_tokens=prompt)


def make_text(fields: Mapping[str, Any], prompt: Input, seed: bytes, index: int, limit: int) -> Text:
    chance = draws(seed_of(seed.hex(), index))
    words = prompt if isinstance(prompt, str) else ""
    wishes = dict(DIRECTIVE.findall(words))
    length = ANSWER_TOKENS_LEAST + pick(chance, ANSWER_TOKENS_SPREAD)
    if wishes.get("tokens", "").isdecimal():
        length = min(int(wishes["tokens"][:9]), limit + 1)
    text = wishes.get("say", prose(chance, length))
    stop = fields.get("stop") or ()
    ends = [at for s in ((stop,) if isinstance(stop, str) else stop) if s and (at := text.find(s)) >= 0]
    tokens = split_tokens(text[: min(ends)] if ends else text)
    kept = tokens[:limit]
    if fields.get("echo") is True:
        kept = split_tokens(words) + kept
    return Text(index, tuple(kept), "length" if len(tokens) > limit else "stop")


def stream_pieces(
    texts: list[Text], head: dict[str, Any], speed: Speed, usage: dict[str, int] | None, top: int | None
) -> Iterator[Piece]:
    """The last token's event carries the finish reason, as recorded of the service."""

    def event(choices: list[dict[str, Any]], figures: dict[str, int] | None = None) -> bytes:
        body = {**head, "choices": choices}
        if usage is not None:
            body["usage"] = figures
        return DATA.event(body)

    longest = max(len(t.tokens) for t in texts)
    for turn in range(max(longest, 1)):
        for text in texts:
            if turn >= max(len(text.tokens), 1):
                continue
            token = text.tokens[turn : turn + 1]
            finish = text.finish if turn + 1 >= len(text.tokens) else None
            yield Piece(speed.due_s(turn), event([shape(text, "".join(token), finish, top, token)]), len(token))
    end_s = speed.due_s(longest)
    if usage is not None:
        yield Piece(end_s, event([], usage))
    yield Piece(end_s, DONE, end=True)


def shape(text: Text, words: str, finish: str | None, top: int | None, tokens: tuple[str, ...]) -> dict[str, Any]:
    return {"text": words, "index": text.index, "logprobs": None if top is None else legacy_logprobs(tokens, top), "finish_reason": finish}


def legacy_logprobs(tokens: tuple[str, ...], top: int) -> dict[str, Any]:
    offsets = [sum(map(len, tokens[:i])) for i in range(len(tokens))]
    return {
        "tokens": list(tokens),
        "token_logprobs": [logprob(t, 0) for t in tokens],
        "top_logprobs": [dict(top_tokens(t, top)) for t in tokens],
        "text_offset": offsets,
    }
