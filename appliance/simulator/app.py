"""The simulator as an ASGI 3 application: read the request, plan the answer, let the faults change the plan, play it, note what happened.

The rule: every request outside /sim/ is observed from its last body byte to the end of its answer, whatever ends it.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from appliance.http1.asgi import Receive, Scope, Send
from appliance.http1.turn import ClientGone, Turn
from appliance.simulator.answer import Answer, Ending
from appliance.simulator.api_error import TOO_LARGE, ApiError, bad_value
from appliance.simulator.control import PREFIX, answer_control
from appliance.simulator.fault_context import FaultContext
from appliance.simulator.fault_desk import FaultDesk
from appliance.simulator.fault_grammar import Clause
from appliance.simulator.fault_table import apply_faults
from appliance.simulator.language import Call, Language, refusal
from appliance.simulator.languages.table import Found, find_endpoint, language_of
from appliance.simulator.model_name import ModelName, parse_model, parse_speed
from appliance.simulator.observation import Observations, Observed
from appliance.simulator.player import play
from appliance.simulator.provider import answer_call, answer_plain, check_key, read_fields
from appliance.simulator.recorded_wire import recording_to_wire
from appliance.simulator.recordings import PREFIX as RECORDED
from appliance.simulator.recordings import Recordings, open_recordings
from appliance.simulator.request import Request
from appliance.simulator.response_store import ResponseStore
from appliance.simulator.settings import Settings, Speed

REC_PATH = re.compile(r"/(rec/.+)")
SPEED_HEADER = b"x-sim-speed"


@attrs.frozen
class Planned:
    """An answer, the faults that changed it and the model it is of (None where the request named none)."""

    answer: Answer
    clauses: tuple[Clause, ...]
    model: ModelName | None


class Simulator:
    """One simulated provider. `monotonic` and `wall` stamp what was observed. Raises OSError when the recordings cannot be read."""

    def __init__(
        self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.observations = Observations(settings)
        self.desk = FaultDesk(settings)
        self.responses = ResponseStore(settings)
        self.connections_open: Callable[[], int] = lambda: 0  # set by whoever runs the engine
        self._recordings: Recordings | None = None
        if settings.recordings is not None:
            self._recordings = open_recordings(settings.recordings, settings.recording_max_bytes)
        self._monotonic = monotonic
        self._wall = wall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the simulator does not speak {scope['type']}")
        turn: Turn = scope["extensions"]["http1"]
        request = await read_request(scope, receive, self.settings.body_max_bytes)
        if request is None:
            unread = Request(scope["method"], scope["path"], scope["query_string"], tuple(scope["headers"]))
            await play(refusal(TOO_LARGE, language_of(unread)), send, turn, self.settings, unobserved)
        elif request.path.startswith(PREFIX):
            answer = answer_control(request, self.observations, self.desk, self.responses, self.connections_open())
            await play(answer, send, turn, self.settings, unobserved)
        else:
            client = ":".join(map(str, scope["client"] or ()))
            await self._serve(request, self.observations.begin(request, client, self._monotonic(), self._wall()), send, turn)

    async def _serve(self, request: Request, seen: Observed, send: Send, turn: Turn) -> None:
        outcome = "error"
        try:
            planned = await self._plan(request)
            answer = planned.answer
            bare = planned.model.bare if planned.model is not None else ""
            seen.status = answer.status if answer.head else 0
            self.observations.planned(seen, bare, tuple(fault_name(c) for c in planned.clauses))

            def sent(size: int, prompt: int, completion: int) -> None:
                seen.pieces_sent += 1
                seen.bytes_sent += size
                self.observations.bill(seen, prompt, completion)

            await play(answer, send, turn, self.settings, sent)
            outcome = "complete" if answer.ending is Ending.COMPLETE else "fault"
        except (trio.Cancelled, ClientGone):
            outcome = turn.end_reason or "client_gone"
            raise
        finally:
            self.observations.end(seen, outcome, self._monotonic(), self._wall())

    async def _plan(self, request: Request) -> Planned:
        language = language_of(request)
        error = check_key(request, language, self.settings)
        if error is not None:
            return Planned(refusal(error, language, language.usual_headers(request)), (), None)
        found = find_endpoint(request)
        fields = read_fields(request) if request.method == "POST" else {}
        model = model_of(request, found, fields)
        clauses = self.desk.choose(request, model)
        if isinstance(clauses, str):
            return Planned(refusal(bad_value("fault", clauses), language), (), model)
        answer = await self._answer(request, language, found, fields, model)
        return Planned(apply_faults(answer, clauses, FaultContext(language, self._wall())), clauses, model)

    async def _answer(
        self, request: Request, language: Language, found: Found | None, fields: Mapping[str, Any] | ApiError, model: ModelName | None
    ) -> Answer:
        """What is answered where no fault interferes."""
        headers = language.usual_headers(request) if request.method == "POST" else ()
        if isinstance(fields, ApiError):
            return refusal(fields, language, headers)
        speed = self._speed(request, model)
        if isinstance(speed, ApiError):
            return refusal(speed, language, headers)
        if model is not None and model.bare.startswith(RECORDED) and self._recordings is not None:
            recording = await self._recordings.read(model.bare, stream=wants_stream(request, found, fields))
            if isinstance(recording, ApiError):
                return refusal(recording, language, headers)
            return recording_to_wire(recording, speed, headers)
        if found is None:
            return answer_plain(request, language)
        listed = self.settings.models + tuple(self._recordings.files if self._recordings is not None else ())
        parts = {name: text or "" for name, text in found.match.groupdict().items()}
        call = Call(request, fields, model or parse_model(""), parts, speed, headers, self.settings, listed, self.responses)
        made = answer_call(call, found)
        return refusal(made, language, headers) if isinstance(made, ApiError) else made

    def _speed(self, request: Request, model: ModelName | None) -> Speed | ApiError:
        """The setting's, changed by the model's name, changed by the header."""
        speed = self.settings.speed_of(model.bare if model is not None else "")
        for text in (model.speed if model is not None else "", request.header(SPEED_HEADER)):
            changed = parse_speed(text, speed) if text else speed
            if isinstance(changed, str):
                return bad_value("speed", changed)
            speed = changed
        return speed


def unobserved(size: int, prompt: int, completion: int) -> None:
    """For answers that nobody asks about."""


async def read_request(scope: Scope, receive: Receive, body_max_bytes: int) -> Request | None:
    """None when the body is too long."""
    pieces: list[bytes] = []
    left = body_max_bytes
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces.append(message.get("body", b""))
        left -= len(pieces[-1])
        if left < 0:
            return None
        more = message.get("more_body", False)
    return Request(scope["method"], scope["path"], scope["query_string"], tuple(scope["headers"]), b"".join(pieces), scope["raw_path"])


def model_of(request: Request, found: Found | None, fields: Mapping[str, Any] | ApiError) -> ModelName | None:
    """The model that is asked for: in the path /rec/…, or where the endpoint says; of a POST that nothing serves, in its body."""
    match = REC_PATH.fullmatch(request.path)
    if match is not None and request.method == "POST":
        return parse_model(match[1])
    known = {} if isinstance(fields, ApiError) else fields
    asked = found.endpoint.model(found.match, known) if found is not None else known.get("model")
    return parse_model(asked) if isinstance(asked, str) and asked else None


def wants_stream(request: Request, found: Found | None, fields: Mapping[str, Any]) -> bool:
    """As the endpoint's language asks for it, or by hand: `"stream": true`, ?stream=1, or Accept."""
    if found is not None and found.endpoint.streams(request, found.match, fields):
        return True
    by_hand = request.parameter("stream") in ("1", "true") or request.parameter("alt") == "sse" or fields.get("stream") is True
    return by_hand or "event-stream" in request.header(b"accept")


def fault_name(clause: Clause) -> str:
    """What a fault is counted under: its kind, or its status."""
    return str(clause.options["status"]) if clause.kind == "status" else clause.kind
