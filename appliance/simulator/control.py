"""The endpoints under /sim/, for whoever runs the test: what was seen, start over, and standing faults.

The rule: nothing under /sim/ is observed, faulted or asked for a key; a simulator is for machines that only the tester reaches.
"""

import base64
from collections.abc import Mapping
from typing import Any

import attrs

from appliance.simulator.answer import Answer, whole
from appliance.simulator.api_error import ApiError, bad_value, unknown_url, wrong_method
from appliance.simulator.fault_desk import FaultDesk, Standing
from appliance.simulator.language import refusal
from appliance.simulator.languages.openai import OPENAI
from appliance.simulator.observation import Observations, Observed
from appliance.simulator.provider import parse_fields
from appliance.simulator.request import Request
from appliance.simulator.response_store import ResponseStore

PREFIX = "/sim/"
LAST_ELSE = 20  # requests shown by /sim/stats when ?last= does not say
COUNT_MAX = 1_000_000_000


def answer_control(request: Request, seen: Observations, desk: FaultDesk, responses: ResponseStore, connections_open: int) -> Answer:
    match request.method, request.path:
        case "GET", "/sim/stats":
            return whole(stats(request, seen, desk, connections_open))
        case "POST", "/sim/reset":
            seen.reset()
            desk.reset()
            responses.reset()
            return whole({"reset": True})
        case "GET", "/sim/faults":
            return whole(standing_list(desk))
        case "POST", "/sim/faults":
            error = set_fault(request, desk)
            return refusal(error, OPENAI) if error is not None else whole(standing_list(desk))
        case "DELETE", "/sim/faults":
            desk.standing.clear()
            return whole(standing_list(desk))
    if request.path.startswith("/sim/requests/") and request.path.endswith("/body"):
        return body_of(request, seen)
    known = request.path in ("/sim/stats", "/sim/reset", "/sim/faults")
    return refusal(wrong_method(request.method, request.path) if known else unknown_url(request.method, request.path), OPENAI)


def stats(request: Request, seen: Observations, desk: FaultDesk, connections_open: int) -> dict[str, Any]:
    last = request.parameter("last")
    shown = int(last) if last.isdecimal() and len(last) < 7 else LAST_ELSE
    prompt = sum(cell[1] for cell in seen.tokens.values())
    completion = sum(cell[2] for cell in seen.tokens.values())
    return {
        "connections_open": connections_open,
        "requests": seen.requests_total,
        "in_flight": seen.in_flight,
        "disconnects": seen.disconnects,
        "billed": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        "models": {
            model: {"requests": cell[0], "prompt_tokens": cell[1], "completion_tokens": cell[2]} for model, cell in seen.tokens.items()
        },
        "faults": seen.faults,
        "standing_faults": standing_list(desk)["faults"],
        "last": [observed(o) for o in (list(seen.log)[-shown:] if shown else ())],
    }


def observed(seen: Observed) -> dict[str, Any]:
    """One request. `body` is its text where it is UTF-8, else `body_base64` has its bytes; both null once forgotten."""
    text: str | None = None
    encoded: str | None = None
    if seen.body is not None:
        try:
            text = seen.body.decode()
        except UnicodeDecodeError:
            encoded = base64.b64encode(seen.body).decode()
    fields: dict[str, Any] = attrs.asdict(seen, recurse=False, filter=lambda attribute, _: attribute.name != "body")
    return {
        **fields,
        "headers": [list(pair) for pair in seen.headers],
        "body": text,
        "body_base64": encoded,
        "body_truncated": seen.body is not None and len(seen.body) < seen.body_bytes,
    }


def body_of(request: Request, seen: Observations) -> Answer:
    """GET /sim/requests/N/body: the exact bytes, as far as they are remembered."""
    if request.method != "GET":
        return refusal(wrong_method(request.method, request.path), OPENAI)
    number = request.path.removeprefix("/sim/requests/").removesuffix("/body")
    entry = next((o for o in seen.log if str(o.number) == number), None)
    if entry is None or entry.body is None:
        return refusal(unknown_url(request.method, request.path), OPENAI)
    made = whole(entry.body)
    return attrs.evolve(made, headers=((b"content-type", b"application/octet-stream"), *made.headers[1:]))


def standing_list(desk: FaultDesk) -> dict[str, Any]:
    return {"faults": [standing(s) for s in desk.standing]}


def standing(rule: Standing) -> dict[str, Any]:
    return {"model": rule.model, "path": rule.path, "fault": rule.fault, "count": rule.left, "met": rule.met}


def set_fault(request: Request, desk: FaultDesk) -> ApiError | None:
    """`{"model": GLOB, "fault": TEXT, "count": N}` or with "path" in place of "model"; no fault clears what stands for that glob."""
    fields = parse_fields(request.body)
    if isinstance(fields, ApiError):
        return fields
    unknown = set(fields) - {"model", "path", "fault", "count"}
    if unknown:
        return bad_value(sorted(unknown)[0], f"Unknown field; known are model, path, fault and count, not {', '.join(sorted(unknown))}.")
    return stand(fields, desk)


def stand(fields: Mapping[str, Any], desk: FaultDesk) -> ApiError | None:
    model, path, fault, count = (fields.get(name) for name in ("model", "path", "fault", "count"))
    for name, value in (("model", model), ("path", path), ("fault", fault)):
        if not isinstance(value, str | None):
            return bad_value(name, f"'{name}' must be a string.")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= COUNT_MAX):
        return bad_value("count", "'count' must be a positive integer or null.")
    if model and path:
        return bad_value("path", "Give a model glob or a path glob, not both.")
    model = model or ("" if path else "*")
    if not fault:
        desk.clear(model, path or "")
        return None
    problem = desk.stand(model, path or "", fault, count)
    return bad_value("fault", problem) if problem else None
