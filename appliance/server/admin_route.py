"""What the admin API is made of: a table of routes, each with what it takes and gives, and the way from a request to one of them.

The rule: a route stands in the table or it does not exist; what serves it and what describes it (see `openapi`) are the same row.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import attrs

from appliance.config.problem import Problem
from appliance.store.fault import StoreFault
from appliance.store.tenancy_change import Denied
from appliance.store.tenancy_desk import Invalid

if TYPE_CHECKING:
    from appliance.server.admin import AdminApp

Schema = Mapping[str, Any]
"""JSON Schema, 2020-12."""

JSON, CSV = "application/json", "text/csv"

_DENIED = {"missing": 404, "conflict": 409, "full": 409}


@attrs.frozen
class Asked:
    """A request to a route.

    Attributes:
        names: what stands in the path. query: of repeated parameters the last one.
        body: of a route that takes one; empty where none was sent.
        actor: who asks, for the audit.
    """

    names: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    actor: str


@attrs.frozen
class Answer:
    """What comes back: a value as JSON, or a text of another type."""

    value: object
    status: int = 200
    text_type: str = ""


Serve = Callable[["AdminApp", Asked], Awaitable[Answer]]


@attrs.frozen
class Parameter:
    """One of the query's."""

    name: str
    what: str
    schema: Schema


@attrs.frozen
class AdminRoute:
    """One method of one path.

    Attributes:
        path: a segment in braces is a name; it goes to `Asked.names`.
        name: of the operation, unique.
        gives: the schema of a good answer, whose status is `status`; csv: it may be asked for as CSV.
        takes: the schema of the body; None where there is none.
        refusals: statuses of refusals beside those of every route.
    """

    method: str
    path: str
    name: str
    what: str
    serve: Serve
    gives: Schema
    status: int = 200
    query: tuple[Parameter, ...] = ()
    takes: Schema | None = None
    refusals: tuple[int, ...] = ()
    csv: bool = False
    segments: tuple[str, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.path.split("/")))

    @property
    def name_fields(self) -> tuple[str, ...]:
        return tuple(segment[1:-1] for segment in self.segments if segment.startswith("{"))

    def names(self, pieces: Sequence[str]) -> dict[str, str] | None:
        """What stands for each name in the segments of a path; None where the path is another's."""
        if len(pieces) != len(self.segments):
            return None
        names: dict[str, str] = {}
        for segment, piece in zip(self.segments, pieces, strict=True):
            if segment.startswith("{") and piece:
                names[segment[1:-1]] = piece
            elif segment != piece:
                return None
        return names


def find_route(table: Sequence[AdminRoute], method: str, path: str) -> tuple[AdminRoute, dict[str, str]] | list[str]:
    """The route and the names in the path; else the methods that the path has, none where there is no such path. HEAD is GET.

    `path` is as it was sent: an escaped slash is part of a name.
    """
    pieces = [unquote(piece) for piece in path.split("/")]
    wanted = "GET" if method == "HEAD" else method
    methods: list[str] = []
    for route in table:
        names = route.names(pieces)
        if names is not None and route.method == wanted:
            return route, names
        if names is not None:
            methods += [route.method, "HEAD"] if route.method == "GET" else [route.method]
    return methods


def answered(done: Any, status: int = 200) -> Answer:
    """The answer to what a desk did, or would not do."""
    match done:
        case Denied():
            return Answer({"error": done.message}, _DENIED[done.kind])
        case Invalid():
            return refused(done.problems)
        case StoreFault():
            return Answer({"error": done.message}, 503)
    return Answer(done, status)


def refused(problems: Sequence[Problem]) -> Answer:
    """400 with every problem at once, each with its path."""
    words = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}: " + "; ".join(
        f"{problem.path} {problem.message}".strip() for problem in problems[:3]
    )
    told = [
        {"path": problem.path, "message": problem.message, "expected": problem.expected, "hint": problem.hint} for problem in problems
    ]
    return Answer({"error": words + ("; …" if len(problems) > 3 else ""), "problems": told}, 400)


def flag(asked: Asked, name: str) -> bool | Problem:
    """A parameter that is true or false; false where it is not given."""
    text = asked.query.get(name, "false")
    return text == "true" if text in ("true", "false") else Problem(name, f"is {text[:40]!r}", "true or false")


DIGITS_MAX = 18
"""Of a number in a query: what fits into a signed 64-bit integer."""


def whole(asked: Asked, name: str, default: int, low: int, high: int) -> int | Problem:
    """A parameter that is a whole number within bounds."""
    text = asked.query.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX and low <= int(text) <= high:
        return int(text)
    return Problem(name, f"{name} is a number from {low} to {high}")
