"""What a wire language must be able to do to meet the others: bytes of its own ↔ the values of `core`. Pure and synchronous.

Two sides, and a language may have one of them or both: the accepted side reads callers' requests and writes answers to them, the spoken
side writes requests to backends and reads their answers. Nothing here raises for what a peer sent: what cannot be read is a `Fault`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from appliance.core.completion import Completion
from appliance.core.conversation import Conversation, Effort
from appliance.core.delta import Delta
from appliance.core.fault import Fault


@attrs.frozen
class Target:
    """The backend's side of a translation.

    Attributes:
        model: to ask for.
        max_tokens: what to say where the language demands a bound and the caller gave none (Anthropic); None: what is known of the model.
        output_max: the highest bound that the model takes, None where that is not known: a caller's higher one is brought down to it.
        include_usage: ask a stream to end with usage, where that has to be asked for.
        drop: fields, in the language's own names, that this vendor refuses; rename: fields that it calls otherwise.
        short_ids: tool-call ids must be nine letters or digits (Mistral).
        efforts: the words for how hard to think that the model takes; none for all.
    """

    model: str
    max_tokens: int | None = None
    include_usage: bool = True
    drop: tuple[str, ...] = ()
    rename: Mapping[str, str] = attrs.field(factory=dict)
    short_ids: bool = False
    efforts: tuple[Effort, ...] = ()
    output_max: int | None = None


@attrs.frozen
class Written:
    """A request in a backend's language.

    Attributes:
        body: JSON.
        dropped: paths of what could not be said, in the canonical names of core.conversation ("sampling.top_k", "tools[2]",
            "messages[1].parts[0]: document"); reported to the caller and in the record.
    """

    body: bytes = attrs.field(repr=False)
    dropped: tuple[str, ...] = ()


@attrs.frozen
class Reply:
    """What a writer of answers must know beside the answer.

    Attributes:
        conversation: the caller's request; some languages echo parts of it, and it says what was asked for (usage, logprobs, custom tools).
        model: the name to show. id: for languages that want one and backends that gave none; unique. created: seconds since the epoch.
        dropped: the writer adds what the caller's language could not say of the answer; goes to the record.
    """

    conversation: Conversation
    model: str
    id: str
    created: int
    dropped: list[str] = attrs.field(factory=list, eq=False)


class StreamReader(Protocol):
    """A backend's stream, as bytes come.

    Attributes:
        fault: an error told in-band, garbage where an event should be, an event above the bound. Set once, then sticky.
        finished: the stream said that it is complete.

    A language without a word for that has a second attribute `complete`: what has come may be all of it, which only the body's end tells.
    """

    fault: Fault | None
    finished: bool

    def feed(self, data: bytes) -> list[Delta]: ...

    def end(self) -> list[Delta]:
        """The body is over. Afterwards `finished` and `fault` are final; a stream that was cut has fault STREAM_CUT."""
        ...


class StreamWriter(Protocol):
    """An answer for a caller, event by event.

    Attributes:
        full: more would have had to wait for its turn than may. What came after is lost, so that the stream has to end with a fault.
    """

    @property
    def full(self) -> bool: ...

    def write(self, deltas: Sequence[Delta]) -> bytes:
        """Whole events, perhaps none yet. The language's own ending (OpenAI's [DONE], Anthropic's message_stop) comes with `end`."""
        ...

    def end(self) -> bytes:
        """What ends a complete stream; usage in the language's own place at the latest here."""
        ...

    def error(self, fault: Fault, request_id: str) -> bytes:
        """The in-band error event, after which the stream ends. Legal at any point of the stream."""
        ...

    def keepalive(self) -> bytes:
        """What may stand between two events without meaning anything."""
        ...


class Accepted(Protocol):
    """The side that faces callers."""

    name: str
    stream_type: bytes  # content type of a streamed answer

    def read_request(self, fields: Mapping[str, Any]) -> Conversation | Fault:
        """`fields` is the request's JSON object. A Fault (BAD_REQUEST with `param`) says which field is wrong and what was expected."""
        ...

    def write_answer(self, answer: Completion, reply: Reply) -> bytes: ...

    def stream_writer(self, reply: Reply) -> StreamWriter: ...


class Spoken(Protocol):
    """The side that faces backends."""

    name: str

    def write_request(self, conversation: Conversation, target: Target) -> Written | Fault:
        """A Fault (BAD_REQUEST with `param`) where leaving something out would change what the request means."""
        ...

    def read_answer(self, body: bytes) -> Completion | Fault:
        """PROTOCOL where it is no answer; an error in a 200 is the fault that it names."""
        ...

    def stream_reader(self, event_max_bytes: int, backend: str) -> StreamReader: ...
