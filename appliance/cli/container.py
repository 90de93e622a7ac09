"""`appliance container`: the entry point of an image, for a platform that starts it as root and mounts volumes that are root's."""

import os
from pathlib import Path

import click

from appliance.cli.exits import USAGE, Stop
from appliance.cli.handover import User, become, hand_over, unwritable

ROOT = 0
ID_MAX = 2**32 - 2


@click.command("container", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--user", "who", metavar="UID:GID", required=True, help="Whom to become, where this is root.")
@click.option("--own", "owned", metavar="DIR", multiple=True, help="A folder to hand over to that user first; repeat for several.")
@click.argument("arguments", metavar="COMMAND...", nargs=-1, type=click.UNPROCESSED, required=True)
@click.pass_context
def command(context: click.Context, who: str, owned: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Run a command of this program without root.

    \b
    Started as root: the folders are handed over to the user, root is given up for good, then the command runs in this process.
    Started as anybody else: the command runs as who it is.
    Either way the folders must be writable then.
    """
    user, folders = _user(who), [Path(each) for each in owned]
    if os.geteuid() == ROOT:
        for folder in folders:
            for line in hand_over(folder, user):
                click.echo(f"appliance: {line}", err=True)
        become(user)
        os.environ["HOME"] = str(folders[0]) if folders else "/"  # root's own is closed to it
    wrong = list(unwritable(folders))
    if wrong:
        raise Stop(wrong)
    from appliance.cli import group

    code = group.main(list(arguments), prog_name="appliance", standalone_mode=False)
    context.exit(code if isinstance(code, int) else 0)


def _user(text: str) -> User:
    uid, _, gid = text.partition(":")
    numbers = [int(part) for part in (uid, gid or uid) if part.isascii() and part.isdigit() and 0 < int(part) <= ID_MAX]
    if len(numbers) != 2:
        raise Stop(f"--user is {text!r}: give numbers, like 10001:10001; root's 0 is none", USAGE)
    return User(*numbers)
