"""Every way in and every way out: unix sockets, IPv6, passed descriptors; upstreams over TLS, HTTP/2 and an HTTP proxy."""

import base64
import contextlib
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import httpx
import pytest
import trustme
from doors import Door, certificate
from forward_proxy import ForwardProxy
from raw_client import RawClient
from rig import KEY, KEY_SHA256, Gateway, Process, Simulator, chat, eventually, free_port, one_backend, refusing_port, running

NO_BREAKER = "breaker = { consecutive_failures = 0, failure_ratio = 0 }"
GOOD = ("plain", "socket", "tls", "h2", "proxied", "tunnelled", "h2tunnelled")
BAD_TLS = ("untrusted", "misnamed", "h2untrusted", "cleartext")
HASTY = "timeouts = { first_byte_s = 1, idle_s = 1 }"
"""Of a second backend for each good way, for tests of silence: what is to succeed is given the usual time."""
AUTHORIZATION = {"authorization": f"Bearer {KEY}"}
PLAIN = {**AUTHORIZATION, "x-provider": "plain"}


@attrs.frozen
class World:
    """The simulated provider, a TLS server before it, a forward proxy, and the gateway under test before all of them."""

    sim: Simulator
    tls: Gateway
    proxy: ForwardProxy
    gateway: Gateway
    folder: Path


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def front_config(sim: Simulator, folder: Path, tls: Gateway, proxy: ForwardProxy, nowhere: int) -> str:
    secure, ca = f"https://localhost:{tls.tls_port}/v1", f'ca = "{folder}/ca.pem"'
    through = f'proxy = "http://user:secret-word@127.0.0.1:{proxy.port}"'
    backends = {
        "plain": (f"{sim.url}/v1", ""),
        "socket": (f"http+unix://{quote(str(folder / 'up.sock'), safe='')}/v1", 'health = { mode = "active", interval_s = 0.1 }'),
        "tls": (secure, ca),
        "h2": (secure, f"{ca}\nhttp2 = true"),
        "proxied": (f"{sim.url}/v1", through),
        "tunnelled": (secure, f"{ca}\n{through}"),
        "h2tunnelled": (secure, f"{ca}\nhttp2 = true\n{through}"),
        "untrusted": (secure, ""),
        "h2untrusted": (secure, "http2 = true"),
        "misnamed": (f"https://127.0.0.1:{tls.tls_port}/v1", ca),
        "cleartext": (f"https://localhost:{sim.port}/v1", ca),
        "noproxy": (f"{sim.url}/v1", f'proxy = "http://127.0.0.1:{nowhere}"'),
    }
    backends |= {f"{name}-hasty": (url, f"{more}\n{HASTY}") for name, (url, more) in backends.items() if name in GOOD}
    targets = ", ".join(f'{{ backend = "{name}" }}' for name in backends)
    return f'[[routes]]\nname = "any"\ntargets = [ {targets} ]\nretry = {{ attempts = 1 }}\n' + "".join(
        f'[backends.{name}]\nprovider = "custom"\nbase_url = "{url}"\napi_key = "{KEY}"\n{more}\n{NO_BREAKER}\n'
        for name, (url, more) in backends.items()
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("transports")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    sim = Simulator(folder)
    proxy = ForwardProxy()
    with running(sim), refusing_port() as nowhere:
        up = f"unix:{folder}/up.sock"
        once = "retry = { attempts = 1 }"
        tls = Gateway(folder, one_backend(sim, once, NO_BREAKER), name="tls", tls=certificate(folder, authority, "localhost"), listen=(up,))
        listen = (f"unix:{folder}/in.sock", *(["[::1]:0"] if has_ipv6() else []))
        with running(tls):
            gateway = Gateway(folder, front_config(sim, folder, tls, proxy, nowhere), listen=listen)
            with running(gateway):
                yield World(sim, tls, proxy, gateway, folder)
    proxy.close()


def builtin(world: World) -> Door:
    return Door(world.gateway, "builtin", world.gateway.url, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


@pytest.fixture(scope="module", params=["builtin", "hypercorn"])
def door(world: World, request: pytest.FixtureRequest) -> Door:
    if request.param == "builtin":
        return builtin(world)
    return Door(world.gateway, "hypercorn", world.gateway.hypercorn_url, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def ask(door: Door, backend: str, body: Any) -> httpx.Response:
    """By this way, without retries."""
    answer = door.chat(body, headers={"x-provider": backend})
    assert answer.headers["x-served-by"] == backend
    return answer


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("backend", GOOD)
def test_every_way_to_a_provider_carries_the_same_bytes(world: World, door: Door, backend: str, stream: bool) -> None:
    more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    expected = ask(door, "plain", chat("sim", **more))
    answer = ask(door, backend, chat("sim", **more))
    assert answer.status_code == 200
    assert answer.content == expected.content
    assert answer.headers["content-type"] == expected.headers["content-type"]
    assert door.record(answer)["usage"] == door.record(expected)["usage"]


@pytest.mark.parametrize("backend", GOOD)
def test_every_way_carries_a_megabyte(world: World, backend: str) -> None:
    door = builtin(world)
    answer = ask(door, backend, chat("sim+huge_line=1m", "x" * 1_000_000))
    assert answer.status_code == 200
    assert len(answer.content) > 1_000_000
    assert answer.json()["choices"][0]["message"]["content"]
    assert world.sim.stats(1)["last"][-1]["body_bytes"] > 1_000_000


@pytest.mark.parametrize("backend", GOOD)
def test_every_way_carries_a_form_that_is_passed_on_as_it_comes(world: World, door: Door, backend: str) -> None:
    size = 3_000_000
    before = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsim\r\n'
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n[[say=heard by %b]]' % backend.encode()
    body = before + file + bytes(size) + b"\r\n--b--\r\n"
    headers = {"x-provider": backend, "content-type": "multipart/form-data; boundary=b"}
    for content in (body, iter([body[:1000], body[1000:-1000], body[-1000:]])):
        answer = door.post("/v1/audio/transcriptions", content=content, headers=headers)
        assert (answer.status_code, answer.headers["x-served-by"]) == (200, backend)
        assert answer.json()["text"] == f"heard by {backend}"
        assert world.sim.stats(1)["last"][-1]["body_bytes"] == len(body)


@pytest.mark.parametrize("backend", GOOD)
def test_every_way_tells_of_its_faults(world: World, backend: str) -> None:
    door = builtin(world)
    assert ask(door, backend, chat("sim+422")).status_code == 422
    assert ask(door, backend, chat("sim+500")).status_code == 502
    cut = ask(door, backend, chat("sim+cut=4", stream=True))
    *passed, last = [event for event in cut.content.split(b"\n\n") if event]
    assert len(passed) == 4
    assert json.loads(last.removeprefix(b"data: "))["error"]["message"]
    assert b"[DONE]" not in cut.content


def test_every_way_has_its_bound_on_silence(world: World) -> None:
    """All at once, since each takes its time."""
    door = builtin(world)

    def answers(backend: str) -> list[httpx.Response]:
        return [ask(door, f"{backend}-hasty", chat(model, stream=True)) for model in ("sim+hang", "sim+hang=4")]

    with ThreadPoolExecutor(len(GOOD)) as pool:
        for backend, (silent, stalled) in zip(GOOD, pool.map(answers, GOOD), strict=True):
            assert silent.status_code == 504, backend
            assert stalled.status_code == 200, backend
            assert b'"code":"idle_timeout"' in stalled.content, backend


@pytest.mark.parametrize("backend", GOOD)
def test_every_way_ends_when_the_client_leaves(world: World, door: Door, backend: str) -> None:
    world.sim.reset()
    with door.http(headers=AUTHORIZATION) as client:
        body, pin = chat("sim@tps=5+endless", stream=True), {"x-provider": backend}
        with client.stream("POST", "/v1/chat/completions", json=body, headers=pin) as answer:
            next(answer.iter_raw())
    eventually(lambda: [one for one in world.sim.stats()["last"] if one["outcome"] == "client_gone"])


@pytest.mark.parametrize("backend", BAD_TLS)
def test_a_certificate_that_cannot_be_trusted_is_never_accepted(world: World, door: Door, backend: str) -> None:
    before = world.sim.stats()["requests"]
    answer = ask(door, backend, chat("sim"))
    assert answer.status_code == 502
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "connect")
    assert backend in error["message"]
    assert str(world.tls.tls_port) not in answer.text
    assert world.sim.stats()["requests"] == before
    assert KEY not in json.dumps(door.record(answer))


def sockets_to(port: int) -> int:
    """Established connections of anybody on this machine to a port of it."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, state, *_ = line.split()
        found += remote.endswith(f":{port:04X}") and state == "01"
    return found


@contextlib.contextmanager
def begun(ways: Iterable[tuple[str, str]]) -> Iterator[list[tuple[RawClient, bytes]]]:
    """Streams without an end, one for each backend and door's URL: who reads them, and the first chunk of each."""
    with contextlib.ExitStack() as stack:
        clients = []
        for backend, url in ways:
            client = stack.enter_context(RawClient(url))
            client.ask(chat("sim@tps=20+endless", stream=True), x_provider=backend)
            status, headers = client.read_head()
            assert (status, headers["x-served-by"]) == (200, backend)
            clients.append((client, client.read_chunk()))
        yield clients


def test_http2_shares_one_connection_and_http1_does_not(world: World, door: Door) -> None:
    def streams(backend: str) -> tuple[int, int]:
        """Connections before and while five streams run."""
        before = sockets_to(world.tls.tls_port)
        with begun((backend, door.url) for _ in range(5)):
            return before, sockets_to(world.tls.tls_port)

    ask(door, "h2", chat("sim"))
    before, during = streams("h2")
    assert during <= before
    before, during = streams("tls")
    assert during >= 5


def test_the_proxy_is_asked_and_gets_its_credentials(world: World, door: Door) -> None:
    del world.proxy.seen[:]
    ask(door, "proxied", chat("sim"))
    ask(door, "plain", chat("sim"))
    basic = "Basic " + base64.b64encode(b"user:secret-word").decode()
    assert world.proxy.seen == [(f"POST {world.sim.url}/v1/chat/completions HTTP/1.1", basic)]
    headers = [name for name, _ in world.sim.stats(1)["last"][-1]["headers"]]
    assert "proxy-authorization" not in headers
    assert "secret-word" not in world.gateway.log


def test_a_proxy_that_is_not_there_is_a_502(world: World, door: Door) -> None:
    answer = ask(door, "noproxy", chat("sim"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "connect")


def test_a_provider_on_a_unix_socket_is_probed_there(world: World) -> None:
    eventually(lambda: world.gateway.provider("socket")["last_probe"] == "ok")


def test_a_unix_socket_listener_serves(world: World) -> None:
    transport = httpx.HTTPTransport(uds=str(world.folder / "in.sock"))
    with httpx.Client(transport=transport, base_url="http://localhost", headers=PLAIN) as client:
        answer = client.post("/v1/chat/completions", json=chat("sim"))
        assert answer.status_code == 200
        assert client.get("/metrics").status_code == 200, "only this machine reaches a unix socket"
    assert world.gateway.record(answer.headers["x-request-id"])["status"] == 200


def test_an_ipv6_listener_serves(world: World) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    (started,) = [one for one in world.gateway.events() if one["event"] == "started"]
    (url,) = [address for address in started["listen"] if "[::1]" in address]
    answer = httpx.post(f"{url}/v1/chat/completions", json=chat("sim"), headers=PLAIN, trust_env=False)
    assert answer.status_code == 200
    assert not url.endswith(":0")


@pytest.mark.parametrize("address", ["fd:3", "fd:web"])
@pytest.mark.parametrize("engine", ["auto", "hypercorn"])
def test_a_passed_socket_is_served(world: World, tmp_path: Path, address: str, engine: str) -> None:
    """As systemd passes it: descriptor 3, LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES."""
    config = tmp_path / "c.toml"
    config.write_text(
        f'[server]\nlisten = [{{ address = "{address}", engine = "{engine}" }}]\n[admin]\nlisten = "127.0.0.1:{free_port()}"\n'
        f'[tenants.test]\nkeys = [ {{ id = "test", sha256 = "{KEY_SHA256}" }} ]\n' + one_backend(world.sim)
    )
    launcher = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); "
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='web'); "
        "os.execv(sys.executable, [sys.executable, '-m', 'appliance', 'serve', '-c', sys.argv[2]])"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener, (tmp_path / "serve.log").open("wb") as log:
        url, number = f"http://127.0.0.1:{listener.getsockname()[1]}", listener.fileno()
        command = [sys.executable, "-c", launcher, str(number), str(config)]
        served = subprocess.Popen(command, pass_fds=(number,), stdout=log, stderr=log)
    try:
        answer = httpx.post(f"{url}/v1/chat/completions", json=chat("sim"), headers=AUTHORIZATION, trust_env=False, timeout=20)
        assert answer.status_code == 200
    finally:
        served.terminate()
        assert served.wait(15) == 0, (tmp_path / "serve.log").read_text()


def test_a_passed_socket_that_was_not_passed_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'[server]\nlisten = ["fd:web"]\nauth = "none"\n[admin]\nlisten = "127.0.0.1:{free_port()}"\n')
    served = Process(["serve", "-c", str(config)], tmp_path / "serve.log")
    assert served.popen.wait(15) == 1
    assert "fd:web" in served.log
    assert "Traceback" not in served.log


def test_a_provider_killed_in_the_middle_is_told_in_band_on_every_way(world: World) -> None:
    """Last of the tests, since the TLS server does not come back."""
    urls = (world.gateway.url, world.gateway.hypercorn_url)
    ways = [(backend, url) for backend in ("tls", "h2", "tunnelled", "h2tunnelled") for url in urls]
    with begun(ways) as clients:
        world.tls.popen.kill()
        for way, (client, first) in zip(ways, clients, strict=True):
            body = first + client.read_body({"transfer-encoding": "chunked"})
            *passed, last = [event for event in body.split(b"\n\n") if event]
            assert passed, way
            assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "stream_cut", way
            assert b"[DONE]" not in body
