"""OpenAI's chat as a row: the language that is always loaded. Its codec is not, since requests that pass verbatim never need it."""

from typing import TYPE_CHECKING

from appliance.dialects.language import Language, TapWish, Verbatim
from appliance.dialects.openai_chat import OPENAI, OpenAIStreamTap, classify, hidden_error, read_answer, read_request, rewrite
from appliance.dialects.protocol import StreamTap

if TYPE_CHECKING:
    from appliance.dialects.codec import Accepted, Spoken


def _accepted() -> "Accepted":
    from appliance.dialects.chat import CHAT

    return CHAT


def _spoken() -> "Spoken":
    from appliance.dialects.chat import CHAT

    return CHAT


def _tap(wish: TapWish) -> StreamTap:
    return OpenAIStreamTap(wish.hide_usage, wish.event_max_bytes, wish.backend, wish.secrets)


OPENAI_CHAT = Language(
    "openai_chat", classify, _spoken, OPENAI, _accepted, Verbatim(read_request, rewrite, _tap, read_answer, hidden_error)
)
