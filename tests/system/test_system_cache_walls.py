"""Of many random requests of many tenants none gets what another tenant was answered, and memory stays under its bound.

Each answer of the upstream is another one, so an answer seen twice was given twice.
"""

import hashlib
import http.client
import json
import random
import threading
from pathlib import Path
from typing import Any

from rig import Gateway, call, running
from telling_upstream import TellingUpstream

TENANTS = [f"t{number}" for number in range(20)]
REQUESTS = 10_000
QUESTIONS = 30
CLIENTS = 4
SIZE_MAX_BYTES = 1_200_000


def key_of(tenant: str) -> str:
    return f"sk-walls-{tenant}"


def config(url: str) -> str:
    tenants = "".join(
        f'[tenants.{name}]\nkeys = [ {{ id = "{name}", sha256 = "{hashlib.sha256(key_of(name).encode()).hexdigest()}" }} ]\n'
        for name in TENANTS
    )
    return f"""
[cache]
size_max_bytes = {SIZE_MAX_BYTES}
[telemetry]
log = {{ access = false }}
[backends.up]
provider = "custom"
base_url = "{url}/v1"
[[routes]]
name = "all"
targets = [ {{ backend = "up" }} ]
cache = {{ ttl_s = 300 }}
{tenants}
"""


class Seen:
    """What clients were answered."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owners: dict[str, str] = {}
        self.hits = self.requests = 0
        self.wrong: list[str] = []

    def note(self, tenant: str, question: str, body: bytes, stream: bool, hit: bool) -> None:
        if stream:
            first = json.loads(body.split(b"\n\n", 1)[0].removeprefix(b"data: "))
            said = first["choices"][0]["delta"]["content"]
        else:
            said = json.loads(body)["choices"][0]["message"]["content"]
        number, _, repeated = said.partition("|")
        with self.lock:
            self.requests += 1
            self.hits += hit
            owner = self.owners.setdefault(number, tenant)
            if owner != tenant or repeated != question:
                self.wrong.append(f"{tenant} asked {question!r} and got {said!r}, which was {owner}'s")


def ask_many(gateway: Gateway, seen: Seen, seed: int) -> None:
    chance = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    for _ in range(REQUESTS // CLIENTS):
        tenant, stream = chance.choice(TENANTS), chance.random() < 0.3
        question = f"question {min(int(chance.expovariate(0.15)), QUESTIONS)} " + "x" * chance.choice((0, 0, 900))
        fields: list[tuple[str, Any]] = [
            ("model", "m"), ("temperature", 0), ("messages", [{"role": "user", "content": question}]), ("stream", stream),
        ]  # fmt: skip
        chance.shuffle(fields)
        headers = {"authorization": f"Bearer {key_of(tenant)}", "content-type": "application/json"}
        if chance.random() < 0.02:
            headers["x-skip-cache"] = "true"
        connection.request("POST", "/v1/chat/completions", json.dumps(dict(fields)), headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        seen.note(tenant, question, body, stream, answer.headers.get("x-cache") == "HIT")
    connection.close()


def test_ten_thousand_random_requests_of_twenty_tenants_never_cross_and_memory_stays_under_its_bound(tmp_path: Path) -> None:
    seen, largest = Seen(), 0
    with TellingUpstream() as up:
        gateway = Gateway(tmp_path, config(up.url))
        with running(gateway):
            clients = [threading.Thread(target=ask_many, args=(gateway, seen, seed)) for seed in range(CLIENTS)]
            for one in clients:
                one.start()
            rounds = 0
            while any(one.is_alive() for one in clients):
                clients[rounds % CLIENTS].join(0.2)
                shown = gateway.admin("/admin/cache")
                largest = max(largest, shown["size_bytes"] + shown["recording_bytes"])
                rounds += 1
                if rounds % 10 == 0:
                    call(gateway.admin_url + f"/admin/cache/flush?tenant={TENANTS[rounds % 20]}", {})
            evictions = gateway.admin("/admin/cache")["evictions"]
        assert seen.wrong == []
        assert seen.requests == REQUESTS
        assert seen.hits + up.chats == REQUESTS
        print(f"\n{REQUESTS} requests, {seen.hits} hits, {evictions} evictions, {largest} of {SIZE_MAX_BYTES} bytes at most")
        assert seen.hits > REQUESTS / 10
        assert evictions > 100
        assert SIZE_MAX_BYTES / 4 < largest <= SIZE_MAX_BYTES
