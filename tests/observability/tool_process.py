"""One of Prometheus' own programs, run as the stack runs it: on ports that the kernel chose, with a log, ended in any case."""

import contextlib
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from rig import eventually


@attrs.frozen
class Running:
    """A program that answers at `url`."""

    url: str
    log: Path
    pid: int

    def get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.load(answer)

    def ask(self, expr: str) -> list[dict[str, Any]]:
        """The instant vector that Prometheus has for an expression."""
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=expr)["data"]["result"]
        return found

    def value(self, expr: str) -> float | None:
        """The value of the only series of an expression; None where there is none."""
        series = self.ask(expr)
        assert len(series) <= 1, series
        return float(series[0]["value"][1]) if series else None


@contextlib.contextmanager
def started(arguments: list[str], url: str, log: Path, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Start it, wait until it says that it is ready, and end it."""
    with log.open("wb") as sink, subprocess.Popen(arguments, stdout=sink, stderr=subprocess.STDOUT, env=env) as process:
        try:
            eventually(lambda: _ready(process, url, log), 60.0)
            yield Running(url, log, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _ready(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"it ended with {process.returncode}: {log.read_text()[-2000:]}")
    with urllib.request.urlopen(url + "/-/ready", timeout=5) as answer:
        return bool(answer.status == 200)
