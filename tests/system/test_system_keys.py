"""Keys and tenants made at run time: in force within a second, over a restart, and never where a key must not be seen."""

import contextlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import KEY, Gateway, Process, Simulator, call, chat, eventually, free_port, one_backend, running

TAKEN_S = 1.0
"""What is promised between the command and the gateway that knows."""


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    one = Simulator(tmp_path_factory.mktemp("sim"))
    with running(one):
        yield one


@pytest.fixture(scope="module")
def gateway(sim: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    one = Gateway(tmp_path_factory.mktemp("keys"), one_backend(sim))
    with running(one):
        yield one


def run(gateway: Gateway, *arguments: str, status: int = 0) -> str:
    """A command on the gateway's own configuration; what it wrote to standard output."""
    command = [sys.executable, "-m", "appliance", *arguments, "-c", str(gateway.config_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done
    return done.stdout if status == 0 else done.stderr


def made(gateway: Gateway, tenant: str, *options: str) -> str:
    return run(gateway, "key", "create", "--tenant", tenant, *options).strip()


def asked(gateway: Gateway, key: str, model: str = "sim") -> int:
    return call(f"{gateway.url}/v1/chat/completions", chat(model), authorization=f"Bearer {key}")[0]


def within_a_second(gateway: Gateway, key: str, status: int, model: str = "sim") -> None:
    """Measured from the end of the command; the margin is for a busy machine, not in what is promised."""
    eventually(lambda: asked(gateway, key, model) == status, TAKEN_S * 10)


def lifetime_s(gateway: Gateway) -> int:
    """Of a key that is to work before it ends: ten times as long as this machine takes now to make one and to let it in."""
    begun = time.monotonic()
    within_a_second(gateway, made(gateway, "test"), 200)
    return max(3, math.ceil(10 * (time.monotonic() - begun)))


def test_a_key_made_while_the_gateway_runs_works_without_a_restart_and_revoked_no_longer(gateway: Gateway) -> None:
    run(gateway, "tenant", "create", "acme", "--model", "sim*")
    key = made(gateway, "acme", "--id", "up")
    within_a_second(gateway, key, 200)
    assert asked(gateway, key, "other") == 403, "it inherits its tenant's bounds"
    run(gateway, "key", "revoke", "up")
    within_a_second(gateway, key, 401)


def test_a_change_of_a_tenant_holds_for_its_keys(gateway: Gateway) -> None:
    run(gateway, "tenant", "create", "changing")
    key = made(gateway, "changing")
    within_a_second(gateway, key, 200)
    run(gateway, "tenant", "set", "changing", "--model", "something-else")
    within_a_second(gateway, key, 403)
    run(gateway, "tenant", "remove", "changing", "--yes")
    within_a_second(gateway, key, 401)


def test_a_rotated_key_has_two_secrets_for_its_grace(gateway: Gateway) -> None:
    first = made(gateway, "test", "--id", "turning")
    within_a_second(gateway, first, 200)
    second = run(gateway, "key", "rotate", "turning", "--grace", "1h").strip()
    within_a_second(gateway, second, 200)
    assert asked(gateway, first) == 200
    third = run(gateway, "key", "rotate", "turning", "--grace", "1s").strip()
    within_a_second(gateway, third, 200)
    assert asked(gateway, first) == 401, "only the last one works on"
    eventually(lambda: asked(gateway, second) == 401)
    fourth = run(gateway, "key", "rotate", "turning", "--grace", "0").strip()
    within_a_second(gateway, fourth, 200)
    assert asked(gateway, third) == 401


def test_a_key_ends_when_it_expires(gateway: Gateway) -> None:
    lives_s = lifetime_s(gateway)
    key = made(gateway, "test", "--expires", f"{lives_s}s")
    within_a_second(gateway, key, 200)
    eventually(lambda: asked(gateway, key) == 401, 3 * lives_s)


def test_a_key_of_the_store_may_belong_to_a_tenant_of_the_file(gateway: Gateway) -> None:
    key = made(gateway, "test", "--id", "beside", "--model", "sim-only")
    within_a_second(gateway, key, 200, "sim-only")
    assert asked(gateway, key) == 403
    assert asked(gateway, KEY) == 200
    for command in ("tenant set test --rpm 5", "tenant remove test", "key revoke test", "key rotate test"):
        assert "configuration file" in run(gateway, *command.split(), status=1)


def test_limits_of_a_key_made_at_run_time_hold(gateway: Gateway) -> None:
    key = made(gateway, "test", "--id", "slow", "--rpm", "2")
    within_a_second(gateway, key, 200)
    eventually(lambda: asked(gateway, key) == 429)


def test_a_limit_changed_at_run_time_leaves_what_was_used_and_a_rotated_key_begins_with_nothing_new(gateway: Gateway) -> None:
    run(gateway, "tenant", "create", "limited", "--rpm", "1")
    other = made(gateway, "limited")
    first = made(gateway, "limited", "--id", "rotating", "--rpm", "1")
    within_a_second(gateway, first, 200)  # from here on, a request comes back to both in a minute
    within_a_second(gateway, other, 429)
    run(gateway, "tenant", "set", "limited", "--rpm", "2")
    within_a_second(gateway, other, 200)
    assert asked(gateway, other) == 429
    second = run(gateway, "key", "rotate", "rotating").strip()
    run(gateway, "tenant", "set", "limited", "--rpm", "none")
    within_a_second(gateway, other, 200)
    assert (asked(gateway, first), asked(gateway, second)) == (429, 429)


def test_when_a_key_was_last_used_is_written_down(gateway: Gateway) -> None:
    key = made(gateway, "test", "--id", "used")
    assert listed(gateway)["used"]["last_used_at"] is None
    within_a_second(gateway, key, 200)
    assert eventually(lambda: listed(gateway)["used"]["last_used_at"], 100)


def listed(gateway: Gateway) -> dict[str, Any]:
    return {one["id"]: one for one in json.loads(run(gateway, "key", "list", "--all", "--json"))}


def test_reloads_keep_keys_and_the_file_wins(gateway: Gateway, sim: Simulator) -> None:
    run(gateway, "tenant", "create", "twice")
    key = made(gateway, "twice", "--id", "kept")
    within_a_second(gateway, key, 200)
    gateway.write_config(one_backend(sim) + '[tenants.twice]\nmodels = ["file-*"]\n')
    assert call(f"{gateway.admin_url}/admin/reload", {})[0] == 200
    assert asked(gateway, key) == 403
    assert asked(gateway, key, "file-x") == 200
    gateway.write_config(one_backend(sim))
    assert call(f"{gateway.admin_url}/admin/reload", {})[0] == 200
    assert asked(gateway, key) == 200


def content_of(path: Path) -> bytes:
    """Nothing of a file that is gone meanwhile, as parts of the journal may be."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def test_no_key_is_in_a_log_or_in_the_store(gateway: Gateway) -> None:
    key = made(gateway, "test", "--id", "canary")
    within_a_second(gateway, key, 200)
    assert asked(gateway, key + "x") == 401
    gateway.admin("/admin/config")
    gateway.metrics_text()
    folder = gateway.config_path.parent
    eventually(lambda: '"key":"canary"' in gateway.log)
    seen = b"".join(content_of(path) for path in folder.rglob("*") if path.is_file())
    assert key.encode() not in seen
    assert b"canary" in seen
    shown = json.dumps([gateway.admin(path) for path in ("/admin/config", "/admin/requests", "/admin/stats")]) + gateway.metrics_text()
    assert key[:12] not in shown


def test_keys_outlive_a_killed_gateway(sim: Simulator, tmp_path: Path) -> None:
    one = Gateway(tmp_path, one_backend(sim))
    with running(one):
        key = made(one, "test", "--id", "lasting")
        within_a_second(one, key, 200)
        one.popen.kill()
        one.popen.wait()
        down = made(one, "test", "--id", "made-while-down")
        two = Process(["serve", "-c", str(one.config_path)], tmp_path / "second.log")
        with running(two):
            two.wait_port(one.port)
            assert (asked(one, key), asked(one, down)) == (200, 200)


def test_callers_need_a_key_from_the_first_tenant_on_and_no_other_address_opens_before(sim: Simulator, tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    config = tmp_path / "config.toml"
    text = one_backend(sim) + f'[admin]\nlisten = "127.0.0.1:{admin}"\n'
    config.write_text(text + f'[server]\nlisten = ["0.0.0.0:{port}"]\n')
    refused = subprocess.run([sys.executable, "-m", "appliance", "serve", "-c", str(config)], capture_output=True, timeout=60, check=False)
    assert refused.returncode == 78
    assert b"appliance key create" in refused.stderr
    config.write_text(text + f'[server]\nlisten = ["127.0.0.1:{port}"]\n')
    one = Process(["serve", "-c", str(config)], tmp_path / "one.log")
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    with running(one):
        one.wait_port(port)
        assert call(url, chat("sim"), authorization="")[0] == 200
        tenant = [sys.executable, "-m", "appliance", "tenant", "create", "first", "-c", str(config)]
        subprocess.run(tenant, check=True, timeout=60, capture_output=True)
        eventually(lambda: call(url, chat("sim"), authorization="")[0] == 401, TAKEN_S * 10)
    config.write_text(text + f'[server]\nlisten = ["0.0.0.0:{port}"]\n')
    two = Process(["serve", "-c", str(config)], tmp_path / "two.log")
    with running(two):
        two.wait_port(port)
        assert call(url, chat("sim"), authorization="")[0] == 401


def test_a_store_that_breaks_lets_nobody_in_without_a_key(sim: Simulator, tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    config = tmp_path / "config.toml"
    head = f'[server]\nlisten = ["127.0.0.1:{port}"]\n[admin]\nlisten = "127.0.0.1:{admin}"\n[store]\non_failure = "serve"\n'
    config.write_text(head + one_backend(sim))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "appliance.db").write_bytes(b"damaged" * 1000)
    one = Process(["serve", "-c", str(config)], tmp_path / "one.log")
    with running(one):
        one.wait_port(port)
        assert call(f"http://127.0.0.1:{port}/v1/chat/completions", chat("sim"), authorization="")[0] == 401
        assert eventually(lambda: any(event["event"] == "tenancy_problem" for event in one.events()))
