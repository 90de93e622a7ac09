"""`python -m observability.dashboards [--runbooks BASE] [--into FOLDER]`: writes every dashboard's JSON."""

import argparse
from pathlib import Path

from observability.dashboards import RUNBOOKS, files

FOLDER = Path(__file__).resolve().parent.parent / "grafana" / "dashboards"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m observability.dashboards", description="Write the Grafana dashboards' JSON.")
    parser.add_argument("--runbooks", default=RUNBOOKS, help="what a runbook link begins with; a panel's runbook is BASE/NAME.md")
    parser.add_argument("--into", type=Path, default=FOLDER, help="the folder to write to")
    asked = parser.parse_args()
    asked.into.mkdir(parents=True, exist_ok=True)
    for name, text in files(asked.runbooks).items():
        (asked.into / name).write_text(text)


main()
