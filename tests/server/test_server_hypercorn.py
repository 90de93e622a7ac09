"""Hypercorn's doors, public and admin: what two readers of HTTP/1 could read differently is refused, and no upgrade is honoured."""

import json
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path

import h2.config
import h2.connection
import httpx
import pytest
import trustme
from rig import KEY, Gateway, Simulator, chat, one_backend, running

BODY = json.dumps(chat("sim")).encode()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
Answer = tuple[int, HTTPMessage, bytes]
DOORS = ("public", "admin")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("hypercorn")
    sim = Simulator(folder)
    with running(sim):
        served = Gateway(folder, one_backend(sim))
        with running(served):
            yield served


def port(gateway: Gateway, door: str) -> int:
    return gateway.hypercorn_port if door == "public" else gateway.admin_port


def exchange(port: int, request: bytes) -> Answer:
    """Status, headers and body of the first answer. Our half of the connection stays open, as a client's does."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(request)
        response = HTTPResponse(sock)
        response.begin()
        return response.status, response.headers, response.read()


def call(gateway: Gateway, *lines: str, body: bytes = b"", version: str = "1.1", target: str = "/v1/chat/completions") -> Answer:
    head = [f"POST {target} HTTP/{version}", f"Authorization: Bearer {KEY}", "Content-Type: application/json", *lines]
    return exchange(gateway.hypercorn_port, "\r\n".join(head).encode() + b"\r\n\r\n" + body)


def test_what_is_framed_and_addressed_once_is_served(gateway: Gateway) -> None:
    assert call(gateway, "Host: a", f"Content-Length: {len(BODY)}", body=BODY)[0] == 200
    assert call(gateway, "Host: a", "Transfer-Encoding: chunked", body=CHUNKED)[0] == 200
    assert call(gateway, f"Content-Length: {len(BODY)}", body=BODY, version="1.0")[0] == 200
    assert call(gateway, "Host: a:80", f"Content-Length: {len(BODY)}", body=BODY, target="http://A/v1/chat/completions")[0] == 200


@pytest.mark.parametrize(
    ("lines", "version", "target"),
    [
        (("Host: a", f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"), "1.1", "/v1/chat/completions"),
        (("Host: a", "Transfer-Encoding: chunked"), "1.0", "/v1/chat/completions"),
        (("Host: a", "Transfer-Encoding: chunked"), "1.1", "http://b/v1/chat/completions"),
        (("Host: a", "Transfer-Encoding: chunked"), "1.1", "/v1/chat/completions#x"),
        (("Host: a", "Transfer-Encoding: chunked"), "1.1", "v1/chat/completions"),
    ],
)
def test_what_could_be_read_in_two_ways_is_a_400_in_the_callers_dialect_that_ends_the_connection(
    gateway: Gateway, lines: tuple[str, ...], version: str, target: str
) -> None:
    status, headers, body = call(gateway, *lines, body=CHUNKED, version=version, target=target)
    assert status == 400
    assert headers["connection"] == "close"
    assert json.loads(body)["error"]["message"]


@pytest.mark.parametrize("lines", [("Host: a", "Host: b"), ("Host: a", "Content-Length: 1", "Content-Length: 2"), ()])
def test_repeated_or_missing_lines_that_matter_are_a_400(gateway: Gateway, lines: tuple[str, ...]) -> None:
    assert call(gateway, *lines, body=b"x")[0] == 400


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "lines",
    [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Upgrade: h2c",
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ],
)
def test_an_upgrade_that_is_not_offered_means_nothing(gateway: Gateway, door: str, lines: str) -> None:
    where = port(gateway, door)
    path = "/livez" if door == "public" else "/metrics"
    status, *_ = exchange(where, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{where}\r\n{lines}\r\n\r\n".encode())
    assert status == 200


@pytest.mark.parametrize("door", DOORS)
def test_cleartext_http2_by_prior_knowledge_is_refused(gateway: Gateway, door: str) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, [(":method", "GET"), (":path", "/livez"), (":scheme", "http"), (":authority", "a")], end_stream=True)
    assert exchange(port(gateway, door), client.data_to_send())[0] == 505


def test_the_admin_door_refuses_two_framings_too(gateway: Gateway) -> None:
    head = f"POST /admin/reload HTTP/1.1\r\nHost: 127.0.0.1:{gateway.admin_port}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"
    status, headers, body = exchange(gateway.admin_port, head.encode() + b"\r\n\r\n0\r\n\r\n")
    assert (status, headers["content-type"]) == (400, "application/json")
    assert json.loads(body) == {"error": "both Content-Length and Transfer-Encoding"}  # as all its errors: it speaks no dialect


def test_http2_by_alpn_on_tls_stays(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    sim = Simulator(tmp_path)
    with running(sim):
        gateway = Gateway(tmp_path, one_backend(sim), tls=(tmp_path / "cert.pem", tmp_path / "key.pem"))
        with running(gateway), httpx.Client(http2=True, verify=trusting, trust_env=False) as client:
            answer = client.post(f"{gateway.tls_url}/v1/chat/completions", json=chat("sim"), headers={"authorization": f"Bearer {KEY}"})
    assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
