"""`appliance serve`."""

import signal

import click
import trio

from appliance.cli.exits import Stop
from appliance.cli.source import config_option, load_or_stop, loader


@click.command("serve")
@config_option
def command(path: str | None) -> None:
    """Run the gateway.

    \b
    SIGTERM, SIGINT   finish what runs, for at most server.drain_s, then stop; a second one stops at once
    SIGHUP            load the configuration anew; a bad one changes nothing and says why
    """
    # Its default is to end the process. Until the supervisor listens, one that comes early waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    load_it = loader(path)
    loaded = load_or_stop(load_it)
    from appliance.composition import StartFailure, build_supervisor  # 0.4 s: not for --help, nor for a file with mistakes

    try:
        supervisor = build_supervisor(loaded, load_it)
    except StartFailure as failure:
        raise Stop(failure.lines) from None
    with supervisor.sink:
        trio.run(supervisor.run, restrict_keyboard_interrupt_to_checkpoints=True)
