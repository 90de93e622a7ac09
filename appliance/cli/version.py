"""`appliance version`."""

import platform
from importlib.metadata import PackageNotFoundError, version

import click

from appliance import __version__

SHOWN = ("trio", "httptools", "hypercorn", "httpx", "prometheus-client", "attrs", "cattrs", "tomlkit", "orjson", "click", "structlog",
"certifi")


@click.command("version")
def command() -> None:
    """Version, Python and dependencies."""
    click.echo(f"appliance  {__version__}")
    click.echo(f"Python     {platform.python_version()} ({platform.machine()}, {platform.system()})")
    for name in SHOWN:
        try:
            click.echo(f"  {name:<18} {version(name)}")
        except PackageNotFoundError:
            click.echo(f"  {name:<18} missing")
