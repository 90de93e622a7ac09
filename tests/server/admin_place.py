"""A gateway with a secret of every kind, its simulated provider, and a client of its admin listener."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import attrs
import httpx
from rig import KEY, Gateway, Simulator, running

ADMIN_TOKEN, METRICS_TOKEN = "canary-admin-token-1", "canary-metrics-token-2"
CANARIES = (
    ADMIN_TOKEN, METRICS_TOKEN, "canary-api-key-3", "canary-header-4", "canary-webhook-5", "canary-proxy-6", KEY,
)  # fmt: skip
CONFIG = """
[tenants.other]
keys = [ { id = "other", sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" } ]
[alerts]
webhook = { url = "http://127.0.0.1:9/canary-webhook-5" }
[backends.sim]
provider = "custom"
base_url = "{sim}/v1"
api_key = "canary-api-key-3"
headers = { x-secret = "canary-header-4" }
breaker = { consecutive_failures = 3, open_s = 60 }
health = { failures = 2 }
[backends.spare]
provider = "custom"
base_url = "{sim}/v1"
breaker = { consecutive_failures = 3, open_s = 60 }
health = { failures = 2 }
[backends.proxied]
provider = "custom"
base_url = "{sim}/v1"
proxy = "http://user:canary-proxy-6@127.0.0.1:9"
[[routes]]
name = "main"
models = ["sim*"]
targets = [ { backend = "sim" } ]
fallback = [ { backend = "spare", model = "spare" } ]
retry = { attempts = 2 }
"""


@attrs.frozen
class Place:
    sim: Simulator
    gateway: Gateway
    client: httpx.Client

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


@contextlib.contextmanager
def started(folder: Path, admin: str = "") -> Iterator[Place]:
    """`admin`: lines for the [admin] table."""
    sim = Simulator(folder)
    with running(sim):
        gateway = Gateway(folder, CONFIG.replace("{sim}", sim.url), admin=admin)
        with running(gateway), httpx.Client(base_url=gateway.admin_url, trust_env=False, verify=False, timeout=10) as client:
            yield Place(sim, gateway, client)


def gateway_config(place: Place) -> str:
    return CONFIG.replace("{sim}", place.sim.url)
