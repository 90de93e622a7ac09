"""Every route of the admin API, in the order in which it is described."""

from typing import TYPE_CHECKING

from appliance.server.admin_cache import CACHE_ROUTES
from appliance.server.admin_experiments import EXPERIMENT_ROUTES
from appliance.server.admin_live import LIVE_ROUTES
from appliance.server.admin_requests import REQUEST_ROUTES
from appliance.server.admin_route import AdminRoute, Answer, Asked
from appliance.server.admin_schemas import TEXT, array, table
from appliance.server.admin_tenancy import TENANCY_ROUTES
from appliance.server.admin_usage import USAGE_ROUTES
from appliance.server.openapi import document

if TYPE_CHECKING:
    from appliance.server.admin import AdminApp


async def show_root(_app: "AdminApp", _: Asked) -> Answer:
    return Answer({"service": "appliance", "paths": PATHS})


async def show_openapi(_app: "AdminApp", _: Asked) -> Answer:
    return Answer(document(TABLE))


TABLE: tuple[AdminRoute, ...] = (
    *TENANCY_ROUTES,
    *USAGE_ROUTES,
    *EXPERIMENT_ROUTES,
    *LIVE_ROUTES,
    *REQUEST_ROUTES,
    *CACHE_ROUTES,
    AdminRoute("GET", "/admin/openapi.json", "showOpenapi", "This description", show_openapi, {"type": "object"}),
    AdminRoute("GET", "/", "showRoot", "What is here", show_root, table({"service": TEXT, "paths": array(TEXT)})),
)

PATHS = ["GET /metrics", *(f"{route.method} {route.path}" for route in TABLE)]
