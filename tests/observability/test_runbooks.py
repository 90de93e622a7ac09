"""Every alert has a runbook of four chapters, and what it tells a woken person to type works."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alert_rules import REQUIRED, ROOT, RUNBOOKS, alerts, recorded, tool
from promql_names import selectors
from rig import free_port

from appliance.telemetry.vocabularies import VOCABULARIES

CHAPTERS = ["Meaning", "First look", "Fix", "Test it"]
BOOKS = sorted(RUNBOOKS.glob("*.md"))
FAMILIES = {family.name for families in VOCABULARIES.values() for family in families}
OURS = re.compile(r"^(appliance|curl) ")
BLOCK_S = 120.0
"""For one chapter's commands. The slowest waits 31 s for an answer."""


def chapter(book: Path, name: str) -> str:
    return book.read_text().split(f"\n## {name}\n", 1)[1].split("\n## ", 1)[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    assert [book.stem for book in BOOKS] == sorted(alert["alert"] for alert in alerts())


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_a_runbook_says_what_it_means_where_to_look_what_to_do_and_how_to_try_it(book) -> None:
    text = book.read_text()
    assert text.startswith(f"# {book.stem}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == CHAPTERS
    assert blocks(chapter(book, "First look"), "sh")
    assert blocks(chapter(book, "First look"), "promql")
    assert re.search(r"^- ", chapter(book, "Fix"), re.MULTILINE)
    assert blocks(chapter(book, "Test it"), "sh")[0].startswith(". observability/rehearsal.sh\n")
    for named in re.findall(r"\b(?:LLMGateway|Appliance|Model)[A-Z]\w+", text):
        assert (RUNBOOKS / f"{named}.md").exists(), named


def queries() -> list[tuple[str, str]]:
    return [
        (book.stem, line) for book in BOOKS for block in blocks(chapter(book, "First look"), "promql") for line in block.splitlines()
    ]  # fmt: skip


def test_every_query_asks_for_metrics_that_are_there() -> None:
    for name, query in queries():
        for one in selectors(query):
            base = re.sub(r"_(bucket|sum|count)$", "", one.metric)
            assert one.metric in {"up", *recorded()} or {one.metric, base} & FAMILIES, f"{name}: {one.metric}"


def test_prometheus_understands_every_query(tmp_path) -> None:
    path = tmp_path / "queries.yaml"
    lines = [f"      - record: query:{number}\n        expr: '{query}'\n" for number, (_, query) in enumerate(queries())]
    path.write_text("groups:\n  - name: queries\n    rules:\n" + "".join(lines))
    done = subprocess.run([tool("promtool"), "check", "rules", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a shell in which `observability/rehearsal.sh` has been started, on ports of its own."""
    if not os.environ.get(REQUIRED):
        pytest.skip("takes minutes; make test-observability runs it")
    folder = tmp_path_factory.mktemp("rehearsal")
    program = folder / "appliance"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m appliance "$@"\n')
    program.chmod(0o755)
    ports = {name: str(free_port()) for name in ("GATEWAY_PORT", "ADMIN_PORT", "SIM_PORT")}
    env = {**os.environ, **ports, "APPLIANCE": str(program), "REHEARSAL": str(folder / "run"), "NO_COLOR": "1"}
    try:
        run("look 'appliance_start_time_seconds [1-9]'", env)
        yield env
    finally:
        subprocess.run(["bash", "-c", ". observability/rehearsal.sh; stop_rehearsal"], env=env, cwd=ROOT, timeout=60, check=False)


def run(commands: str, env: dict[str, str], options: str = "-e") -> str:
    script = f". observability/rehearsal.sh\nset {options}\n{commands}"
    done = subprocess.run(["bash", "-c", script], env=env, cwd=ROOT, capture_output=True, text=True, timeout=BLOCK_S)
    assert done.returncode == 0, f"{commands}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_what_a_runbook_says_brings_its_metrics_about(book, rehearsal) -> None:
    """`look` fails where they do not come."""
    (block,) = blocks(chapter(book, "Test it"), "sh")
    if block.split("\n")[1].startswith("promtool"):
        tool("promtool")
    run(block, rehearsal)


def test_what_a_runbook_says_to_look_at_first_can_be_typed(rehearsal) -> None:
    """Every command of ours: none misspelt, none with a wrong option or parameter. 1 is an answer: a backend is down, nothing found."""
    run("ask beta/sim+500; calm", rehearsal)
    request_id = run("curl -s \"$ADMIN/admin/requests?limit=1\" | grep -o '\"request_id\": *\"[^\"]*' | cut -d'\"' -f4", rehearsal).strip()
    assert request_id
    lines = {line for book in BOOKS for block in blocks(chapter(book, "First look"), "sh") for line in block.splitlines()}
    typed = sorted(line for line in lines if OURS.match(line))
    assert len(typed) > 15
    for line in typed:
        command = line.replace("REQUEST_ID", request_id)
        for port, ours in (("9464", "ADMIN_PORT"), ("8080", "GATEWAY_PORT")):
            command = command.replace(f"127.0.0.1:{port}", f"127.0.0.1:{rehearsal[ours]}")
        command = command.replace("curl -s '127", "curl -s --fail-with-body '127")  # readiness may well be a 503
        found = run(f'appliance() {{ "$APPLIANCE" "$@"; }}\n{command} && code=0 || code=$?\necho "code $code"', rehearsal, "+e")
        assert re.search(r"code [01]$", found), f"{line}: {found[-500:]}"
