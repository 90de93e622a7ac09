"""`appliance version`."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from appliance import __version__

SHOWN = ("trio", "httptools", "hypercorn", "httpx", "prometheus-client", "attrs", "cattrs", "tomlkit", "orjson", "click", "structlog",
"certifi", "tzdata")

UNKNOWN = "unknown (not run from a checkout)"
GIT_S = 5.0


@click.command("version")
def command() -> None:
    """Version, commit, Python and dependencies."""
    click.echo(f"appliance  {__version__}")
    click.echo(f"commit     {commit()}")
    click.echo(f"Python     {platform.python_version()} ({platform.machine()}, {platform.system()})")
    for name in SHOWN:
        try:
            click.echo(f"  {name:<18} {version(name)}")
        except PackageNotFoundError:
            click.echo(f"  {name:<18} missing")


def commit() -> str:
    """The commit of the checkout that this runs from; a checkout that merely has our installed files somewhere below it is none."""
    here = Path(__file__).parent
    if not here.is_dir():
        return UNKNOWN
    for question in (("ls-files", "--error-unmatch", "version.py"), ("rev-parse", "--short=12", "HEAD")):
        try:
            asked = subprocess.run(["git", "-C", str(here), *question], capture_output=True, text=True, timeout=GIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return UNKNOWN
        if asked.returncode != 0:
            return UNKNOWN
    return asked.stdout.strip()
