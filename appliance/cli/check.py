"""`appliance check`."""

import click

from appliance.cli.exits import USAGE, Stop
from appliance.cli.source import config_option, loader
from appliance.config.loader import Loaded
from appliance.config.report import check_text
from appliance.gateway.upstream import build_upstreams, missing_key


@click.command("check")
@click.argument("file", required=False)
@config_option
@click.option("-v", "--verbose", is_flag=True, help="Also say which file each value came from.")
@click.pass_context
def command(context: click.Context, file: str | None, path: str | None, verbose: bool) -> None:
    """Validate the configuration: every problem at once, with its place and what was expected. FILE is what -c names,
    too. Exit 0, or 78."""
    if file is not None and path is not None:
        raise Stop("the configuration is named twice: give FILE, or -c FILE", USAGE)
    found = loader(file or path)()
    text, code = check_text(found, verbose=verbose)
    if isinstance(found, Loaded):
        built = build_upstreams(found.config.backends, {})
        if isinstance(built, list):
            text, code = "\n".join(["the configuration cannot be used", *(f"  {line}" for line in built)]) + "\n", 78
        else:
            for name, settings in found.config.backends.items():
                if missing_key(settings):
                    text += f"  warning    backends.{name} has no api_key, and {settings.provider} answers nobody without one\n"
    click.echo(text, nl=False, err=code != 0)
    context.exit(code)
