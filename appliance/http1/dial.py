"""Connects to an origin: DNS, TCP (happy eyeballs) and TLS within one deadline.

The rule: what comes out is a ready link or a Failure that says which step failed; a socket that did not make it is closed.
"""

import contextlib
import errno
import os
import socket
import ssl

import trio
from trio.lowlevel import wait_writable

from appliance.http1.link import Link
from appliance.http1.origin import Origin
from appliance.http1.tls import TlsLink
from appliance.http1.traffic import Traffic
from appliance.http1.transport import Failure, TransportLimits

# (level, option, value). TCP_NODELAY: a request's last small packet must not wait for an acknowledgement. Keep-alive probes: a model may
# think for minutes without a byte, while NAT tables forget silent flows after 350 s (AWS NAT gateway) or less, and a peer may be gone.
# First probe after 60 s, then every 15 s, dead after 4. Names are Linux's; where one is missing the system's default stays.
SOCKET_OPTIONS: tuple[tuple[int, int, int], ...] = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
        if hasattr(socket, name)
    ),
)


async def dial(origin: Origin, tls: ssl.SSLContext | None, limits: TransportLimits, traffic: Traffic | None = None) -> Link | Failure:
    """A connected link, handshake done. Cancellable at every step."""
    connected: Link | Failure = Failure("connect_timeout", "no connection within connect_s")
    with trio.move_on_after(limits.connect_s):
        connected = await _dial(origin, tls, limits, traffic)
    return connected


async def _dial(origin: Origin, tls: ssl.SSLContext | None, limits: TransportLimits, traffic: Traffic | None) -> Link | Failure:
    try:
        if origin.unix_path is not None:
            sock = _bare(await _open_unix(origin.unix_path))
        else:
            sock = await _open_tcp(origin.host, origin.port)
            for level, option, value in SOCKET_OPTIONS:
                sock.setsockopt(level, option, value)
    except OSError as error:
        return Failure("connect", _reason(error))
    if tls is None:
        return Link(sock, limits.recv_bytes, traffic)
    link = TlsLink(sock, limits.recv_bytes, tls, origin.host, traffic)
    try:
        refusal = await link.handshake()
    except BaseException:
        link.close()
        raise
    if refusal is not None:
        link.close()
        return Failure("tls", refusal)
    return link


async def _open_tcp(host: str, port: int) -> socket.socket:
    """Names go through trio's happy eyeballs. A literal address has nothing to try in turn, and connects at a tenth of its cost."""
    family = _literal_family(host)
    if family is None:
        # Trio's own socket type costs several µs per call, so only its connecting is used.
        return _bare((await trio.open_tcp_stream(host, port)).socket)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        code = sock.connect_ex((host, port))
        if code == errno.EINPROGRESS:
            await wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def _literal_family(host: str) -> socket.AddressFamily | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return family
    return None


async def _open_unix(path: str) -> trio.socket.SocketType:
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _bare(sock: trio.socket.SocketType) -> socket.socket:
    """The stdlib socket beneath trio's, non-blocking."""
    bare = socket.socket(fileno=sock.detach())
    bare.setblocking(False)
    return bare


def _reason(error: OSError) -> str:
    """The innermost cause in the system's words; trio wraps one error per address in a group."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup) and cause.exceptions:
        inner = cause.exceptions[-1]
        if isinstance(inner, OSError):
            error = inner
    if isinstance(error, socket.gaierror):
        return f"the host name was not resolved: {error.strerror}"
    return f"could not connect: {error.strerror or type(error).__name__}"
