"""Asking a running gateway's admin listener."""

import json
import os
from typing import Any
from urllib.parse import quote

import click

from appliance.cli.exits import FAILURE, Stop
from appliance.cli.source import load_or_stop, loader

TIMEOUT_S = 10.0

admin_option = click.option("--admin", metavar="URL", help="The admin listener; default: admin.listen of the configuration.")


def ask(admin: str | None, path: str | None, what: str) -> Any:
    """GET a path of the admin API. The address and token come from the configuration, or `--admin` and $APPLIANCE_ADMIN_TOKEN."""
    import httpx

    token = os.environ.get("APPLIANCE_ADMIN_TOKEN", "")
    transport = None
    if admin is None:
        config = load_or_stop(loader(path)).config
        address = config.admin.listen
        if address.startswith("unix:"):
            transport, admin = httpx.HTTPTransport(uds=address.removeprefix("unix:")), "http://localhost"
        elif address.startswith("fd:"):
            raise Stop("admin.listen is a socket handed over by systemd: say where it is with --admin URL")
        else:
            admin = "http://" + address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
        token = config.admin.token.reveal() if config.admin.token is not None else token
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(transport=transport, timeout=TIMEOUT_S, trust_env=False) as client:
            answer = client.get(admin.rstrip("/") + what, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Stop(f"no gateway answers at {admin}: {error or type(error).__name__}; is it running?", FAILURE) from None
    try:
        value = answer.json()
    except json.JSONDecodeError:
        raise Stop(f"{admin} is no gateway's admin listener: its answer is not JSON") from None
    if answer.status_code >= 400:
        raise Stop(str(value.get("error", f"the gateway answered {answer.status_code}")))
    return value


def quoted(text: str) -> str:
    return quote(text, safe="")
