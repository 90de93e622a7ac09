"""OpenAI's moderations, images and speech, and rankings as Jina shapes them. Pure.

Sources: the types of openai-python and developers.openai.com/api/reference; jina.ai/reranker for the ranking.
"""

import base64
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.simulator.answer import Answer, Headers, Piece, streamed, whole
from appliance.simulator.api_error import ApiError, bad_value, missing, wrong_type
from appliance.simulator.chat_answer import letters
from appliance.simulator.framing import NAMED
from appliance.simulator.languages.cohere_rerank import score
from appliance.simulator.prose import draws, seed_of
from appliance.simulator.settings import Speed
from appliance.simulator.tokens import count_tokens

CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm", "self-harm/instructions",
    "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
FLAG = "[[flag]]"
IMAGES_MAX, PARTIALS_MAX, PROMPT_TOKENS_PER_IMAGE, TOKENS_PER_IMAGE = 10, 3, 194, 272
SIDE_PIXELS = 16
SPEECH_TYPES = {
    "mp3": b"audio/mpeg", "opus": b"audio/ogg", "aac": b"audio/aac", "flac": b"audio/flac", "wav": b"audio/wav", "pcm": b"audio/pcm",
}  # fmt: skip
SPEECH_INPUT_MAX = 4096
BYTES_PER_TOKEN = 480  # of speech; a spoken token lasts some 20 ms


