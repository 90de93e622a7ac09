"""`appliance init`."""

import click

from appliance.cli.exits import Stop
from appliance.config.starter import write_starter


@click.command("init")
@click.argument("file", default="config.toml")
def command(file: str) -> None:
    """Write a commented starter configuration to FILE (config.toml). Never overwrites."""
    refusal = write_starter(file)
    if refusal is not None:
        raise Stop(refusal)
    click.echo(f"wrote {file}; set OPENAI_API_KEY, then: appliance check -c {file} && appliance serve -c {file}")
