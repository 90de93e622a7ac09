"""A Prometheus of the test's own: the committed rules, one gateway as its target, and questions through its HTTP API."""

import contextlib
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from alert_rules import RULES, tool
from rig import eventually, free_port
from tool_process import started

SCRAPE_S = 0.5
JOB, CLUSTER = "appliance", "test"
READY_S = 60.0
TICK_S = 0.001
"""Prometheus counts in milliseconds, and a float of this size can lie one before the scrape that it was read from."""

Labels = tuple[tuple[str, str], ...]


@attrs.frozen
class Sample:
    """One series of an answer at one moment."""

    labels: Labels
    value: float


@attrs.frozen
class Prometheus:
    """It runs at `url`."""

    url: str

    def get(self, path: str, **query: str | float) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{query}: {error.read().decode()}") from None

    def ask(self, expr: str, at: float) -> list[Sample]:
        """The instant vector (or scalar) of an expression."""
        data = self.get("/api/v1/query", query=expr, time=at)
        if data["resultType"] == "scalar":
            return [Sample((), float(data["result"][1]))]
        return [Sample(labels_of(one["metric"]), float(one["value"][1])) for one in data["result"]]

    def ask_range(self, expr: str, start: float, end: float, step_s: float) -> dict[Labels, list[float]]:
        data = self.get("/api/v1/query_range", query=expr, start=start, end=end, step=step_s)
        return {labels_of(one["metric"]): [float(value) for _, value in one["values"]] for one in data["result"]}

    def table(self, expr: str, at: float) -> dict[Labels, float]:
        return {one.labels: one.value for one in self.ask(expr, at)}

    def scraped_after(self, moment: float) -> float:
        """Waits until two scrapes that began after `moment` are stored, since one may be under way; a moment after the later one."""

        def look() -> float | None:
            times = self.ask(f'timestamp(up{{job="{JOB}"}}) and up == 1', time.time())
            return times[0].value + TICK_S if times and times[0].value >= moment + 2 * SCRAPE_S else None

        return float(eventually(look, READY_S))


def labels_of(metric: dict[str, str]) -> Labels:
    return tuple(sorted(pair for pair in metric.items() if pair[0] != "__name__"))


def is_number(value: float) -> bool:
    return not math.isnan(value) and not math.isinf(value)


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """Scrapes http://`target`/metrics twice a second. The rules are the committed ones, looked at every second in all groups."""
    rules, text = folder / "alerts.yaml", RULES.read_text()
    assert text.count("interval: 30s") == 1
    rules.write_text(text.replace("interval: 30s", "interval: 1s"))
    config = folder / "prometheus.yml"
    every = f"{int(SCRAPE_S * 1000)}ms"
    settings = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": [target], "labels": {"cluster": CLUSTER}}]}],
    }
    config.write_text(json.dumps(settings))  # JSON is YAML
    port, log = free_port(), folder / "prometheus.log"
    arguments = [
        tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with started(arguments, url, log):
        yield Prometheus(url)
