"""Where a server listens: an address in words in, listening sockets out.

The rule: what an operator can get wrong (a typing error, a taken port, a missing permission, an unknown descriptor) is a returned
ListenFault of one clear line. The environment that systemd passes descriptors in is an argument; nothing here reads it by itself.

    127.0.0.1:8080   [::1]:8080   gateway.internal:8080   [::]:8080 (IPv4 too)   unix:/run/appliance/http.sock   fd:3   fd:http
"""

import contextlib
import errno
import os
import re
import socket
import stat
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

import attrs

FIRST_PASSED_FD = 3  # SD_LISTEN_FDS_START, sd_listen_fds(3)
PASSED_MAX = 1024
UNIX_PATH_MAX_BYTES = 107  # sizeof(sun_path) less the NUL, unix(7)

HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^\s:\[\]/*]+)):([0-9]{1,5})")
SHAPES = '"host:port", "[::]:port", "unix:/path", "fd:NUMBER" or "fd:NAME"'


@attrs.frozen
class ListenFault:
    """Why there is no socket, in one line for the operator."""

    message: str


@attrs.frozen
class TcpAddress:
    """`host` is a name or an address without brackets; port 0 lets the kernel choose."""

    host: str
    port: int


@attrs.frozen
class UnixAddress:
    path: str


@attrs.frozen
class PassedSocket:
    """A socket which whoever started us has opened: by number, or by its name in LISTEN_FDNAMES."""

    name: str


ListenAddress = TcpAddress | UnixAddress | PassedSocket


def parse_listen(text: str) -> ListenAddress | ListenFault:
    """One of the shapes in the module's docstring."""
    kind, _, rest = text.partition(":")
    if kind == "unix":
        if not rest.startswith("/"):
            return ListenFault(f"{text!r}: a unix socket needs an absolute path, as in unix:/run/appliance/http.sock")
        if len(os.fsencode(rest)) > UNIX_PATH_MAX_BYTES:
            return ListenFault(f"{text!r}: a unix socket's path may have at most {UNIX_PATH_MAX_BYTES} bytes")
        return UnixAddress(rest)
    if kind == "fd":
        return PassedSocket(rest) if rest else ListenFault(f"{text!r}: fd: needs a number or a name")
    match = HOST_PORT.fullmatch(text)
    if match is None:
        hint = ' (for every address write "0.0.0.0:port" or "[::]:port")' if re.fullmatch(r"\*?:[0-9]+|[0-9]+", text) else ""
        return ListenFault(f"{text!r} is not an address: expected {SHAPES}{hint}")
    v6, name, port = match.groups()
    if int(port) > 65_535:
        return ListenFault(f"{text!r}: a port is at most 65535")
    if v6 is not None:
        try:
            IPv6Address(v6)
        except ValueError:
            return ListenFault(f"{text!r}: {v6} is not an IPv6 address")
    return TcpAddress(v6 or name, int(port))


def open_listeners(
    text: str, *, passed: Mapping[str, str], pid: int, backlog: int, unix_mode: int | None = None
) -> list[socket.socket] | ListenFault:
    """Listening, non-blocking, close-on-exec stream sockets for one address; several when a name has several addresses.

    `passed` is the environment (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES are looked at), `pid` our process id, which LISTEN_PID must name;
    `unix_mode` are the permissions of a new unix socket. Resolving a name blocks: for start-up and reload only.
    """
    address = parse_listen(text)
    match address:
        case ListenFault():
            return address
        case TcpAddress():
            return _open_tcp(text, address, backlog)
        case UnixAddress():
            return _open_unix(text, address.path, backlog, unix_mode)
        case PassedSocket():
            return _open_passed(text, address.name, passed, pid, backlog)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on this host (a name or an address, with or without brackets)."""
    host = host.removeprefix("[").removesuffix("]").partition("%")[0]
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def listens_on_loopback(sock: socket.socket) -> bool:
    """The same of an open socket; a unix socket is reached from this machine only."""
    return sock.family == socket.AF_UNIX or is_loopback(str(sock.getsockname()[0]))


def describe(sock: socket.socket) -> str:
    """The address of an open listener in the words of this module, with the port that the kernel chose."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{os.fsdecode(name)}"
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def _open_tcp(text: str, address: TcpAddress, backlog: int) -> list[socket.socket] | ListenFault:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        return ListenFault(f"{text}: cannot resolve {address.host!r} ({getattr(error, 'strerror', None) or error})")
    sockets: list[socket.socket] = []
    fault: OSError | None = None
    for family, kind, protocol, _, where in dict.fromkeys(found):
        if address.port == 0 and sockets:
            where = (where[0], sockets[0].getsockname()[1], *where[2:])  # one name, one port
        try:
            sockets.append(_bound(socket.socket(family, kind, protocol), where, backlog))
        except OSError as error:
            fault = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
            # "localhost" is often ::1 too where IPv6 is off: the name's other addresses are enough
    if fault is not None and (not sockets or fault.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)):
        for sock in sockets:
            sock.close()
        return ListenFault(f"{text}: {_words(fault)}")
    return sockets


def _bound(sock: socket.socket, where: Any, backlog: int) -> socket.socket:
    try:
        # A restarted server must not wait for its own TIME_WAIT connections.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            # "[::]" takes IPv4 as well, whatever net.ipv6.bindv6only says; any other IPv6 address means only itself.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, where[0] != "::")
        sock.bind(where)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _open_unix(text: str, path: str, backlog: int, mode: int | None) -> list[socket.socket] | ListenFault:
    fault = _clear_stale(text, path)
    if fault is not None:
        return fault
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if mode is not None:
            os.fchmod(sock.fileno(), mode)  # Linux gives the file the socket's mode less the umask, so it is never open wider than asked
        sock.bind(path)
        if mode is not None:
            os.chmod(path, mode)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        return ListenFault(f"{text}: {_words(error)}")
    return [sock]


def _clear_stale(text: str, path: str) -> ListenFault | None:
    """Remove the socket file of a server that is gone; never a file of another kind, nor a socket that answers."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return ListenFault(f"{text}: there is a file of another kind at this path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            outcome = probe.connect_ex(path)
        if outcome == errno.ECONNREFUSED:
            os.unlink(path)
        elif outcome in (0, errno.EAGAIN):  # EAGAIN: somebody listens, with a full backlog
            return ListenFault(f"{text}: another process listens there")
        elif outcome != errno.ENOENT:
            return ListenFault(f"{text}: {_words(OSError(outcome, os.strerror(outcome)))}")
    except FileNotFoundError:
        pass
    except OSError as error:
        return ListenFault(f"{text}: {_words(error)}")
    return None


def _open_passed(text: str, name: str, passed: Mapping[str, str], pid: int, backlog: int) -> list[socket.socket] | ListenFault:
    if re.fullmatch(r"[0-9]{1,6}", name):
        numbers = [int(name)]
    else:
        names = _passed_names(passed, pid)
        numbers = [number for number, known in names if known == name]
        if not numbers:
            known = ", ".join(dict.fromkeys(repr(known) for _, known in names)) or "none were passed"
            return ListenFault(f"{text}: no passed descriptor has this name (known: {known})")
    sockets: list[socket.socket] = []
    for number in numbers:
        sock = _adopt(number)
        if sock is None:
            for other in sockets:
                other.detach()  # not ours to close: another attempt may find them good
            return ListenFault(f"{text}: descriptor {number} is not a listening stream socket")
        with contextlib.suppress(OSError):
            sock.listen(backlog)
        sockets.append(sock)
    return sockets


def _passed_names(passed: Mapping[str, str], pid: int) -> list[tuple[int, str]]:
    """(number, name) of every descriptor passed to this process, after sd_listen_fds_with_names(3)."""
    count = passed.get("LISTEN_FDS", "")
    if passed.get("LISTEN_PID") != str(pid) or re.fullmatch(r"[0-9]{1,4}", count) is None:
        return []
    total = min(int(count), PASSED_MAX)
    names = passed.get("LISTEN_FDNAMES", "").split(":") if passed.get("LISTEN_FDNAMES") else []
    names += ["unknown"] * (total - len(names))
    return [(FIRST_PASSED_FD + index, names[index]) for index in range(total)]


def _adopt(number: int) -> socket.socket | None:
    """The listening stream socket behind a descriptor; the descriptor stays open when it is anything else."""
    try:
        sock = socket.socket(fileno=number)
    except OSError:
        return None
    try:
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
        if listening and sock.type == socket.SOCK_STREAM and sock.family in families:
            sock.set_inheritable(False)
            sock.setblocking(False)
            return sock
    except OSError:
        pass
    sock.detach()
    return None


def _words(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the address is in use (another process listens there; note that [::] takes IPv4 as well)"
        case errno.EACCES | errno.EPERM:
            return "permission denied (ports below 1024 need CAP_NET_BIND_SERVICE; a unix socket needs a writable directory)"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case errno.ENOENT:
            return "the directory does not exist"
        case errno.EAFNOSUPPORT:
            return "this machine does not have this kind of address (is IPv6 off?)"
        case _:
            return error.strerror or str(error)
