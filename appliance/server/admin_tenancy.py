"""The admin routes of tenants and keys. What they do is the store's desk's; here it is asked, and its answer put into HTTP."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from appliance.config.problem import Problem
from appliance.server.admin_route import AdminRoute, Answer, Asked, Parameter, answered, flag, refused
from appliance.server.admin_schemas import TEXT, array, ref, table
from appliance.store.tenancy_desk import GRACE_S, Desk

if TYPE_CHECKING:
    from appliance.server.admin import AdminApp


async def list_tenants(app: "AdminApp", asked: Asked) -> Answer:
    return await _looked(app, asked, lambda desk: {"tenants": desk.all_tenants()})


async def show_tenant(app: "AdminApp", asked: Asked) -> Answer:
    return await _looked(app, asked, lambda desk: desk.tenant(asked.names["name"]))


async def create_tenant(app: "AdminApp", asked: Asked) -> Answer:
    name, settings = _taken(asked.body, "name")
    if not isinstance(name, str):
        return refused([name or Problem("name", "is missing", "the tenant's name")])
    return await _changed(app, asked, lambda desk: desk.create_tenant(name, settings), 201)


async def set_tenant(app: "AdminApp", asked: Asked) -> Answer:
    return await _changed(app, asked, lambda desk: desk.replace_tenant(asked.names["name"], asked.body))


async def remove_tenant(app: "AdminApp", asked: Asked) -> Answer:
    return await _changed(app, asked, lambda desk: desk.remove_tenant(asked.names["name"]))


async def rotate_key_of_tenant(app: "AdminApp", asked: Asked) -> Answer:
    key_id, rest = _taken(asked.body, "id")
    grace_s, rest = _grace(rest)
    problems = [found for found in (key_id, grace_s, *_strange(rest)) if isinstance(found, Problem)]
    if problems or isinstance(key_id, Problem) or isinstance(grace_s, Problem):
        return refused(problems)
    return await _changed(app, asked, lambda desk: desk.rotate_key_of(asked.names["name"], key_id, grace_s))


async def list_keys(app: "AdminApp", asked: Asked) -> Answer:
    everything, tenant = flag(asked, "all"), asked.query.get("tenant")
    if isinstance(everything, Problem):
        return refused([everything])

    def look(desk: Desk) -> dict[str, Any]:
        keys = desk.all_keys(tenant)
        return {"keys": [one for one in keys if everything or one["state"] not in ("revoked", "expired")]}

    return await _looked(app, asked, look)


async def show_key(app: "AdminApp", asked: Asked) -> Answer:
    return await _looked(app, asked, lambda desk: desk.key(asked.names["id"]))


async def create_key(app: "AdminApp", asked: Asked) -> Answer:
    tenant, rest = _taken(asked.body, "tenant")
    key_id, settings = _taken(rest, "id")
    if not isinstance(tenant, str) or isinstance(key_id, Problem):
        found = (tenant or Problem("tenant", "is missing", "whose key it is"), key_id)
        return refused([one for one in found if isinstance(one, Problem)])
    return await _changed(app, asked, lambda desk: desk.create_key(tenant, key_id, settings), 201)


async def revoke_key(app: "AdminApp", asked: Asked) -> Answer:
    return await _changed(app, asked, lambda desk: desk.revoke_key(asked.names["id"]))


async def rotate_key(app: "AdminApp", asked: Asked) -> Answer:
    grace_s, rest = _grace(asked.body)
    problems = [found for found in (grace_s, *_strange(rest)) if isinstance(found, Problem)]
    if problems or isinstance(grace_s, Problem):
        return refused(problems)
    return await _changed(app, asked, lambda desk: desk.rotate_key(asked.names["id"], grace_s))


async def _looked(app: "AdminApp", asked: Asked, act: Callable[[Desk], Any]) -> Answer:
    return answered(await app.tenants.at_desk(asked.actor, act, changes=False))


async def _changed(app: "AdminApp", asked: Asked, act: Callable[[Desk], Any], status: int = 200) -> Answer:
    return answered(await app.tenants.at_desk(asked.actor, act, changes=True), status)


def _taken(body: Mapping[str, Any], name: str) -> tuple[str | Problem | None, dict[str, Any]]:
    """A text of the body, None where it is not there; and the rest."""
    rest = {key: value for key, value in body.items() if key != name}
    text = body.get(name)
    return (text if text is None or isinstance(text, str) else Problem(name, "is no text", "a string")), rest


def _grace(body: Mapping[str, Any]) -> tuple[float | Problem, dict[str, Any]]:
    rest = {key: value for key, value in body.items() if key != "grace_s"}
    given = body.get("grace_s")
    if given is None:
        return GRACE_S, rest
    if isinstance(given, bool) or not isinstance(given, int | float):
        return Problem("grace_s", "is no number", "seconds"), rest
    return float(given), rest


def _strange(rest: Mapping[str, Any]) -> list[Problem]:
    return [Problem(name[:80], "is not a known key") for name in rest]


_CHANGES = (400, 404, 409, 413, 415)
_REVOKES = "Let a key work no longer; a request that runs is finished"

TENANCY_ROUTES = (
    AdminRoute("GET", "/admin/tenants", "listTenants", "Every tenant of the file and of the store", list_tenants,
               table({"tenants": array(ref("Tenant"))}), refusals=(503,)),
    AdminRoute("POST", "/admin/tenants", "createTenant", "Make a tenant; what is not given has its default", create_tenant,
               ref("Tenant"), 201, takes=ref("NewTenant"), refusals=(*_CHANGES, 503)),
    AdminRoute("GET", "/admin/tenants/{name}", "showTenant", "One tenant", show_tenant, ref("Tenant"), refusals=(404, 503)),
    AdminRoute("PUT", "/admin/tenants/{name}", "setTenant", "All settings of a tenant anew; what is not given is back at its default",
               set_tenant, ref("Tenant"), takes=ref("TenantSettings"), refusals=(*_CHANGES, 503)),
    AdminRoute("DELETE", "/admin/tenants/{name}", "removeTenant", "Remove a tenant and its keys; its usage stays", remove_tenant,
               table({"name": TEXT, "removed_keys": array(TEXT)}), refusals=(404, 409, 503)),
    AdminRoute("POST", "/admin/tenants/{name}/rotate-key", "rotateKeyOfTenant",
               "Another secret for the one key that a tenant has in the store; its first key where it has none", rotate_key_of_tenant,
               ref("MadeKey"), takes=ref("TenantRotation"), refusals=(*_CHANGES, 503)),
    AdminRoute("GET", "/admin/keys", "listKeys", "Every key of the file and of the store, without secrets", list_keys,
               table({"keys": array(ref("Key"))}), refusals=(400, 503), query=(
                   Parameter("tenant", "only this tenant's", TEXT),
                   Parameter("all", "revoked and expired ones, too", {"type": "boolean", "default": False}),
               )),
    AdminRoute("POST", "/admin/keys", "createKey", "Make a key; its secret is told in this answer and never again", create_key,
               ref("MadeKey"), 201, takes=ref("NewKey"), refusals=(*_CHANGES, 503)),
    AdminRoute("GET", "/admin/keys/{id}", "showKey", "One key, without its secret", show_key, ref("Key"), refusals=(404, 503)),
    AdminRoute("DELETE", "/admin/keys/{id}", "revokeKey", _REVOKES, revoke_key, ref("Key"), refusals=(404, 409, 503)),
    AdminRoute("POST", "/admin/keys/{id}/revoke", "revokeKeyByPost", _REVOKES, revoke_key, ref("Key"), refusals=(404, 409, 503)),
    AdminRoute("POST", "/admin/keys/{id}/rotate", "rotateKey", "Another secret for a key; the old one works on for a while", rotate_key,
               ref("MadeKey"), takes=ref("Rotation"), refusals=(*_CHANGES, 503)),
)  # fmt: skip
