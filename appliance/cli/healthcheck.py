"""`appliance healthcheck`: asks the gateway of this configuration whether it lives, for images without curl."""

import http.client
import socket
import ssl

import click

from appliance.cli.exits import Stop
from appliance.cli.source import config_option, listeners_or_stop
from appliance.config.address import Address, parse_address
from appliance.config.doors import Listener

TIMEOUT_S = 3.0
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Who listens on every address is asked on this machine's own."""
OK = 200


@click.command("healthcheck")
@config_option
@click.option("--ready", is_flag=True, help="Ask /readyz: whether it takes requests, and not only whether it lives.")
def command(path: str | None, ready: bool) -> None:
    """Exit 0 when the gateway answers on its first listener, else 1 and why. Reads no secret."""
    found = next(((one, at) for one in listeners_or_stop(path) if (at := _reachable(one))), None)
    if found is None:
        raise Stop("no listener of server.listen can be asked by its address (fd:NAME belongs to who opened it)")
    listener, address = found
    try:
        status, body = ask(listener, address, "/readyz" if ready else "/livez")
    except (OSError, http.client.HTTPException) as error:
        raise Stop(f"{listener.address} does not answer: {error or type(error).__name__}") from None
    if status != OK:
        raise Stop(f"{listener.address} answers {status}: {body}")
    click.echo(f"{listener.address} answers {status}")


def ask(listener: Listener, address: Address, path: str) -> tuple[int, str]:
    """Status and the beginning of the body. Raises OSError and HTTPException."""
    connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT_S)
    connection.sock = _connected(address)
    try:
        if listener.tls_cert:  # it is asked whether it lives, on this machine: its names are its callers' affair
            connection.sock = ssl._create_unverified_context().wrap_socket(connection.sock)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(500).decode(errors="replace").strip()
    finally:
        connection.close()


def _reachable(listener: Listener) -> Address | None:
    address = parse_address(listener.address)
    return address if isinstance(address, Address) and address.kind != "fd" and (address.port or address.kind == "unix") else None


def _connected(address: Address) -> socket.socket:
    if address.kind == "tcp":
        return socket.create_connection((ANY.get(address.host, address.host), address.port), TIMEOUT_S)
    one = socket.socket(socket.AF_UNIX)
    try:
        one.settimeout(TIMEOUT_S)
        one.connect(address.name)
    except BaseException:
        one.close()
        raise
    return one
