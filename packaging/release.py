"""`make release`: everything a release is, from a clean commit, in dist/. It publishes nothing: the last lines say what is left to do.

The rule: each step says what it did or why it cannot; nothing is built before every check has passed. `--dry-run` stops there.
"""

import argparse
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "packaging" / "RELEASE_NOTES.md"
VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class Unfit(Exception):
    """Why this commit is no release, in one line with what to do."""


@attrs.frozen
class Release:
    """schema: of the store; before: the schema of the last release, None where there was none; changes: this version's section."""

    version: str
    commit: str
    date: str
    schema: int
    before: int | None
    changes: str


def main() -> None:
    parser = argparse.ArgumentParser(description="Checks, tests and builds a release.")
    parser.add_argument("--dry-run", action="store_true", help="the checks alone, and what would be done")
    parser.add_argument("--tested", action="store_true", help="CI has run the tests of this very commit")
    parser.add_argument("--target", metavar="cp311-x86_64", help="build this one alone, not all")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    asked = parser.parse_args()
    try:
        release = checked()
    except Unfit as unfit:
        sys.exit(f"release: {unfit}")
    steps = [["make", "test"]] if not asked.tested else []
    build = [sys.executable, str(ROOT / "packaging" / "build_zipapp.py"), "--out", str(asked.out)]
    steps.append([*build, *(["--target", asked.target] if asked.target else ["--all"])])
    print(f"release: {release.version} of {release.commit}, store schema {release.schema}")
    for step in steps:
        print("release:", "would run" if asked.dry_run else "runs", " ".join(step), flush=True)
        if not asked.dry_run and subprocess.run(step, cwd=ROOT, check=False).returncode != 0:
            sys.exit(f"release: {step[0]} failed; nothing is released")
    if asked.dry_run:
        print(f"release: would write {asked.out}/RELEASE_NOTES.md")
        return
    notes = asked.out / "RELEASE_NOTES.md"
    notes.write_text(notes_of(release, (asked.out / "SHA256SUMS").read_text()))
    print(f"release: {notes} is written. Left to do: git tag -a v{release.version} -F {notes}; push the tag; publish {asked.out}")


def checked() -> Release:
    """Every check. Raises Unfit with the first that fails."""
    if git("status", "--porcelain").strip():
        raise Unfit("the tree has changes that are not committed: commit them, or put them away (git stash --include-untracked)")
    version, commit, seconds = version_at("HEAD"), git("rev-parse", "--short=12", "HEAD").strip(), git("log", "-1", "--format=%ct")
    number = numbers(version)
    tags = sorted((numbers(tag[1:]), tag) for tag in git("tag", "--list", "v*.*.*").split() if VERSION.fullmatch(tag[1:]))
    if tags and number <= tags[-1][0]:
        raise Unfit(f"{tags[-1][1]} is released: give appliance/__init__.py a version above it")
    changes = section((ROOT / "CHANGELOG.md").read_text(), version)
    before = schema_at(tags[-1][1]) if tags else None
    return Release(version, commit, datetime.fromtimestamp(int(seconds), UTC).date().isoformat(), schema_at("HEAD"), before, changes)


def section(changelog: str, version: str) -> str:
    """What the change log says of a version, which must be its first."""
    heads = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    if not heads or heads[0].strip() != version:
        raise Unfit(f"the first section of CHANGELOG.md is {heads[0] if heads else 'missing'}: write one, `## {version}`, above it")
    text = re.split(r"^## .+$", changelog, flags=re.MULTILINE)[1].strip()
    if not text or "TODO" in text:
        raise Unfit(f"CHANGELOG.md says nothing of {version} yet, or has a TODO")
    return text


def notes_of(release: Release, sums: str) -> str:
    words = "The store's first schema." if release.before is None else (
        "The same as before: going back is possible." if release.before == release.schema
        else f"It was {release.before}: the first start brings the store forward, and older versions refuse it then."
    )  # fmt: skip
    fields = {**attrs.asdict(release), "schema_words": words, "sums": sums.strip()}
    return re.sub(r"\{(version|commit|date|schema|schema_words|changes|sums)\}", lambda found: str(fields[found[1]]), TEMPLATE.read_text())


def version_at(commit: str) -> str:
    found = re.search(r'__version__ = "([^"]+)"', git("show", f"{commit}:appliance/__init__.py"))
    if found is None or not VERSION.fullmatch(found[1]):
        raise Unfit("appliance/__init__.py has no version of three numbers")
    return found[1]


def schema_at(commit: str) -> int:
    """How many migrations the store had there."""
    found = re.search(r"^MIGRATIONS: Final = \((.*?),?\)$", git("show", f"{commit}:appliance/store/schema.py"), re.MULTILINE)
    if found is None:
        raise Unfit(f"the store's migrations at {commit} cannot be counted (appliance/store/schema.py)")
    return len(found[1].split(","))


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unfit(f"git {words[0]}: {done.stderr.strip() or 'failed'}")
    return done.stdout


if __name__ == "__main__":
    main()
