"""`appliance simulate`."""

import signal
from functools import partial
from pathlib import Path

import click
import trio

from appliance.cli.demo import leaves
from appliance.cli.exits import Stop
from appliance.http1.listen import ListenFault


@click.command("simulate")
@click.option("--listen", "addresses", multiple=True, default=("127.0.0.1:9001",), show_default=True, help="Where; may be given again.")
@click.option("--recordings", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of recorded answers.")
@click.option("--require-key", default="", help="The one API key that is accepted; else anybody is.")
def command(addresses: tuple[str, ...], recordings: Path | None, require_key: str) -> None:
    """Run the provider simulator: every vendor's language without a key, and faults on demand.

    \b
    model "sim"                     answers, whole or streamed
    header x-sim-fault: 503         fails as asked; appliance/simulator/README.md lists every fault
    """
    from appliance.simulator.serve import open_sockets, serve
    from appliance.simulator.settings import Settings

    sockets = open_sockets(addresses)
    if isinstance(sockets, ListenFault):
        raise Stop(sockets.message)
    settings = Settings(recordings=recordings, require_key=require_key)
    unreadable: list[OSError] = []

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            urls = await nursery.start(partial(serve, sockets, settings))
            for url in urls:
                click.echo(f"simulated provider at {url}/v1")
            # Received, not raised: a shell that starts this in the background has SIGINT ignored.
            with trio.open_signal_receiver(signal.SIGINT) as interrupts:
                async for _ in interrupts:
                    click.echo("stopped", err=True)
                    nursery.cancel_scope.cancel()
                    break

    try:
        trio.run(run, restrict_keyboard_interrupt_to_checkpoints=True)
    except* KeyboardInterrupt:
        click.echo("stopped", err=True)
    except* OSError as group:  # nothing else of it reaches here: the sockets are open, and the server answers for its connections
        unreadable = [error for error in leaves(group) if isinstance(error, OSError)]
    if unreadable:
        raise Stop(f"the recordings in {recordings} cannot be read: {unreadable[0].strerror or unreadable[0]}: {unreadable[0].filename}")
