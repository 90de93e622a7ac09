"""Where a command's configuration comes from: -c, the environment, or the usual places."""

import os
from collections.abc import Callable

import click

from appliance.cli.exits import CONFIG, Stop
from appliance.config.loader import TEXT_VARIABLE, Loaded, Problems, load, load_text, locate
from appliance.config.report import check_text
from appliance.providers import PROVIDERS

config_option = click.option(
    "-c", "--config", "path", metavar="FILE", help="The configuration; else $APPLIANCE_CONFIG, ./config.toml, /etc/appliance/config.toml."
)


def loader(path: str | None) -> Callable[[], Loaded | Problems]:
    """A function that loads the configuration, now and at every reload. Stops the command when there is nothing to load."""
    providers = {name: provider.base_url for name, provider in PROVIDERS.items()}
    environ = os.environ
    text = environ.get(TEXT_VARIABLE)
    if path is None and text:
        return lambda: load_text(text, env=environ, providers=providers)
    found = locate(path, environ)
    if found is None:
        hint = "there is no configuration: give -c FILE, or write one with 'appliance init config.toml', or try 'appliance demo'"
        raise Stop(hint, CONFIG)
    return lambda: load(found, env=environ, providers=providers)


def load_or_stop(load_it: Callable[[], Loaded | Problems]) -> Loaded:
    """A sound configuration; every problem of any other goes to standard error and ends the command."""
    loaded = load_it()
    if isinstance(loaded, Problems):
        text, code = check_text(loaded)
        click.echo(text, err=True, nl=False)
        raise Stop((), code)
    return loaded
