"""What the proxy asks of a wire language. Everything here is synchronous and pure: bytes and values in, bytes and values out."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from appliance.core.fault import Fault
from appliance.core.usage import Usage

EMBEDDINGS, COUNT = "embeddings", "count_tokens"
SHARED = (EMBEDDINGS, COUNT)
"""Operations beside chats that several languages have, by the names that records have for them: one language can stand for another."""

RERANK = "rerank"
UPLOADS = frozenset({"image_edit", "image_variation", "transcription", "translation"})
"""Operations whose request may be a form with files."""

FORWARDED = frozenset({RERANK, "moderations", "image_generation", "speech"}) | UPLOADS
"""Operations that nobody translates: they pass as they are to a backend that has them, and their answers may be anything."""


@attrs.define  # never changed after it is made, but not frozen: that costs 0.6 µs each time
class ParsedRequest:
    """What the gateway must know of a caller's request; the bytes themselves stay as they came.

    Attributes:
        operation: GenAI semantic-convention name where there is one: `chat`, `text_completion`, `embeddings`, `count_tokens`; or one of
            FORWARDED.
        max_tokens: the caller's own bound on the answer, None when there is none.
        wants_usage: whether the caller asked for usage in its stream.
        fields: the top-level JSON object as parsed, for matching and for what a later rewrite needs.
        estimate: the dialect's way from `fields` to a rough number of prompt tokens.
    """

    operation: str
    model: str
    stream: bool
    max_tokens: int | None
    wants_usage: bool
    user: str
    fields: Mapping[str, Any] = attrs.field(repr=False)  # holds the prompt: never in a log
    estimate: Callable[[Mapping[str, Any]], int] = attrs.field(repr=False)
    _estimated: int = attrs.field(default=-1, init=False, eq=False, repr=False)

    @property
    def prompt_tokens_estimate(self) -> int:
        """Rough (bytes / 4 of the text), for routing by length, for limits and for estimates; worked out once, when it is asked for."""
        if self._estimated < 0:
            self._estimated = self.estimate(self.fields)
        return self._estimated


@attrs.frozen
class Rewrite:
    """What the operator's configuration changes in a request; everything else passes byte for byte.

    Attributes:
        model: the model to ask for, None to leave it.
        include_usage: ask the stream to end with usage.
        max_tokens: cap on the caller's bound (added when the caller gave none), None for no cap.
        overrides: top-level fields to set.
        drop: top-level fields that this vendor refuses (a provider row's quirk).
        rename: top-level fields that this vendor calls otherwise.
    """

    model: str | None = None
    include_usage: bool = False
    max_tokens: int | None = None
    overrides: Mapping[str, Any] = attrs.field(factory=dict)
    drop: tuple[str, ...] = ()
    rename: Mapping[str, str] = attrs.field(factory=dict)


@attrs.define  # never changed after it is made, but not frozen: that costs 0.6 µs each time
class Answer:
    """What a whole answer says about itself. id: as the provider wrote it, where the language's reader looks for it."""

    usage: Usage | None
    model: str = ""
    finish_reason: str = ""
    id: str = ""


class StreamTap(Protocol):
    """Reads along while a stream passes. `feed` returns what to forward: whole events only, so that an error or a keep-alive of ours never
    lands inside one.

    Attributes:
        committed: the first good model event has been seen (comments and keep-alives of the upstream do not count).
        fault: an error hidden inside the stream, garbage where an event should be, or an event above the bound. Set once, then sticky.
        token_seen: a content, reasoning or tool-call delta has been seen (a role-only chunk does not count).
        deltas: how many such events. size: bytes that the model wrote in them, see answer_size; the basis of an estimate when the
            provider's own count never comes.
        finished: the stream said that it is complete; a stream that ends without it was cut.
        complete: finished; or, where a language has no word for that, what has come may be all there is.
    """

    committed: bool
    fault: Fault | None
    deltas: int
    size: int
    finished: bool

    @property
    def token_seen(self) -> bool: ...

    @property
    def complete(self) -> bool: ...

    def feed(self, data: bytes) -> bytes: ...

    def end(self) -> bytes:
        """The upstream's body is over: the last bytes to forward. Afterwards `finished` and `fault` are final."""

    def answer(self) -> Answer:
        """Usage, model and finish reason as seen so far."""


class InBand(Protocol):
    """What the gateway itself can say within an answer that has begun."""

    def error(self, fault: Fault, request_id: str) -> bytes:
        """The error with which it ends."""

    def keepalive(self) -> bytes:
        """What may stand between two events without meaning anything."""


class CallerDialect(Protocol):
    """The side that faces the caller."""

    name: str

    def error(self, fault: Fault, request_id: str) -> bytes:
        """The body of a refusal, in this dialect's envelope (JSON)."""

    def stream_error(self, fault: Fault, request_id: str) -> bytes:
        """The in-band error event after which the stream ends."""

    def keepalive(self) -> bytes:
        """What may stand between two events without meaning anything."""
