"""OpenAI's chat as a row: the language that is always loaded. Its codec is not, since requests that pass verbatim never need it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from appliance.core.seal import WRAPPED_QUOTED
from appliance.dialects.language import Language, TapWish, Verbatim
from appliance.dialects.openai_chat import OPENAI, OpenAIStreamTap, classify, hidden_error, read_answer, read_request, rewrite
from appliance.dialects.openai_members import without_members
from appliance.dialects.openai_size import body_size
from appliance.dialects.protocol import StreamTap

if TYPE_CHECKING:
    from appliance.dialects.codec import Accepted, Spoken
    from appliance.dialects.operation import Sides


def _accepted() -> "Accepted":
    from appliance.dialects.chat import CHAT

    return CHAT


def _spoken() -> "Spoken":
    from appliance.dialects.chat import CHAT

    return CHAT


def _tap(wish: TapWish) -> StreamTap:
    return OpenAIStreamTap(wish.hide_usage, wish.event_max_bytes, wish.backend, wish.secrets)


def _operations() -> "Mapping[str, Sides]":
    from appliance.dialects.operations import OPENAI

    return OPENAI


def _completions() -> "Accepted":
    from appliance.dialects.openai_completion import COMPLETIONS

    return COMPLETIONS


OPENAI_CHAT = Language(
    "openai_chat", classify, _spoken, OPENAI, _accepted,
    Verbatim(read_request, rewrite, _tap, read_answer, hidden_error, body_size, wrapped=WRAPPED_QUOTED, without=without_members),
    _operations,
)  # fmt: skip

OPENAI_COMPLETIONS = attrs.evolve(OPENAI_CHAT, load_accepted=_completions)
"""The same language to callers of /v1/completions: verbatim to a backend that has them, written anew as a chat's to any other."""
