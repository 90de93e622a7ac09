"""`appliance version`. The commit of a zipapp is what its build wrote down; elsewhere git is asked."""

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from appliance import __version__

SHOWN = (
    "trio", "httptools", "hypercorn", "httpx", "h11", "h2", "cryptography", "prometheus-client", "attrs", "cattrs", "tomlkit", "orjson",
    "click", "structlog", "certifi", "tzdata",
)  # fmt: skip
BUILT = Path(__file__).parent.parent / "build.json"
"""Only in a zipapp."""

UNKNOWN = "unknown (not run from a checkout)"
GIT_S = 5.0


@click.command("version")
def command() -> None:
    """Version, commit, Python and dependencies."""
    click.echo(f"appliance  {__version__}")
    built = build_facts()
    click.echo(f"commit     {built['commit'] if built else commit()}")
    if built:
        click.echo(f"zipapp     {built['target']}, commit of {built['committed']}")
    click.echo(f"Python     {platform.python_version()} ({platform.machine()}, {platform.system()})")
    for name in SHOWN:
        try:
            click.echo(f"  {name:<18} {version(name)}")
        except PackageNotFoundError:
            click.echo(f"  {name:<18} missing")


def build_facts() -> dict[str, str]:
    """What packaging/build_zipapp.py wrote; empty where this is no zipapp."""
    try:
        facts: dict[str, str] = json.loads(BUILT.read_text())
    except FileNotFoundError:
        return {}
    return facts


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
