"""One wire language as the gateway uses it: a row that says which function does what. Adding a language adds a row and no branch."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from appliance.core.fault import Fault
from appliance.core.seal import WRAPPED
from appliance.dialects.protocol import Answer, CallerDialect, ParsedRequest, Rewrite, StreamTap

if TYPE_CHECKING:  # the codecs and their values are imported late, see language_table
    from appliance.dialects.codec import Accepted, Spoken
    from appliance.dialects.operation import Sides

Headers = Iterable[tuple[bytes, bytes]]


class Classify(Protocol):
    def __call__(
        self, status: int, headers: Headers, body: bytes, *, backend: str, now: float, secrets: Sequence[bytes] = ()
    ) -> Fault: ...


Unsealed = Callable[[Mapping[str, Any], bool], tuple[dict[str, Any], tuple[str, ...]] | None]
"""From a request's fields to those that replace them, without reasoning that other vendors sealed (with True, that anybody did), and what
was left out; None where there is none."""


@attrs.frozen
class TapWish:
    """What a verbatim stream is to be read with. hide_usage: the usage event was our wish and not the caller's."""

    hide_usage: bool
    event_max_bytes: int
    backend: str
    secrets: tuple[bytes, ...] = attrs.field(repr=False, default=())


@attrs.frozen
class Verbatim:
    """How bytes of this language pass when caller and backend both speak it.

    Attributes:
        read: what must be known of a request, by operation.
        rewrite: what the operator changes in it.
        token_field: what the caller's bound on the answer is called.
        goes_on: the member of a request that names an earlier answer, which only the backend that made it can go on from; empty where the
            language has none.
        endpoint: where a request goes as it is, in the names of row.LANGUAGE_PATHS, if its operation has several places.
        mended: what has to be replaced for a model that would refuse the request as it is, in the way of `unsealed`; None where that cannot
            be.
        without: takes members out of the history that some vendors of the language refuse, in the way of `unsealed`; None where all take
            the same.
        wrapped: where this stands in a request, some reasoning in its history was sealed by a vendor of another language.
        amiss: whether a model would refuse a request as it is, though the language is the same; None where that cannot be. It is written
            anew then.
        unsealed: takes out what other vendors sealed; None where that needs the request written anew.
        framed: content type of a stream that its tap puts into another frame than backends use (Gemini's array); such a tap is an InBand,
            too. Empty where streams pass in the frame that they come in.
        tap: reads along with a stream; answer: what a whole answer (or its last part) says of itself, by operation; hidden: the fault
            inside one of status 200.
        size: bytes that a model wrote in a whole answer, see answer_size; None where it cannot be read. Asked where no usage was told.
    """

    read: Callable[[bytes, str], ParsedRequest | Fault]
    rewrite: Callable[[bytes, ParsedRequest, Rewrite], bytes]
    tap: Callable[[TapWish], StreamTap]
    answer: Callable[[bytes, str], Answer | Fault]
    hidden: Callable[[bytes, str, Sequence[bytes]], Fault | None]
    size: Callable[[bytes], int | None] | None = None
    token_field: str = "max_tokens"
    goes_on: str = ""
    wrapped: bytes = WRAPPED.encode()
    amiss: Callable[[Mapping[str, Any], str], bool] | None = None
    unsealed: "Unsealed | None" = None
    mended: Callable[[Mapping[str, Any], str], tuple[dict[str, Any], tuple[str, ...]] | None] | None = None
    without: Callable[[Mapping[str, Any], Collection[str]], tuple[dict[str, Any], tuple[str, ...]] | None] | None = None
    endpoint: str = ""
    framed: bytes = b""


@attrs.frozen
class Language:
    """One row.

    Attributes:
        caller: what the gateway itself says to a caller; None where no caller speaks it.
        load_spoken, load_accepted: give the codec's two sides, which may be imported only then; no caller speaks it where the second is
            None.
        verbatim: None where no caller speaks it. classify: what a backend's refusal means.
        load_operations: gives what it can do beside chats, by operation; None where that is nothing.
    """

    name: str
    classify: Classify
    load_spoken: "Callable[[], Spoken]"
    caller: CallerDialect | None = None
    load_accepted: "Callable[[], Accepted] | None" = None
    verbatim: Verbatim | None = None
    load_operations: "Callable[[], Mapping[str, Sides]] | None" = None

    @property
    def spoken(self) -> "Spoken":
        return self.load_spoken()

    @property
    def accepted(self) -> "Accepted | None":
        return None if self.load_accepted is None else self.load_accepted()

    def sides(self, operation: str) -> "Sides | None":
        """Of an operation that languages have in common beside chats; None where this one has no such thing."""
        return None if self.load_operations is None else self.load_operations().get(operation)
