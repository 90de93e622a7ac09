"""A conversation of an official SDK as its user has it, whichever SDK it is: see sdk_callers for the four.

The rule: nothing of an answer is rebuilt by hand. What the SDK gave, whole or added up by its stream helper, goes into the next request, so
that what a codec loses or invents is refused by whoever is behind it. `Said` is what all four say of an answer, in one set of words.
"""

import base64
import json
import ssl
from collections.abc import Sequence
from typing import Any

import attrs
import pydantic
from rig import KEY

TIMEOUT_S = 20.0
MAX_TOKENS = 9_000  # above every budget of thinking
THINKING_TOKENS = 2_048
ERROR_TEXT = "no such city"

PLACE: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
TOOLS = (("get_weather", "The weather of a city.", PLACE), ("get_time", "The time.", NOTHING))


class Person(pydantic.BaseModel):
    """What a structured answer has to be."""

    name: str
    age: int


@attrs.frozen
class Call:
    id: str
    name: str
    arguments: dict[str, Any]


@attrs.frozen
class Count:
    """Tokens of one request, all of them: input with what was cached, output with what was thought."""

    input: int
    output: int
    reasoning: int = 0


@attrs.frozen
class Said:
    """finish: "stop", "tools", "length" or whatever else it was. last: what the last piece of the answer is."""

    text: str
    thought: str
    calls: tuple[Call, ...]
    finish: str
    count: Count
    last: str = ""
    parsed: Any = None


@attrs.frozen
class Result:
    """What a tool gave: words, an object, or ("error") why it failed."""

    call: Call
    value: str | dict[str, Any]
    error: bool = False


@attrs.frozen
class Wish:
    """choice: a tool's name, "any", or "" to leave it to the model. tools: whether they are offered."""

    tools: bool = True
    choice: str = ""
    thinking: bool = False
    person: bool = False
    max_tokens: int = MAX_TOKENS
    stop: tuple[str, ...] = ()


@attrs.define
class Heard:
    """The head of the last answer."""

    headers: dict[str, str] = attrs.field(factory=dict)

    def note(self, response: Any) -> None:
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    @property
    def dropped(self) -> str:
        return self.headers.get("x-gateway-dropped", "")


class Talk:
    """One conversation of one SDK with one model."""

    def __init__(self, url: str, model: str, key: str = KEY) -> None:
        self.model, self.heard, self.history = model, Heard(), []  # type: list[Any]
        self.client: Any = self.made(url, key)

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def made(self, url: str, key: str) -> Any:
        raise NotImplementedError

    def say(self, text: str, picture: bytes | None = None) -> None:
        """The user's next turn, perhaps with a picture (PNG)."""
        raise NotImplementedError

    def give(self, results: Sequence[Result]) -> None:
        raise NotImplementedError

    def answer(self, stream: bool, wish: Wish) -> Said:
        """The model's turn, which joins the conversation as the SDK made it."""
        raise NotImplementedError


NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that need none: loading the usual authorities takes 30 ms a client."""


def options(heard: Heard) -> dict[str, Any]:
    return {"event_hooks": {"response": [heard.note]}, "trust_env": False, "timeout": TIMEOUT_S, "verify": NO_TLS}


def as_text(value: str | dict[str, Any]) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def data_url(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()
