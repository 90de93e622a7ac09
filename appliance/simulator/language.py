"""What every wire language of the simulator must be able to do for those who know none: refuse, name its headers, and let faults change
an answer without knowing its shape. Pure.

Who answers a request is in `languages/table.py`; how to add a language is told in `languages/__init__.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from re import Match, Pattern
from typing import Any, Literal, Protocol

import attrs

from appliance.simulator.answer import Answer, Headers, whole
from appliance.simulator.api_error import ApiError
from appliance.simulator.framing import Framing
from appliance.simulator.model_name import ModelName
from appliance.simulator.request import Request
from appliance.simulator.response_store import ResponseStore
from appliance.simulator.settings import Settings, Speed

Named = Literal["context_length", "content_filter", "quota"]
Fields = Mapping[str, Any]


class Language(Protocol):
    """One wire language. All of it is pure.

    Attributes:
        id_header: of its usual headers, the one that errors carry too.
        code_field: the attribute of ApiError that the envelope shows as the error's code, for faults that ask for another.
        broken: the beginning of an event's JSON text that never ends.
    """

    @property
    def id_header(self) -> bytes: ...
    @property
    def code_field(self) -> Literal["code", "type"]: ...
    @property
    def broken(self) -> bytes: ...

    def usual_headers(self, request: Request) -> Headers:
        """What the service sends with every answer; derived from the request, so that they repeat."""

    def key_error(self, request: Request, required: str) -> ApiError | None:
        """What is wrong with the request's credential when `required` is the only good one."""

    def envelope(self, error: ApiError, request_id: str) -> object:
        """The JSON of an error, whoever worded it."""

    def error_headers(self, error: ApiError) -> Headers:
        """Headers that tell the error as well."""

    def error_for(self, status: int) -> ApiError:
        """The usual error of a status, in the service's own words."""

    def named_error(self, kind: Named) -> ApiError:
        """What the service answers to a prompt that is too long, that it filters, or when the account is empty."""

    def error_event(self, error: ApiError, framing: Framing, before: Sequence[bytes], style: str, request_id: str) -> bytes:
        """The event that tells an error in a stream; `before` are the first event and the last before it, none at the start. `style` is
        for languages with several."""

    def without_usage(self, value: Fields, *, stream: bool) -> Fields | None:
        """A document or event without token counts, None for an event that had nothing else."""

    def with_finish(self, value: Fields, reason: str, *, stream: bool) -> Fields | None:
        """A document or event with another finish reason, None where it tells none."""

    def stretched(self, event: Fields, size: int) -> Fields | None:
        """One more event after this one, with `size` bytes of text; None where no such event may follow."""


@attrs.frozen
class Call:
    """A request, read as far as every endpoint needs.

    Attributes:
        fields: the JSON object of a POST, else {}.
        model: as the request names it; all empty where it names none.
        parts: the named groups of the path's pattern.
        headers: the language's usual ones.
        listed: the ids of the models that are listed.
        responses: what /v1/responses kept.
    """

    request: Request
    fields: Fields = attrs.field(repr=False)
    model: ModelName
    parts: Mapping[str, str]
    speed: Speed
    headers: Headers
    settings: Settings
    listed: tuple[str, ...]
    responses: ResponseStore

    @property
    def created(self) -> int | None:
        """Unix time for answers; None derives it from the request."""
        return None if self.settings.clock is None else int(self.settings.clock())


def in_body(match: Match[str], fields: Fields) -> str | None:
    del match
    asked = fields.get("model")
    return asked if isinstance(asked, str) and asked else None


def in_path(match: Match[str], fields: Fields) -> str | None:
    """The path's pattern names the group `model`."""
    del fields
    return match["model"]


def no_model(match: Match[str], fields: Fields) -> str | None:
    del match, fields
    return None


def stream_field(request: Request, match: Match[str], fields: Fields) -> bool:
    del request, match
    return fields.get("stream") is True


@attrs.frozen
class Endpoint:
    """A method and path that a language serves.

    Attributes:
        path: matches whole (percent-decoded) paths.
        answer: the answer or the refusal of a good request.
        model: where the model is named.
        streams: whether a stream is asked for (needed for recordings, which no endpoint reads).
        when: further conditions, where two languages share a path.
    """

    method: str
    path: Pattern[str]
    language: Language
    answer: Callable[[Call], Answer | ApiError]
    model: Callable[[Match[str], Fields], str | None] = in_body
    streams: Callable[[Request, Match[str], Fields], bool] = stream_field
    when: Callable[[Request], bool] = lambda _: True


def refusal(error: ApiError, language: Language, headers: Headers = ()) -> Answer:
    """`headers` are those of the answer it stands for; of them only the request id is kept."""
    kept = tuple(h for h in headers if h[0] == language.id_header)
    request_id = kept[0][1].decode() if kept else ""
    return whole(language.envelope(error, request_id), error.status, (*error.headers, *language.error_headers(error), *kept))
