"""Where a command's configuration comes from: -c, the environment, or the usual places."""

import os
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import click

from appliance.cli.exits import CONFIG, Stop
from appliance.config.doors import Listener
from appliance.config.loader import (
    PATH_VARIABLE,
    TEXT_VARIABLE,
    AdminAddress,
    Loaded,
    Problems,
    load,
    load_admin,
    load_admin_text,
    load_listeners,
    load_text,
    load_text_to_show,
    load_to_show,
    locate,
)
from appliance.config.report import check_text
from appliance.providers import PROVIDERS

config_option = click.option(
    "-c", "--config", "path", metavar="FILE",
    help="The configuration; else $APPLIANCE_CONFIG, the text in $APPLIANCE_CONFIG_TOML, ./config.toml, /etc/appliance/config.toml.",
)  # fmt: skip


def loader(path: str | None) -> Callable[[], Loaded | Problems]:
    """A function that loads the configuration, now and at every reload. Stops the command when there is nothing to load."""
    text = configured_text(path)
    if text:
        return partial(load_text, text, env=os.environ, providers=_providers(), stored_tenants=has_tenants)
    return partial(load, _file(path), env=os.environ, providers=_providers(), stored_tenants=has_tenants)


def to_show(path: str | None) -> Callable[[], Loaded | Problems]:
    """As `loader`, for a command that only shows: secrets that this shell cannot read may stay unread."""
    text = configured_text(path)
    if text:
        return partial(load_text_to_show, text, env=os.environ, providers=_providers(), stored_tenants=unasked)
    return partial(load_to_show, _file(path), env=os.environ, providers=_providers(), stored_tenants=unasked)


def admin_or_stop(path: str | None) -> AdminAddress:
    """Where the running gateway is asked; nothing else in the configuration has to be sound."""
    text = configured_text(path)
    found = load_admin_text(text, env=os.environ) if text else load_admin(_file(path), env=os.environ)
    return _stop(found) if isinstance(found, Problems) else found


def load_or_stop(load_it: Callable[[], Loaded | Problems]) -> Loaded:
    """A sound configuration; every problem of any other goes to standard error and ends the command."""
    loaded = load_it()
    return _stop(loaded) if isinstance(loaded, Problems) else loaded


def _stop(problems: Problems) -> NoReturn:
    text, code = check_text(problems)
    click.echo(text, err=True, nl=False)
    raise Stop((), code)


def listeners_or_stop(path: str | None) -> tuple[Listener, ...]:
    """Where the gateway serves; nothing else in the configuration has to be sound."""
    text = configured_text(path)
    found = load_listeners(None if text else _file(path), text, env=os.environ)
    return _stop(found) if isinstance(found, Problems) else found


def configured_text(path: str | None) -> str:
    """The configuration as text, where it is one: a file that is named, by -c or by $APPLIANCE_CONFIG, goes before it."""
    return os.environ.get(TEXT_VARIABLE, "") if path is None and not os.environ.get(PATH_VARIABLE) else ""


def _file(path: str | None) -> str:
    found = locate(path, os.environ)
    if found is None:
        hint = "there is no configuration: give -c FILE, or write one with 'appliance init config.toml', or try 'appliance demo'"
        raise Stop(hint, CONFIG)
    return found


def has_tenants(store: str) -> bool:
    """Whether the store has a tenant of its own; not where it cannot be read."""
    import contextlib
    import sqlite3
    from pathlib import Path

    from appliance.store.database import open_database
    from appliance.store.fault import StoreFault

    if not Path(store).exists():
        return False
    connection = open_database(Path(store), make=False)
    if isinstance(connection, StoreFault):
        return False
    with contextlib.closing(connection):
        try:
            return connection.execute("SELECT 1 FROM tenants LIMIT 1").fetchone() is not None
        except sqlite3.Error:
            return False


def unasked(_: str) -> bool:
    """For commands that may come before the first tenant: the gateway asks again when it starts."""
    return True


def _providers() -> dict[str, str]:
    return {name: provider.base_url for name, provider in PROVIDERS.items()}
