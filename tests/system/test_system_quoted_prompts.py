"""A provider that quotes the prompt in an error: its caller reads that, and nothing that is kept does, neither the log nor the store."""

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterator

import pytest
from raw_upstream import STREAM_HEAD, RawUpstream, Script, delta, event
from rig import Gateway, call, chat, eventually, running
from system.test_system_echoed_keys import answer

PROMPT = "the patient in bed twelve"
QUOTING = json.dumps(
    {"error": {"message": f"cannot read: {PROMPT}", "type": "invalid_request_error", "param": None, "code": "bad_words"}}
).encode()
FAILING = json.dumps({"error": {"message": f"failed at: {PROMPT}", "type": "server_error", "param": None, "code": None}}).encode()


def late(sock: object) -> None:
    sock.sendall(STREAM_HEAD + event(delta("Hello")) + event(QUOTING))  # type: ignore[attr-defined]


SCRIPTS: dict[str, Script] = {
    "refused": answer(400, QUOTING), "hidden": answer(200, QUOTING), "failed": answer(500, FAILING), "streamed": late,
}  # fmt: skip

ROUTE = """
[backends.{name}]
provider = "custom"
base_url = "{url}"
[[routes]]
name = "{name}"
models = ["{name}"]
targets = [ {{ backend = "{name}" }} ]
retry = {{ attempts = 1 }}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with contextlib.ExitStack() as stack:
        ups = {name: stack.enter_context(RawUpstream(script)) for name, script in SCRIPTS.items()}
        routes = "".join(ROUTE.format(name=name, url=up.url) for name, up in ups.items())
        one = Gateway(tmp_path_factory.mktemp("quoted"), routes, store="explain = { sample = 1.0 }")
        stack.enter_context(running(one))
        yield one


def kept(gateway: Gateway) -> dict[str, str]:
    """What the store has of single requests, by the caller's id."""
    with contextlib.closing(sqlite3.connect(gateway.config_path.with_suffix(".db"))) as connection:
        rows = connection.execute("SELECT request_id, record FROM explanations").fetchall()
    return {request_id: zlib.decompress(record).decode() for request_id, record in rows}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_quoted_prompt_reaches_its_caller_and_nothing_that_is_kept(gateway: Gateway, name: str) -> None:
    request_id = f"quoted-{name}"
    _, _, body = call(gateway.url + "/v1/chat/completions", chat(name, stream=name == "streamed"), x_request_id=request_id)
    if name != "failed":  # what a backend says of itself is no caller's affair
        assert PROMPT in body.decode()
    eventually(lambda: request_id in kept(gateway))
    stored = json.loads(kept(gateway)[request_id])
    assert PROMPT not in json.dumps(stored)
    assert stored["error_type"]
    assert stored["error"]
    eventually(lambda: request_id in gateway.log)
    assert PROMPT not in gateway.log
    assert name != "refused" or "status 400 (bad_words)" in gateway.log
