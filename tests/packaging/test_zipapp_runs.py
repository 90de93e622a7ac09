"""The real file does what the installed program does, on a machine that has a Python and nothing else of ours."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rig import Simulator, eventually, free_port, running
from zipapp_rig import BARE, BASE, as_nobody, python_for_all, refused, root_only, run, said, started

DEPENDENCIES = ("trio", "httptools", "hypercorn", "httpx", "cryptography", "orjson", "attrs", "click", "structlog")


@pytest.fixture
def place(unpacked: Path) -> dict[str, str]:
    """An environment with a place that was unpacked to, and nothing else."""
    return {"APPLIANCE_ROOT": str(unpacked)}


def test_version_names_commit_python_and_dependencies(pyz: Path, place: dict[str, str]) -> None:
    shown = said(run(pyz, "version", **place))
    assert re.search(r"^commit +[0-9a-f]{12}", shown, re.MULTILINE)
    assert re.search(rf"^zipapp +cp3{sys.version_info.minor}-", shown, re.MULTILINE)
    for name in DEPENDENCIES:
        assert re.search(rf"^  {name} +\d", shown, re.MULTILINE), name


@pytest.mark.parametrize("interpreter", ["named", "by its first line"])
def test_it_runs_with_an_empty_environment(pyz: Path, interpreter: str) -> None:
    """`env -i`: no HOME and no PATH. The first line's python3 is the system's."""
    words = [BASE, str(pyz)] if interpreter == "named" else [str(pyz)]
    done = subprocess.run(["env", "-i", *words, "--version"], capture_output=True, text=True, check=False, cwd="/")
    if interpreter != "named" and "is for CPython" in done.stderr:
        refused(done)
        pytest.skip("the system's Python is of another version, and that was said")
    assert re.fullmatch(r"appliance, version \S+\n", said(done))


def test_from_init_to_keys_and_usage(pyz: Path, place: dict[str, str], tmp_path: Path) -> None:
    env = {**place, "OPENAI_API_KEY": "sk-none"}
    said(run(pyz, "init", "config.toml", cwd=tmp_path, **env))
    assert "Traceback" not in said(run(pyz, "check", cwd=tmp_path, **env))
    said(run(pyz, "tenant", "create", "acme", cwd=tmp_path, **env))
    key = said(run(pyz, "key", "create", "--tenant", "acme", "--id", "ci", cwd=tmp_path, **env))
    assert key.strip()
    listed = said(run(pyz, "key", "list", "--json", cwd=tmp_path, **env))
    assert "ci" in listed
    assert key.strip() not in listed
    assert json.loads(said(run(pyz, "usage", "--json", cwd=tmp_path, **env)))["total"]["requests"] == 0


def test_a_bad_configuration_is_told_as_ever(pyz: Path, place: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[server]\nlisten = 5\n")
    done = run(pyz, "check", cwd=tmp_path, **place)
    assert done.returncode == 78
    assert "listen" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_it_serves_counts_and_drains(pyz: Path, place: dict[str, str], tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    port, admin = free_port(), free_port()
    config = tmp_path / "config.toml"
    config.write_text(f"""
