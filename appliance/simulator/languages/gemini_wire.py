"""A chat answer in Gemini's bytes: one GenerateContentResponse, or one for each token, as events or as the elements of an array. Pure.

Field order, cumulative usage and the empty last part follow recorded answers of the Gemini API. Thoughts that nobody asked to see are
counted and take their time, but are not sent. A call is always sent whole, as the API sends it.
"""

from collections.abc import Iterator
from typing import Any

import attrs
import orjson

from appliance.simulator.answer import Answer, Headers, Piece, streamed, whole
from appliance.simulator.chat_answer import CallMade, ChatAnswer, Choice, made_id
from appliance.simulator.framing import ARRAY, CRLF, Framing
from appliance.simulator.languages.gemini import ARRAY_END
from appliance.simulator.languages.gemini_model import insists_on_signatures
from appliance.simulator.languages.gemini_request import GeminiRequest
from appliance.simulator.languages.gemini_signature import call_content, sign
from appliance.simulator.languages.openai_logprobs import logprob, top_tokens
from appliance.simulator.prose import seed_of
from appliance.simulator.settings import Speed

FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
CALLED = "Model generated function call(s)."
TOKEN_ID_MAX = 262_144


def generated(answer: ChatAnswer, request: GeminiRequest, speed: Speed, headers: Headers) -> Answer:
    return whole(
        document(answer, request),
        due_s=speed.due_s(answer.longest),
        tokens=answer.completion_tokens,
        prompt_tokens=answer.prompt_tokens,
        headers=headers,
    )


def generated_stream(answer: ChatAnswer, request: GeminiRequest, speed: Speed, headers: Headers, *, events: bool) -> Answer:
    """`events`: server-sent ones, which the caller asks for with alt=sse; else elements of an array."""
    framing = CRLF if events else ARRAY
    return streamed(stream_pieces(answer, request, speed, framing), framing, headers, prompt_tokens=answer.prompt_tokens)


def response(answer: ChatAnswer, candidates: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "candidates": candidates,
        "usageMetadata": usage,
        "modelVersion": answer.model,
        "responseId": made_id(answer, 23, "response"),
    }


def usage(answer: ChatAnswer, cached: int, thoughts: int, said: int) -> dict[str, Any]:
    """`thoughts` and `said` tokens so far; candidates never count thoughts, the total does."""
    prompt = answer.prompt_tokens
    figures: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": said,
        "totalTokenCount": prompt + said + thoughts,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    }
    if cached:
        figures |= {"cachedContentTokenCount": cached, "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": cached}]}
    return {**figures, "thoughtsTokenCount": thoughts} if thoughts else figures


def document(answer: ChatAnswer, request: GeminiRequest) -> dict[str, Any]:
    candidates = [candidate(choice, answer, request) for choice in answer.choices]
    said = answer.completion_tokens - answer.reasoning_tokens
    return response(answer, candidates, usage(answer, request.cached_tokens, answer.reasoning_tokens, said))


def candidate(choice: Choice, answer: ChatAnswer, request: GeminiRequest) -> dict[str, Any]:
    thoughts, text = choice.joined("reasoning"), choice.joined("content")
    parts: list[dict[str, Any]] = [{"text": thoughts, "thought": True}] if thoughts and request.thoughts else []
    calls = whole_calls(choice)
    if text or not calls:
        parts.append({"text": text, **text_signature(choice, answer)})
    parts += [call_part(call, choice, answer) for call in calls]
    made = {"content": {"parts": parts, "role": "model"}, **ending(choice, calls)}
    if request.logprobs is not None:
        tokens = [d.text for d in choice.deltas if d.part == "content"]
        made |= logprobs(tokens, request.logprobs)
    return made


def ending(choice: Choice, calls: tuple[CallMade, ...]) -> dict[str, Any]:
    told = {"finishReason": "SAFETY" if choice.ends_refused else FINISHES[choice.finish], "index": choice.index}
    return {**told, "finishMessage": CALLED} if calls else told


def whole_calls(choice: Choice) -> tuple[CallMade, ...]:
    """Those whose arguments the token limit did not cut."""
    return tuple(call for call in choice.calls if choice.finish != "length" or is_json(call.arguments))


