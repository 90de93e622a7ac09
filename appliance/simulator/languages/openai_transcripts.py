"""OpenAI's transcriptions and translations: prose derived from the file, in every form of answer. Pure.

Source: the types of openai-python (types/audio).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.simulator.answer import Answer, Headers, Piece, streamed, whole
from appliance.simulator.api_error import ApiError, bad_value, missing
from appliance.simulator.form import FormFile
from appliance.simulator.framing import NAMED
from appliance.simulator.prose import draws, pick, prose, seed_of
from appliance.simulator.settings import Speed
from appliance.simulator.tokens import split_tokens

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
SAY = re.compile(r"\[\[say=(.*?)\]\]", re.DOTALL)
LEAST_TOKENS, SPREAD_TOKENS = 12, 20
BYTES_PER_TOKEN = 3_200  # of audio that is heard: 0.1 s of 16 kHz in 16 bits
TOKEN_S = 0.25  # that a word lasts


def transcribe(fields: Mapping[str, Any], model: str, speed: Speed, headers: Headers, *, translated: bool) -> Answer | ApiError:
    """What was said in a file: what stands in it as [[say=TEXT]], else prose."""
    file, form = fields.get("file"), fields.get("response_format") or "json"
    if not isinstance(file, FormFile):
        return missing("file")
    if not file.size:
        return bad_value("file", "Audio file is too short. Minimum audio length is 0.1 seconds.")
    if form not in FORMATS:
        return bad_value("response_format", f"Invalid value: '{form}'. Supported values are: {', '.join(FORMATS)}.")
    said = SAY.search(file.text)
    chance = draws(seed_of(model, file.digest, fields.get("language"), translated))
    text = said[1] if said is not None else prose(chance, LEAST_TOKENS + pick(chance, SPREAD_TOKENS))
    words, heard = split_tokens(text), max(1, file.size // BYTES_PER_TOKEN)
    if fields.get("stream") is True:
        if "whisper" in model:
            return bad_value("stream", "Streaming is not supported for this model.")
        return streamed(_heard(words, text, usage_of(heard, len(words)), speed), NAMED, headers, prompt_tokens=heard)
    due_s = speed.due_s(len(words))
    seconds = round(len(words) * TOKEN_S, 2)
    if form == "json":
        usage = {"type": "duration", "seconds": round(seconds)} if "whisper" in model else usage_of(heard, len(words))
        return whole({"text": text, "usage": usage}, headers=headers, due_s=due_s, tokens=len(words), prompt_tokens=heard)
    if form == "verbose_json":
        made = {
            "task": "translate" if translated else "transcribe", "language": "english", "duration": seconds, "text": text,
            "segments": [_segment(text, seconds)], "usage": {"type": "duration", "seconds": round(seconds)},
        }  # fmt: skip
        return whole(made, headers=headers, due_s=due_s, tokens=len(words), prompt_tokens=heard)
    shown = {"text": text + "\n", "srt": _subtitles(text, seconds, ","), "vtt": "WEBVTT\n\n" + _subtitles(text, seconds, ".")}[form]
    body = shown.encode()
    head = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)), *headers)
    return Answer(200, head, (Piece(due_s, body, len(words)),), prompt_tokens=heard)


def usage_of(heard: int, written: int) -> dict[str, Any]:
    details = {"text_tokens": 0, "audio_tokens": heard}
    return {
        "type": "tokens", "input_tokens": heard, "output_tokens": written, "total_tokens": heard + written, "input_token_details": details,
    }  # fmt: skip


def _heard(words: list[str], text: str, usage: dict[str, Any], speed: Speed) -> Iterator[Piece]:
    for number, word in enumerate(words):
        yield Piece(speed.due_s(number), NAMED.event({"type": "transcript.text.delta", "delta": word}), 1)
    yield Piece(speed.due_s(len(words)), NAMED.event({"type": "transcript.text.done", "text": text, "usage": usage}), end=True)


def _segment(text: str, seconds: float) -> dict[str, Any]:
    return {
        "id": 0, "seek": 0, "start": 0.0, "end": seconds, "text": text, "tokens": list(range(len(split_tokens(text)))), "temperature": 0.0,
        "avg_logprob": -0.2, "compression_ratio": 1.2, "no_speech_prob": 0.01,
    }  # fmt: skip


def _subtitles(text: str, seconds: float, mark: str) -> str:
    number = "1\n" if mark == "," else ""
    end = f"{int(seconds // 3600):02}:{int(seconds // 60 % 60):02}:{int(seconds % 60):02}{mark}{int(seconds * 1000 % 1000):03}"
    return f"{number}00:00:00{mark}000 --> {end}\n{text}\n\n"
