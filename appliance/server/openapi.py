"""The OpenAPI 3.1 document of the admin API, made of the very table that serves it."""

from collections.abc import Sequence
from typing import Any

from appliance import __version__
from appliance.server.admin_route import CSV, JSON, AdminRoute
from appliance.server.admin_schemas import NAME, SCHEMAS, TEXT, ref

OPENAPI = "3.1.0"

EVERYWHERE = (401, 403)
"""Refusals of every route: no token or a wrong one; without a token configured, a caller who may be a web page."""

_MEANINGS = {
    400: "what was given is not valid; `problems` lists all that is wrong",
    401: "the admin token is missing or wrong",
    403: "without an admin token only this machine's operator is answered",
    404: "there is no such thing",
    409: "it is the configuration file's, or is not in a state for this",
    413: "the body is too long",
    415: "the body is not JSON",
    422: "the configuration was refused; the one that was in force stays",
    503: "the store cannot be read or written right now",
}


def document(routes: Sequence[AdminRoute]) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": OPENAPI,
        "info": {"title": "appliance admin API", "version": __version__},
        "paths": paths | OUTSIDE,
        "components": {"schemas": SCHEMAS, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}, {}],
    }


def _operation(route: AdminRoute) -> dict[str, Any]:
    parameters = [{"name": name, "in": "path", "required": True, "schema": NAME} for name in route.name_fields]
    parameters += [{"name": one.name, "in": "query", "description": one.what, "schema": one.schema} for one in route.query]
    content: dict[str, Any] = {JSON: {"schema": route.gives}} | ({CSV: {"schema": TEXT}} if route.csv else {})
    answers = {str(route.status): {"description": "done" if route.method != "GET" else "found", "content": content}}
    for status in sorted({*EVERYWHERE, *route.refusals}):
        schema = route.gives if status == 422 else ref("Error")
        answers[str(status)] = {"description": _MEANINGS[status], "content": {JSON: {"schema": schema}}}
    operation: dict[str, Any] = {"operationId": route.name, "summary": route.what, "parameters": parameters, "responses": answers}
    if route.takes is not None:
        operation["requestBody"] = {"content": {JSON: {"schema": route.takes}}}
    return operation


def _plain(name: str, what: str, kind: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
    answers = {"200": {"description": what, "content": {kind: {"schema": {}}}}, **(more or {})}
    return {"get": {"operationId": name, "summary": what, "parameters": [], "responses": answers}}


_NOT_READY = {"503": {"description": "not ready, and why", "content": {JSON: {"schema": {}}}}}

OUTSIDE: dict[str, Any] = {
    "/metrics": _plain("showMetrics", "Prometheus metrics; `vocabulary` names one family", "text/plain"),
    "/livez": _plain("showLive", "This process answers", JSON),
    "/healthz": _plain("showHealthz", "The same", JSON),
    "/readyz": _plain("showReady", "Requests have somewhere to go", JSON, _NOT_READY),
    "/health": _plain("showHealth", "The same", JSON, _NOT_READY),
}
"""What the listener has beside the API, before the table is looked at."""
