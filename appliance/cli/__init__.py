"""The command line: argv to a command. Nothing else in the project knows about argv, and no user can cause a traceback here.

Exit codes: 0, 1 failure, 64 usage (sysexits.h), 78 configuration. Each command imports what it needs when it runs, so that `--help` is
quick.
"""

import sys

import click

from appliance import __version__
from appliance.cli.exits import FAILURE, USAGE, Stop

COMMANDS = {
    "serve": "appliance.cli.serve",
    "demo": "appliance.cli.demo",
    "check": "appliance.cli.check",
    "init": "appliance.cli.init",
    "simulate": "appliance.cli.simulate",
    "key": "appliance.cli.key",
    "tenant": "appliance.cli.tenant",
    "usage": "appliance.cli.usage",
    "experiments": "appliance.cli.experiments",
    "store": "appliance.cli.store",
    "status": "appliance.cli.status",
    "explain": "appliance.cli.explain",
    "prices": "appliance.cli.prices",
    "config": "appliance.cli.config",
    "healthcheck": "appliance.cli.healthcheck",
    "container": "appliance.cli.container",
    "version": "appliance.cli.version",
}


class LazyGroup(click.Group):
    """Loads a command's module when the command is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="appliance")
def group() -> None:
    """A self-hosted LLM inference gateway: applications keep the SDK they have, operations choose the provider.

    \b
    Try it, without a key or a file:   appliance demo
    Begin with your own:               appliance init config.toml && appliance check && appliance serve
    """


def main() -> None:
    """The entry point. Every expected failure is one clear line on standard error."""
    try:
        # Without its standalone mode click returns what a command gave to `context.exit`.
        code = group.main(prog_name="appliance", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.UsageError as error:
        error.show()
        sys.exit(USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(FAILURE)
    except Stop as stop:
        for line in stop.lines:
            click.echo(f"appliance: {line}", err=True)
        sys.exit(stop.code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("appliance: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has enough of it (`| head`).
        sys.stderr.close()
        sys.exit(0)
