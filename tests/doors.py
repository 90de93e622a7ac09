"""The three ways into one gateway: the built-in engine, Hypercorn, and Hypercorn over TLS and HTTP/2. What one promises, all do."""

import contextlib
import ssl
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import openai
import trustme
from rig import KEY, Gateway, Simulator, running

DOORS = ("builtin", "hypercorn", "h2")
CLIENT_TIMEOUT_S = 20.0


@attrs.frozen
class Door:
    """One listener of a gateway.

    Attributes:
        tls: trusts the gateway's certificate; a context that does not look at certificates where there is none (loading the usual
            authorities takes 30 ms a client).
    """

    gateway: Gateway
    name: str
    url: str
    tls: ssl.SSLContext

    def http(self, **more: Any) -> httpx.Client:
        """A client without a key."""
        options: dict[str, Any] = {"base_url": self.url, "timeout": CLIENT_TIMEOUT_S, "trust_env": False, **more}
        return httpx.Client(verify=self.tls, http2=self.name == "h2", **options)

    def post(self, path: str, *, content: Any = None, body: Any = None, key: str | None = KEY, headers: Any = ()) -> httpx.Response:
        """One POST: bytes as they are, or `body` as JSON."""
        wanted = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {}), **dict(headers)}
        with self.http() as client:
            if content is not None:
                return client.post(path, content=content, headers=wanted)
            return client.post(path, json=body, headers=wanted)

    def chat(self, body: Any, **more: Any) -> httpx.Response:
        return self.post("/v1/chat/completions", body=body, **more)

    def record(self, answer: httpx.Response) -> dict[str, Any]:
        """The record is written when the last byte is out, so a moment after the answer; looked for often, as so many tests wait for it."""
        for _ in range(50):
            with contextlib.suppress(urllib.error.HTTPError):
                found: dict[str, Any] = self.gateway.admin(f"/admin/requests/{answer.headers['x-request-id']}")
                return found
            time.sleep(0.003)
        return self.gateway.record(answer.headers["x-request-id"])

    def sdk(self, key: str = KEY, **more: Any) -> openai.OpenAI:
        """The official SDK, without its own retries."""
        client = openai.DefaultHttpxClient(verify=self.tls, http2=self.name == "h2", trust_env=False)
        options: dict[str, Any] = {"max_retries": 0, "timeout": CLIENT_TIMEOUT_S, **more}
        return openai.OpenAI(base_url=self.url + "/v1", api_key=key, http_client=client, **options)

    def async_sdk(self, key: str = KEY, **more: Any) -> openai.AsyncOpenAI:
        client = openai.DefaultAsyncHttpxClient(verify=self.tls, http2=self.name == "h2", trust_env=False)
        options: dict[str, Any] = {"max_retries": 0, "timeout": CLIENT_TIMEOUT_S, **more}
        return openai.AsyncOpenAI(base_url=self.url + "/v1", api_key=key, http_client=client, **options)


@attrs.frozen
class Site:
    """A gateway with all its doors and the simulated provider behind it."""

    sim: Simulator
    gateway: Gateway
    authority: trustme.CA

    def door(self, name: str) -> Door:
        url = {"builtin": self.gateway.url, "hypercorn": self.gateway.hypercorn_url, "h2": self.gateway.tls_url}[name]
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(tls)
        return Door(self.gateway, name, url, tls)


def certificate(folder: Path, authority: trustme.CA, *names: str) -> tuple[Path, Path]:
    """A certificate and its key in PEM files."""
    issued = authority.issue_cert(*names)
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    return cert, key


@contextlib.contextmanager
def site(folder: Path, config: str, *, head: str = "", simulate: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Iterator[Site]:
    """Start both. `{sim}` in the configuration stands for the provider's base URL."""
    authority = trustme.CA()
    sim = Simulator(folder, extra=simulate)
    with running(sim):
        tls = certificate(folder, authority, "127.0.0.1", "localhost")
        gateway = Gateway(folder, config.replace("{sim}", sim.url + "/v1"), head=head, tls=tls, env=env)
        with running(gateway):
            yield Site(sim, gateway, authority)
