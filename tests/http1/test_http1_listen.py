"""Addresses in words, listening sockets out, and every mistake as one clear line."""

import os
import socket
import stat
from pathlib import Path

import pytest

from appliance.http1.listen import (
    ListenFault,
    PassedSocket,
    TcpAddress,
    UnixAddress,
    describe,
    is_loopback,
    listens_on_loopback,
    open_listeners,
    parse_listen,
)


def opened(text: str, passed: dict[str, str] | None = None, unix_mode: int | None = None) -> list[socket.socket]:
    found = open_listeners(text, passed=passed or {}, pid=os.getpid(), backlog=16, unix_mode=unix_mode)
    assert not isinstance(found, ListenFault), found.message
    return found


def fault(text: str, passed: dict[str, str] | None = None) -> str:
    found = open_listeners(text, passed=passed or {}, pid=os.getpid(), backlog=16)
    if not isinstance(found, ListenFault):
        for sock in found:
            sock.close()
        raise AssertionError(f"{text} was opened")
    assert "\n" not in found.message
    return found.message


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", TcpAddress("127.0.0.1", 8080)),
        ("[::]:8080", TcpAddress("::", 8080)),
        ("[fe80::1%eth0]:80", TcpAddress("fe80::1%eth0", 80)),
        ("gateway.internal:0", TcpAddress("gateway.internal", 0)),
        ("unix:/run/a b.sock", UnixAddress("/run/a b.sock")),
        ("fd:3", PassedSocket("3")),
        ("fd:http", PassedSocket("http")),
    ],
)
def test_shapes(text: str, address: object):
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("8080", "0.0.0.0:port"),
        (":8080", "0.0.0.0:port"),
        ("*:8080", "0.0.0.0:port"),
        ("localhost", "host:port"),
        ("127.0.0.1:99999", "65535"),
        ("127.0.0.1:x", "host:port"),
        ("::1:80", "host:port"),
        ("[zz]:80", "host:port"),
        ("[1.2.3.4]:80", "not an IPv6"),
        ("http://x:80", "host:port"),
        ("unix:relative", "absolute path"),
        ("unix:/" + "x" * 120, "at most 107 bytes"),
        ("fd:", "number or a name"),
        ("", "host:port"),
    ],
)
def test_mistakes_are_explained(text: str, says: str):
    found = parse_listen(text)
    assert isinstance(found, ListenFault)
    assert says in found.message


def test_tcp_listens_without_blocking_and_says_where():
    (sock,) = opened("127.0.0.1:0")
    with sock:
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        port = sock.getsockname()[1]
        assert describe(sock) == f"127.0.0.1:{port}"
        assert listens_on_loopback(sock)
        assert "in use" in fault(f"127.0.0.1:{port}")
        with socket.create_connection(("127.0.0.1", port)):
            pass


def test_name_with_several_addresses_gets_one_port():
    sockets = opened("localhost:0")
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    assert all(listens_on_loopback(sock) for sock in sockets)
    for sock in sockets:
        sock.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_any_ipv6_takes_ipv4_too_and_one_ipv6_does_not():
    (sock,) = opened("[::]:0")
    with sock:
        assert describe(sock).startswith("[::]:")
        assert not listens_on_loopback(sock)
        with socket.create_connection(("127.0.0.1", sock.getsockname()[1])):
            pass
    (sock,) = opened("[::1]:0")
    with sock, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sock.getsockname()[1]))


def test_unknown_host_and_foreign_address_are_faults():
    assert "cannot resolve" in fault("no-such-host.invalid:80")
    assert "no such address" in fault("203.0.113.1:8080")


def test_unix_socket_replaces_only_a_dead_one(tmp_path: Path):
    path = tmp_path / "s"
    (first,) = opened(f"unix:{path}", unix_mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert describe(first) == f"unix:{path}"
    assert listens_on_loopback(first)
    assert "another process listens" in fault(f"unix:{path}")
    first.close()
    (second,) = opened(f"unix:{path}", unix_mode=0o666)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    second.close()
    path.unlink()
    path.write_text("precious")
    assert "another kind" in fault(f"unix:{path}")
    assert path.read_text() == "precious"
    assert "directory does not exist" in fault(f"unix:{tmp_path}/none/s")


def test_unix_socket_with_a_full_backlog_is_not_taken_for_dead(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "s"))
        door.listen(0)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(str(tmp_path / "s"))
        assert "another process listens" in fault(f"unix:{tmp_path}/s")
        for client in clients:
            client.close()


def test_passed_descriptor_by_number():
    with socket.create_server(("127.0.0.1", 0)) as door:
        copy = os.dup(door.fileno())
        os.set_inheritable(copy, True)
        (sock,) = opened(f"fd:{copy}")
        with sock:
            assert sock.fileno() == copy
            assert sock.getsockname() == door.getsockname()
            assert not sock.get_inheritable()
            assert not sock.getblocking()


def test_descriptor_of_another_kind_is_a_fault_and_stays_open():
    reader, writer = os.pipe()
    client = socket.socket()
    for number in (reader, client.fileno()):
        assert "not a listening stream socket" in fault(f"fd:{number}")
        os.fstat(number)
    assert "not a listening" in fault("fd:99999")
    os.close(reader)
    os.close(writer)
    client.close()


def test_passed_descriptors_by_name():
    saved = {number: os.dup(number) if is_open(number) else None for number in (3, 4, 5)}
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    try:
        for number, door in zip((3, 4, 5), doors, strict=True):
            if door.fileno() != number:
                os.dup2(door.fileno(), number)
        passed = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "3", "LISTEN_FDNAMES": "http:admin:http"}
        message = fault("fd:metrics", passed)
        assert "'http', 'admin'" in message
        assert "none were passed" in fault("fd:http", {**passed, "LISTEN_PID": "1"})
        assert "none were passed" in fault("fd:http", {})
        found = opened("fd:http", passed)
        assert [sock.fileno() for sock in found] == [3, 5]
        (unnamed,) = opened("fd:unknown", {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http"})
        assert unnamed.fileno() == 4
        for sock in (*found, unnamed):
            sock.detach()
    finally:
        for door in doors:
            if door.fileno() in saved:
                door.detach()
            else:
                door.close()
        for number, copy in saved.items():
            if copy is not None:
                os.dup2(copy, number)
                os.close(copy)
            elif is_open(number):
                os.close(number)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool):
    assert is_loopback(host) is loopback
