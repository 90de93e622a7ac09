"""Asking a running gateway's admin listener."""

import os
from typing import Any
from urllib.parse import quote

import click

from appliance.cli.exits import CONFIG, FAILURE, Stop, Unreachable
from appliance.cli.source import admin_or_stop
from appliance.config.report import problem_text

TIMEOUT_S = 10.0
UNAUTHORIZED = 401
TOKEN_VARIABLE = "APPLIANCE_ADMIN_TOKEN"

admin_option = click.option("--admin", metavar="URL", help="The admin listener; default: admin.listen of the configuration.")


def ask(admin: str | None, path: str | None, what: str, member: str = "") -> Any:
    """GET a path of the admin API. The address and token come from the configuration, or `--admin` and $APPLIANCE_ADMIN_TOKEN.

    member: which the answer has, if it is a gateway's.

    The variable also serves where the configured token cannot be read, as a systemd credential never can outside its service.
    """
    import httpx

    token = os.environ.get(TOKEN_VARIABLE, "")
    transport = None
    if admin is None:
        found = admin_or_stop(path)
        address = found.listen
        if address.startswith("unix:"):
            transport, admin = httpx.HTTPTransport(uds=address.removeprefix("unix:")), "http://localhost"
        elif address.startswith("fd:"):
            raise Stop("admin.listen is a socket handed over by systemd: say where it is with --admin URL")
        else:
            admin = "http://" + address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
        token = found.token.reveal() if found.token is not None else token
        if found.unread is not None and not token:
            raise Stop([problem_text(found.unread), f"or give the admin token in ${TOKEN_VARIABLE}"], CONFIG)
    headers = {b"authorization": bearer(token)} if token else {}
    try:
        with httpx.Client(transport=transport, timeout=TIMEOUT_S, trust_env=False) as client:
            answer = client.get(admin.rstrip("/") + what, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(f"no gateway answers at {admin}: {error or type(error).__name__}; is it running?", FAILURE) from None
    try:
        value = answer.json()
    except ValueError:
        raise Stop(f"{admin} is no gateway's admin listener: its answer is not JSON") from None
    if answer.status_code == UNAUTHORIZED:
        wrong = "it does not take the admin token that was given" if token else "it wants the admin token"
        raise Stop(f"{admin}: {wrong}; it is read from admin.token of -c FILE, or from ${TOKEN_VARIABLE}")
    if answer.status_code >= 400:
        said = value.get("error") if isinstance(value, dict) else None
        said = said.get("message") if isinstance(said, dict) else said  # as the public listener tells it
        raise Stop(said if isinstance(said, str) else f"the gateway answered {answer.status_code}")
    if member and not (isinstance(value, dict) and member in value):
        raise Stop(f"{admin} is no gateway's admin listener: its answer has no {member}")
    return value


def bearer(token: str) -> bytes:
    """A header's value; what cannot be one is refused here, for the HTTP library's own complaint would repeat the token."""
    if not token.isprintable():
        raise Stop("the admin token holds a line end or another character that no header can carry")
    return b"Bearer " + token.strip().encode(errors="surrogateescape")


def quoted(text: str) -> str:
    return quote(text, safe="")