def moderate(fields: Mapping[str, Any], model: str, headers: Headers) -> Answer | ApiError:
    given = fields.get("input")
    if given is None:
        return missing("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        return wrong_type("input", "a string or a non-empty array")
    if all(isinstance(one, dict) for one in texts):  # parts of one input
        texts = [" ".join(str(one.get("text", "")) for one in texts)]
    elif not all(isinstance(one, str) for one in texts):
        return wrong_type("input", "an array of strings or of parts")
    made = {"id": "modr-" + letters(seed_of(model, texts), 32), "model": model, "results": [_verdict(text) for text in texts]}
    return whole(made, headers=headers, prompt_tokens=sum(map(count_tokens, texts)))


def _verdict(text: str) -> dict[str, Any]:
    flagged = FLAG in text
    chance = draws(seed_of(text))
    scores = {name: round(chance.random() / 1000, 8) for name in CATEGORIES}
    if flagged:
        scores["violence"] = 0.97
    return {
        "flagged": flagged,
        "categories": {name: scores[name] > 0.5 for name in CATEGORIES},
        "category_scores": scores,
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }


def draw_images(fields: Mapping[str, Any], model: str, kind: str, speed: Speed, headers: Headers, created: int) -> Answer | ApiError:
    """kind: `image_generation` or `image_edit`, as the events of a stream begin."""
    prompt, count = fields.get("prompt"), _integer(fields.get("n"), 1)
    if not isinstance(prompt, str) or not prompt:
        return missing("prompt")
    if count is None or not 1 <= count <= IMAGES_MAX:
        return bad_value("n", f"Invalid 'n': must be between 1 and {IMAGES_MAX}.")
    images = fields.get("image")
    given = len(images) if isinstance(images, list) else 1 if images is not None else 0
    if kind == "image_edit" and not given and fields.get("images") is None:
        return missing("image")
    read = count_tokens(prompt) + PROMPT_TOKENS_PER_IMAGE * given
    usage = {
        "input_tokens": read, "output_tokens": TOKENS_PER_IMAGE * count, "total_tokens": read + TOKENS_PER_IMAGE * count,
        "input_tokens_details": {"text_tokens": count_tokens(prompt), "image_tokens": read - count_tokens(prompt)},
    }  # fmt: skip
    look = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
    if fields.get("stream") is True:
        partials = _integer(fields.get("partial_images"), 0)
        if partials is None or not 0 <= partials <= PARTIALS_MAX:
            return bad_value("partial_images", f"Invalid 'partial_images': must be between 0 and {PARTIALS_MAX}.")
        events = _drawn(kind, [model, prompt], partials, {"created_at": created, **look}, usage, speed)
        return streamed(events, NAMED, headers, prompt_tokens=read)
    pictures = [{"b64_json": picture(model, prompt, number)} for number in range(count)]
    if fields.get("response_format") == "url":
        pictures = [{"url": f"https://images.example/{letters(seed_of(model, prompt, number), 12)}.png"} for number in range(count)]
    made = {"created": created, **look, "data": pictures, "usage": usage}
    return whole(made, headers=headers, due_s=speed.due_s(TOKENS_PER_IMAGE * count), tokens=TOKENS_PER_IMAGE * count, prompt_tokens=read)


def _drawn(kind: str, seed: list[str], partials: int, look: dict[str, Any], usage: dict[str, Any], speed: Speed) -> Iterator[Piece]:
    for number in range(partials):
        event = {"type": f"{kind}.partial_image", "partial_image_index": number, "b64_json": picture(*seed, number), **look}
        yield Piece(speed.due_s(TOKENS_PER_IMAGE * (number + 1) // (partials + 1)), NAMED.event(event))
    done = {"type": f"{kind}.completed", "b64_json": picture(*seed, 0), **look, "usage": usage}
    yield Piece(speed.due_s(TOKENS_PER_IMAGE), NAMED.event(done), TOKENS_PER_IMAGE, end=True)


def picture(*seed: object) -> str:
    """A small PNG in base64, its pixels derived from the seed (w3.org/TR/png)."""
    chance = draws(seed_of(*seed))
    rows = b"".join(b"\0" + bytes(int(chance.random() * 256) for _ in range(SIDE_PIXELS)) for _ in range(SIDE_PIXELS))
    head = struct.pack(">IIBBBBB", SIDE_PIXELS, SIDE_PIXELS, 8, 0, 0, 0, 0)
    blocks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = b"".join(struct.pack(">I", len(block)) + name + block + struct.pack(">I", zlib.crc32(name + block)) for name, block in blocks)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + data).decode()


def speak(fields: Mapping[str, Any], model: str, speed: Speed, headers: Headers) -> Answer | ApiError:
    """Noise that depends on the words, a token's worth at a time."""
    for name in ("input", "voice"):
        if not fields.get(name):
            return missing(name)
    text, wanted = fields["input"], fields.get("response_format") or "mp3"
    if not isinstance(text, str) or len(text) > SPEECH_INPUT_MAX:
        return bad_value("input", f"Invalid 'input': expected a string with maximum length {SPEECH_INPUT_MAX}.")
    if wanted not in SPEECH_TYPES:
        return bad_value("response_format", f"Invalid value: '{wanted}'. Supported values are: {', '.join(SPEECH_TYPES)}.")
    tokens = count_tokens(text)
    sound = [sound_of(model, text, str(fields["voice"]), number) for number in range(tokens)]
    if fields.get("stream_format") == "sse":
        usage = {"input_tokens": tokens, "output_tokens": tokens, "total_tokens": 2 * tokens}
        return streamed(_spoken(sound, usage, speed), NAMED, headers, prompt_tokens=tokens)
    pieces = tuple(Piece(speed.due_s(number), piece, 1) for number, piece in enumerate(sound))
    return Answer(200, ((b"content-type", SPEECH_TYPES[wanted]), *headers), pieces, prompt_tokens=tokens)


def _spoken(sound: list[bytes], usage: dict[str, int], speed: Speed) -> Iterator[Piece]:
    for number, piece in enumerate(sound):
        event = {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()}
        yield Piece(speed.due_s(number), NAMED.event(event), 1)
    yield Piece(speed.due_s(len(sound)), NAMED.event({"type": "speech.audio.done", "usage": usage}), end=True)


def sound_of(*seed: object) -> bytes:
    return seed_of(*seed) * (BYTES_PER_TOKEN // 32)


def rank(fields: Mapping[str, Any], model: str, speed: Speed, headers: Headers) -> Answer | ApiError:
    """As Jina and vLLM answer; the scores are those of /v2/rerank."""
    query, documents, top = fields.get("query"), fields.get("documents"), fields.get("top_n")
    if not isinstance(query, str) or not query:
        return missing("query")
    if not isinstance(documents, list) or not documents:
        return missing("documents")
    texts = [one if isinstance(one, str) else str(one.get("text", "")) if isinstance(one, dict) else "" for one in documents]
    if top is not None and _integer(top, 0) is None:
        return wrong_type("top_n", "an integer")
    scored = sorted(((score(query, text), -place) for place, text in enumerate(texts)), reverse=True)[: top or None]
    results = [{"index": -place, "document": {"text": texts[-place]}, "relevance_score": value} for value, place in scored]
    tokens = sum(map(count_tokens, (query, *texts)))
    made = {"model": model, "usage": {"total_tokens": tokens, "prompt_tokens": tokens}, "results": results}
    return whole(made, headers=headers, due_s=speed.first_token_s, prompt_tokens=tokens)


def _integer(value: object, default: int) -> int | None:
    """Of a JSON field, or of a form's; None where it is no integer."""
    if value is None:
        return default
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