[server]
listen = ["127.0.0.1:{port}"]
[admin]
listen = "127.0.0.1:{admin}"
[store]
path = "{tmp_path}/state/appliance.db"
[backends.sim]
provider = "custom"
base_url = "{simulator.url}/v1"
[[routes]]
name = "all"
targets = [ {{ backend = "sim" }} ]
""")
    (tmp_path / "state").mkdir()
    with running(simulator), started(pyz, "serve", "-c", str(config), log=tmp_path / "log", **place) as gateway:
        body = '{"model":"sim","messages":[{"role":"user","content":"Hello!"}]}'
        answer = eventually(lambda: post(f"http://127.0.0.1:{port}/v1/chat/completions", body), 60)
        assert answer["choices"][0]["finish_reason"] == "stop"
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(60) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
    usage = json.loads(said(run(pyz, "usage", "--by", "model", "--json", "-c", str(config), **place)))
    assert usage["total"]["requests"] == 1


def post(url: str, body: str) -> dict:
    from urllib.request import Request, urlopen

    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    with urlopen(Request(url, data=body.encode(), headers=headers), timeout=30) as answer:
        return json.load(answer)


def test_the_demo_answers_the_line_that_it_prints(pyz: Path, place: dict[str, str], tmp_path: Path) -> None:
    """With curl, as it is printed."""
    log = tmp_path / "log"
    listen = ("--listen", f"127.0.0.1:{free_port()}", "--admin", f"127.0.0.1:{free_port()}")
    with started(pyz, "demo", *listen, log=log, **place) as demo:
        line = eventually(lambda: next(line for line in log.read_text().splitlines() if line.startswith("curl ")), 60)
        done = subprocess.run(shlex.split(line), capture_output=True, text=True, check=False)
        assert "choices" in json.loads(done.stdout), done
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0


@root_only
def test_the_demo_needs_no_network(pyz: Path, place: dict[str, str]) -> None:
    script = Path(__file__).with_name("netless.py")
    done = subprocess.run(
        ["unshare", "--net", sys.executable, str(script), BASE, str(pyz)], env=BARE | place, capture_output=True, text=True, cwd="/",
        check=False,
    )  # fmt: skip
    if "unshare" in done.stderr:
        pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
    assert re.fullmatch(r"200 .+\nended 0\n", done.stdout, re.DOTALL), done


@root_only
def test_another_user_serves_from_it(pyz: Path, open_folder: Path) -> None:
    """The way from nothing to a key, in a folder of that user's, with a home that is read-only."""
    copy, state = open_folder / "appliance.pyz", open_folder / "state"
    copy.write_bytes(pyz.read_bytes())
    state.mkdir()
    os.chown(state, 65534, 65534)
    (open_folder / "home").mkdir(mode=0o555)
    env = BARE | {"HOME": str(open_folder / "home"), "CACHE_DIRECTORY": str(state / "cache"), "OPENAI_API_KEY": "sk-none"}
    python = python_for_all()
    for words in (("init", "config.toml"), ("check",), ("tenant", "create", "acme"), ("key", "create", "--tenant", "acme")):
        said(subprocess.run([*as_nobody(), python, str(copy), *words], env=env, cwd=state, capture_output=True, text=True, check=False))


def test_packages_of_the_machine_are_not_used(pyz: Path, place: dict[str, str], tmp_path: Path) -> None:
    """Not those of the interpreter's own site-packages, of PYTHONPATH, or of the working folder."""
    for name in ("trio", "click", "appliance", "orjson"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')\n")
    done = run(pyz, "version", python=sys.executable, cwd=tmp_path, **place, PYTHONPATH=str(tmp_path))
    assert "commit" in said(done)


def test_a_file_that_is_replaced_while_it_runs_does_not_disturb_what_runs(pyz: Path, place: dict[str, str], tmp_path: Path) -> None:
    """Commands and languages are imported late; they come from the folder, not from the file."""
    copy = tmp_path / "appliance.pyz"
    copy.write_bytes(pyz.read_bytes())
    port = free_port()
    with started(copy, "simulate", "--listen", f"127.0.0.1:{port}", log=tmp_path / "log", **place):
        eventually(lambda: get(f"http://127.0.0.1:{port}/sim/stats"), 60)
        copy.write_bytes(b"another file\n")
        body = '{"model":"sim","max_tokens":20,"messages":[{"role":"user","content":"Hello!"}]}'
        assert post(f"http://127.0.0.1:{port}/v1/messages", body)["role"] == "assistant"


def get(url: str) -> bytes:
    from urllib.request import urlopen

    with urlopen(url, timeout=30) as answer:
        return bytes(answer.read())
