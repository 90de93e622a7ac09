"""`appliance demo`: the gateway and simulated providers in one process, with a little traffic, so that everything can be seen working at
once.
"""

import hashlib
import secrets
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import click
import trio

from appliance.cli.exits import Stop
from appliance.http1.listen import ListenFault

if TYPE_CHECKING:  # `--help` must not wait for what only a running demo needs
    from appliance.config.loader import Loaded
    from appliance.supervisor import Supervisor

# Name, kind of provider (so that translation is seen, too), and what its SDK puts behind the address.
PROVIDERS = (("alpha", "custom", "/v1"), ("beta", "anthropic", ""), ("gamma", "gemini", ""))
TRAFFIC_PAUSE_S = 1.0

CONFIG = """
[server]
listen = ["{listen}"]
[admin]
listen = "{admin}"
[store]
path = "{store}"
[telemetry.log]
format = "text"
level = "warning"
{backends}
[[routes]]
name = "demo"
models = ["demo", "gpt-4o-mini"]
targets = [ {{ backend = "alpha", model = "sim", weight = 80 }}, {{ backend = "beta", model = "sim", weight = 20 }} ]
fallback = [ {{ backend = "gamma", model = "sim" }} ]
[[routes]]
name = "reasoning"
models = ["demo-reasoner"]
targets = [ {{ backend = "alpha", model = "sim-reasoner" }} ]
[[routes]]
name = "embeddings"
models = ["demo-embed"]
targets = [ {{ backend = "gamma", model = "sim-embed" }} ]
[[routes]]
name = "failover"
models = ["demo-failover"]
targets = [ {{ backend = "alpha", model = "sim+503" }} ]
fallback = [ {{ backend = "beta", model = "sim" }} ]
[tenants.demo]
keys = [ {{ id = "demo", sha256 = "{sha256}" }} ]
"""
BACKEND = """
[backends.{name}]
provider = "{provider}"
base_url = "{url}"
api_key = "simulated"
"""


@click.command("demo")
@click.option("--listen", default="127.0.0.1:8080", show_default=True, help="The gateway's public listener.")
@click.option("--admin", default="127.0.0.1:9464", show_default=True, help="Its admin listener.")
@click.option("--traffic/--no-traffic", default=True, show_default=True, help="Send a synthetic request every second.")
def command(listen: str, admin: str, traffic: bool) -> None:
    """Run the gateway with simulated providers: no key, no file, nothing leaves this machine."""
    stops: list[BaseException] = []
    try:
        with tempfile.TemporaryDirectory(prefix="appliance-demo-") as folder:
            trio.run(run, listen, admin, traffic, folder, restrict_keyboard_interrupt_to_checkpoints=True)
    except* KeyboardInterrupt:
        pass
    except* Stop as group:
        stops = list(leaves(group))
    if stops:
        raise stops[0]


def leaves(error: BaseException) -> Iterator[BaseException]:
    """What a group of groups was made of: every nursery on the way wraps once."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    else:
        yield error


async def run(listen: str, admin: str, traffic: bool, folder: str) -> None:
    """The demo until a signal ends it. folder: for its usage ledger, which ends with it."""
    from appliance.composition import StartFailure, build_supervisor
    from appliance.simulator.serve import open_sockets, serve
    from appliance.simulator.settings import Settings

    key = f"sk-demo-{secrets.token_hex(12)}"
    async with trio.open_nursery() as nursery:
        urls: dict[str, str] = {}
        for name, _, prefix in PROVIDERS:
            sockets = open_sockets(["127.0.0.1:0"])
            if isinstance(sockets, ListenFault):
                raise Stop(sockets.message)
            (address,) = await nursery.start(partial(serve, sockets, Settings()))
            urls[name] = address + prefix
        try:
            supervisor = build_supervisor(_loaded(listen, admin, urls, key, folder), None)
        except StartFailure as failure:
            nursery.cancel_scope.cancel()
            hint = "another port: appliance demo --listen 127.0.0.1:18080 --admin 127.0.0.1:19464"
            raise Stop([*failure.lines, hint]) from None
        with supervisor.sink:
            await nursery.start(_until_stopped, supervisor, nursery)
            gateway = supervisor.doors[0].addresses[0]
            click.echo(banner(gateway, supervisor.admin_door.addresses[0], urls, key))
            if traffic:
                nursery.start_soon(_traffic, gateway, key)
            await trio.sleep_forever()


async def _until_stopped(supervisor: "Supervisor", nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
    """The gateway's end is the demo's end."""
    await supervisor.run(task_status)
    nursery.cancel_scope.cancel()


def _loaded(listen: str, admin: str, urls: dict[str, str], key: str, folder: str) -> "Loaded":
    from appliance.config.loader import Loaded, load_text
    from appliance.config.report import problem_text
    from appliance.providers import PROVIDERS as ROWS

    text = CONFIG.format(
        listen=listen, admin=admin, store=f"{folder}/appliance.db", sha256=hashlib.sha256(key.encode()).hexdigest(),
        backends="".join(BACKEND.format(name=name, provider=provider, url=urls[name]) for name, provider, _ in PROVIDERS),
    )  # fmt: skip
    loaded = load_text(text, env={}, providers={name: row.base_url for name, row in ROWS.items()}, file="demo")
    if not isinstance(loaded, Loaded):
        raise Stop([problem_text(problem, with_file=False) for problem in loaded])
    return loaded


def banner(gateway: str, admin: str, urls: dict[str, str], key: str) -> str:
    """What a newcomer needs to try it."""
    providers = "\n".join(f"  simulated provider {name:<9} {urls[name]} ({provider})" for name, provider, _ in PROVIDERS)
    call = (
        f"curl -sS {gateway}/v1/chat/completions -H 'authorization: Bearer {key}' -H 'content-type: application/json'"
        """ -d '{"model":"demo","messages":[{"role":"user","content":"Hello!"}]}'"""
    )
    return f"""
The gateway is running, with simulated providers; nothing leaves this machine. Ctrl-C stops it.

  base URL, OpenAI's SDK       {gateway}/v1
  base URL, Anthropic's        {gateway}
  base URL, Google's           {gateway}
  API key                      {key}
  models                       demo, demo-reasoner, demo-embed, demo-failover (its first backend always fails)
  metrics                      {admin}/metrics
  backends, requests, stats    {admin}/admin/providers  /admin/requests  /admin/stats
{providers}

Try it (add "stream":true to see it stream):

{call}
"""


async def _traffic(gateway: str, key: str) -> None:
    """A request a second, of every kind, so that the metrics have something to show."""
    import httpx

    headers = {"authorization": f"Bearer {key}", "user-agent": "appliance-demo"}
    asked = [
        ("demo", False), ("demo", True), ("demo-reasoner", True), ("demo-failover", False), ("demo", True),
    ]  # fmt: skip
    turn = 0
    async with httpx.AsyncClient(base_url=gateway, headers=headers, timeout=30, trust_env=False) as client:
        while True:
            await trio.sleep(TRAFFIC_PAUSE_S)
            model, stream = asked[turn % len(asked)]
            turn += 1
            body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": f"Synthetic request {turn}"}]}
            try:
                await client.post("/v1/chat/completions", json=body)
            except httpx.HTTPError:
                continue  # the gateway's own log has it