def is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def call_part(call: CallMade, choice: Choice, answer: ChatAnswer) -> dict[str, Any]:
    """The first call of a turn is signed where the model thought, and by Gemini 3 always; only that numbers its calls."""
    arguments = orjson.loads(call.arguments or b"{}")
    made: dict[str, Any] = {"functionCall": {"name": call.name, "args": arguments}}
    strict = insists_on_signatures(answer.model)
    if strict:
        made["functionCall"]["id"] = made_id(answer, 8, "call", choice.index, call.number).lower()
    if call.number == 0 and (strict or choice.joined("reasoning")):
        made["thoughtSignature"] = sign(call_content(call.name, arguments))
    return made


def text_signature(choice: Choice, answer: ChatAnswer) -> dict[str, str]:
    """Of words without a call: Gemini 3 signs these too, but does not insist."""
    return {"thoughtSignature": sign("")} if insists_on_signatures(answer.model) and not choice.calls else {}


def logprobs(tokens: list[str], top: int) -> dict[str, Any]:
    chosen = [shape(token, logprob(token, 0)) for token in tokens]
    result: dict[str, Any] = {"chosenCandidates": chosen}
    if top:
        result["topCandidates"] = [{"candidates": [shape(t, p) for t, p in top_tokens(token, top)]} for token in tokens]
    total = sum(c["logProbability"] for c in chosen)
    return {"avgLogprobs": total / len(chosen) if chosen else 0.0, "logprobsResult": result}


def shape(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "tokenId": int.from_bytes(seed_of(token)[:4], "big") % TOKEN_ID_MAX, "logProbability": value}


@attrs.frozen
class Shown:
    """What one event shows of a choice, and how far the choice has come with it: tokens since the last event, thoughts and words so far."""

    choice: Choice
    parts: list[dict[str, Any]]
    at: int
    tokens: int
    thoughts: int
    said: int
    text: str = ""


def shown_deltas(choice: Choice, answer: ChatAnswer, request: GeminiRequest) -> Iterator[Shown]:
    """An event a token, one a call; hidden thoughts go with what follows them."""
    calls = {call.number: call for call in whole_calls(choice)}
    thoughts = said = told = 0
    for i, delta in enumerate(choice.deltas):
        if delta.part == "reasoning":
            thoughts += delta.tokens
        else:
            said += delta.tokens
        following = choice.deltas[i + 1] if i + 1 < len(choice.deltas) else None
        parts: list[dict[str, Any]] = []
        if delta.part == "reasoning" and request.thoughts:
            parts = [{"text": delta.text, "thought": True}]
        elif delta.part == "content":
            parts = [{"text": delta.text}]
        elif delta.part in ("call", "arguments") and (following is None or following.part == "call") and delta.call in calls:
            parts = [call_part(calls[delta.call], choice, answer)]
        if parts:
            at = thoughts + said
            yield Shown(choice, parts, at, at - told, thoughts, said, delta.text if delta.part == "content" else "")
            told = at


def stream_pieces(answer: ChatAnswer, request: GeminiRequest, speed: Speed, framing: Framing) -> Iterator[Piece]:
    """The candidates take turns. Each response has the usage so far; the last of a candidate has an empty part and its finish reason."""
    running = [shown_deltas(choice, answer, request) for choice in answer.choices]
    latest: dict[int, Shown] = {}
    first = True

    def event(shown: dict[str, Any], *, last: bool = False) -> bytes:
        nonlocal first
        thoughts, said = sum(s.thoughts for s in latest.values()), sum(s.said for s in latest.values())
        if last:
            thoughts, said = answer.reasoning_tokens, answer.completion_tokens - answer.reasoning_tokens
        data = framing.event(response(answer, [shown], usage(answer, request.cached_tokens, thoughts, said)), first=first)
        first = False
        return data

    while running:
        for deltas in tuple(running):
            shown = next(deltas, None)
            if shown is None:
                running.remove(deltas)
                continue
            latest[shown.choice.index] = shown
            made: dict[str, Any] = {"content": {"parts": shown.parts, "role": "model"}, "index": shown.choice.index}
            if request.logprobs is not None and shown.text:
                made |= logprobs([shown.text], request.logprobs)
            yield Piece(speed.due_s(shown.at), event(made), shown.tokens)
    end_s = speed.due_s(answer.longest)
    billed = sum(s.at for s in latest.values())
    for choice in answer.choices:
        last = choice is answer.choices[-1]
        parts = [{"text": "", **text_signature(choice, answer)}]
        tokens = answer.completion_tokens - billed if last else 0
        made = {"content": {"parts": parts, "role": "model"}, **ending(choice, whole_calls(choice))}
        yield Piece(end_s, event(made, last=last), tokens, end=last and framing is not ARRAY)
    if framing is ARRAY:
        yield Piece(end_s, ARRAY_END, end=True)
