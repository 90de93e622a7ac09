"""The endpoints of OpenAI that are no texts: moderations, images, audio; and rankings under OpenAI's own kind of path."""

import re
from collections.abc import Mapping
from re import Match
from typing import Any

from appliance.simulator.answer import Answer
from appliance.simulator.api_error import ApiError, missing
from appliance.simulator.chat_answer import CREATED_FROM
from appliance.simulator.language import Call, Endpoint, in_body
from appliance.simulator.languages.openai import OPENAI
from appliance.simulator.languages.openai_media import draw_images, moderate, rank, speak
from appliance.simulator.languages.openai_transcripts import transcribe

MODERATION_MODEL = "omni-moderation-latest"
NO_MODEL = missing("model")


def moderation_model(match: Match[str], fields: Mapping[str, Any]) -> str | None:
    return in_body(match, fields) or MODERATION_MODEL


def moderations(call: Call) -> Answer | ApiError:
    return moderate(call.fields, call.model.bare, call.headers)


def images(call: Call) -> Answer | ApiError:
    return _images(call, "image_generation")


def edits(call: Call) -> Answer | ApiError:
    return _images(call, "image_edit")


def variations(call: Call) -> Answer | ApiError:
    """OpenAI has retired these; servers that imitate it have not."""
    return _images(call, "image_edit", prompt="a variation")


def speech(call: Call) -> Answer | ApiError:
    return speak(call.fields, call.model.bare, call.speed, call.headers) if call.model.bare else NO_MODEL


def transcriptions(call: Call) -> Answer | ApiError:
    return _transcribed(call, translated=False)


def translations(call: Call) -> Answer | ApiError:
    return _transcribed(call, translated=True)


def ranking(call: Call) -> Answer | ApiError:
    return rank(call.fields, call.model.bare, call.speed, call.headers) if call.model.bare else NO_MODEL


def _images(call: Call, kind: str, prompt: str = "") -> Answer | ApiError:
    if not call.model.bare:
        return NO_MODEL
    fields = {**call.fields, "prompt": prompt} if prompt else call.fields
    return draw_images(fields, call.model.bare, kind, call.speed, call.headers, call.created or CREATED_FROM)


def _transcribed(call: Call, *, translated: bool) -> Answer | ApiError:
    if not call.model.bare:
        return NO_MODEL
    return transcribe(call.fields, call.model.bare, call.speed, call.headers, translated=translated)


ENDPOINTS = (
    Endpoint("POST", re.compile("/v1/moderations"), OPENAI, moderations, model=moderation_model),
    Endpoint("POST", re.compile("/v1/images/generations"), OPENAI, images),
    Endpoint("POST", re.compile("/v1/images/edits"), OPENAI, edits),
    Endpoint("POST", re.compile("/v1/images/variations"), OPENAI, variations),
    Endpoint("POST", re.compile("/v1/audio/speech"), OPENAI, speech),
    Endpoint("POST", re.compile("/v1/audio/transcriptions"), OPENAI, transcriptions),
    Endpoint("POST", re.compile("/v1/audio/translations"), OPENAI, translations),
    Endpoint("POST", re.compile("/v1/rerank"), OPENAI, ranking),
)
