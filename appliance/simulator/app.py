"""The simulator as an ASGI 3 application: read the request, plan the answer, note what happened.

The rule: every request is observed from its last body byte to the end of its answer, whatever ends it.
"""

import time
from collections.abc import Callable

import trio

from appliance.http1.asgi import Receive, Scope, Send
from appliance.http1.turn import ClientGone, Turn
from appliance.simulator.answer import Answer, Ending, refusal, whole
from appliance.simulator.api_error import TOO_LARGE, ApiError, bad_value
from appliance.simulator.model_name import parse_model, parse_speed
from appliance.simulator.observation import Observations, Observed
from appliance.simulator.player import play
from appliance.simulator.provider import (
    ENDPOINTS,
    Call,
    answer_call,
    answer_models,
    check_key,
    misdirected,
    parse_fields,
    usual_headers,
)
from appliance.simulator.request import Request
from appliance.simulator.settings import Settings

MODELS_PATH = "/v1/models"


class Simulator:
    """One simulated provider. `monotonic` and `wall` stamp what was observed."""

    def __init__(
        self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.observations = Observations(settings)
        self.connections_open: Callable[[], int] = lambda: 0  # set by whoever runs the engine
        self._monotonic = monotonic
        self._wall = wall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the simulator does not speak {scope['type']}")
        turn: Turn = scope["extensions"]["http1"]
        request = await read_request(scope, receive, self.settings.body_max_bytes)
        if request is None:
            return await play(refusal(TOO_LARGE), send, turn, self.settings, lambda *_: None)
        client = ":".join(map(str, scope["client"] or ()))
        seen = self.observations.begin(request, client, self._monotonic(), self._wall())
        outcome = "error"
        try:
            answer = self._plan(request, seen)
            seen.status = answer.status if answer.head else 0

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

    def _plan(self, request: Request, seen: Observed) -> Answer:
        settings = self.settings
        if request.method == "GET" and request.path == "/health":
            return whole({"status": "ok"})
        error = check_key(request, settings)
        if error is not None:
            return refusal(error)
        if request.method == "POST" and request.path in ENDPOINTS:
            return self._plan_call(request, seen)
        if request.method == "GET" and (request.path == MODELS_PATH or request.path.startswith(MODELS_PATH + "/")):
            model = parse_model(request.path.removeprefix(MODELS_PATH).removeprefix("/"))
            return answer_models(model, settings.models, settings)
        return refusal(misdirected(request))

    def _plan_call(self, request: Request, seen: Observed) -> Answer:
        fields = parse_fields(request.body)
        if isinstance(fields, ApiError):
            return refusal(fields)
        asked = fields.get("model")
        model = parse_model(asked if isinstance(asked, str) else "")
        self.observations.planned(seen, model.bare, ())
        speed = parse_speed(model.speed, self.settings.speed_of(model.bare)) if model.speed else self.settings.speed_of(model.bare)
        if isinstance(speed, str):
            return refusal(bad_value("model", speed))
        return answer_call(request, Call(fields, model, speed, usual_headers(request.body)), self.settings)


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


