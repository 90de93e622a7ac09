"""`appliance check`."""

import click

from appliance.cli.source import config_option, loader
from appliance.config.loader import Loaded
from appliance.config.report import check_text
from appliance.gateway.upstream import build_upstreams, missing_key


@click.command("check")
@config_option
@click.option("-v", "--verbose", is_flag=True, help="Also say which file each value came from.")
@click.pass_context
def command(context: click.Context, path: str | None, verbose: bool) -> None:
    """Validate the configuration: every problem at once, with its place and what was expected. Exit 0, or 78."""
    found = loader(path)()
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
