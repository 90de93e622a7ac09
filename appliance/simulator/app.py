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
from appliance.simulator.answer import Answer, Ending, refusal
from appliance.simulator.api_error import TOO_LARGE, ApiError, bad_value
from appliance.simulator.control import PREFIX, answer_control
from appliance.simulator.fault_desk import FaultDesk
from appliance.simulator.fault_grammar import Clause
from appliance.simulator.fault_table import apply_faults
from appliance.simulator.model_name import ModelName, parse_model, parse_speed
from appliance.simulator.observation import Observations, Observed
from appliance.simulator.player import play
from appliance.simulator.provider import Call, answer_call, answer_models, answer_plain, check_key, parse_fields, usual_headers
from appliance.simulator.recorded_wire import recording_to_wire
from appliance.simulator.recordings import PREFIX as RECORDED
from appliance.simulator.recordings import Recordings, open_recordings
from appliance.simulator.request import Request
from appliance.simulator.settings import Settings

MODELS_PATH = "/v1/models"
# Gemini names the model in the path: /v1beta/models/rec/google/google-text:streamGenerateContent
GEMINI_PATH = re.compile(r"/v1(?:beta)?/models/(rec/.+):(\w+)")
# Bedrock, too: /model/rec/amazon-bedrock/amazon-bedrock-text/converse-stream
BEDROCK_PATH = re.compile(r"/model/(rec/.+)/(converse|converse-stream)")
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
            await play(refusal(TOO_LARGE), send, turn, self.settings, unobserved)
        elif request.path.startswith(PREFIX):
            answer = answer_control(request, self.observations, self.desk, self.connections_open())
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
        error = check_key(request, self.settings) if request.path != "/health" else None
        if error is not None:
            return Planned(refusal(error), (), None)
        fields = parse_fields(request.body) if request.method == "POST" else {}
        model = model_of(request, fields)
        clauses = self.desk.choose(request, model)
        if isinstance(clauses, str):
            return Planned(refusal(bad_value("fault", clauses)), (), model)
        answer = await self._answer(request, fields, model)
        return Planned(apply_faults(answer, clauses, self._wall()), clauses, model)

    async def _answer(self, request: Request, fields: Mapping[str, Any] | ApiError, model: ModelName | None) -> Answer:
        """What is answered where no fault interferes."""
        if request.method != "POST":
            listed = self.settings.models + tuple(self._recordings.files if self._recordings is not None else ())
            if request.method == "GET" and (request.path == MODELS_PATH or request.path.startswith(MODELS_PATH + "/")):
                asked = parse_model(request.path.removeprefix(MODELS_PATH).removeprefix("/"))
                return answer_models(asked, listed, self.settings)
            return answer_plain(request)
        if isinstance(fields, ApiError):
            return refusal(fields)
        speed = self.settings.speed_of(model.bare if model is not None else "")
        for text in (model.speed if model is not None else "", request.header(SPEED_HEADER)):
            changed = parse_speed(text, speed) if text else speed
            if isinstance(changed, str):
                return refusal(bad_value("speed", changed))
            speed = changed
        headers = usual_headers(request.body)
        if model is not None and model.bare.startswith(RECORDED) and self._recordings is not None:
            recording = await self._recordings.read(model.bare, stream=wants_stream(request, fields))
            return refusal(recording) if isinstance(recording, ApiError) else recording_to_wire(recording, speed, headers)
        return answer_call(request, Call(fields, model or parse_model(""), speed, headers), self.settings)


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
    return Request(scope["method"], scope["path"], scope["query_string"], tuple(scope["headers"]), b"".join(pieces))


def model_of(request: Request, fields: Mapping[str, Any] | ApiError) -> ModelName | None:
    """The model that a POST asks for: in its path (/rec/…, Gemini's or Bedrock's), else in its body."""
    if request.method != "POST":
        return None
    match = GEMINI_PATH.fullmatch(request.path) or BEDROCK_PATH.fullmatch(request.path) or REC_PATH.fullmatch(request.path)
    if match is not None:
        return parse_model(match[1])
    asked = fields.get("model") if not isinstance(fields, ApiError) else None
    return parse_model(asked) if isinstance(asked, str) and asked else None


def wants_stream(request: Request, fields: Mapping[str, Any]) -> bool:
    """As each language asks for it: `"stream": true`, Gemini's method name or alt=sse, Accept, or ?stream=1 by hand."""
    match = GEMINI_PATH.fullmatch(request.path) or BEDROCK_PATH.fullmatch(request.path)
    if match is not None and "stream" in match[2]:
        return True
    by_query = request.parameter("stream") in ("1", "true") or request.parameter("alt") == "sse"
    return by_query or fields.get("stream") is True or "event-stream" in request.header(b"accept")


def fault_name(clause: Clause) -> str:
    """What a fault is counted under: its kind, or its status."""
    return str(clause.options["status"]) if clause.kind == "status" else clause.kind
