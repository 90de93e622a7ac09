"""`python -m observability.kubernetes [FOLDER]`: writes the manifests that are made."""

import argparse
from pathlib import Path

from observability.kubernetes import manifests


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m observability.kubernetes", description="Write the Kubernetes manifests.")
    parser.add_argument("into", type=Path, nargs="?", default=Path(__file__).resolve().parent, help="the folder to write to")
    into: Path = parser.parse_args().into
    into.mkdir(parents=True, exist_ok=True)
    for name, text in manifests().items():
        (into / name).write_text(text)


main()
