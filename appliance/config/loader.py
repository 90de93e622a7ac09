"""The way from files to a configuration: read, merge, structure, check.

One rule: the answer is `Loaded` or `Problems` with everything that is wrong at once; whatever is in the files, nothing raises.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from appliance.config.document import Document, ReadFile, merge, parse, read_bounded, read_fragments
from appliance.config.places import placed
from appliance.config.problem import Finding, Problem, Steps, nearest, quoted
from appliance.config.rules import Scene, check
from appliance.config.schema import Config
from appliance.config.secret_source import SecretSource
from appliance.config.structure import strict_converter, structure

PATH_VARIABLE = "APPLIANCE_CONFIG"
TEXT_VARIABLE = "APPLIANCE_CONFIG_TOML"
"""The whole configuration as text, for platforms that give a process variables and no files."""
SEARCH = ("config.toml", "/etc/appliance/config.toml")


@attrs.frozen
class Loaded:
    """A configuration that may be used.

    `files` in the order they were merged; `provenance` says for every path written in them whose value counts; `warnings` are doubts
    that do not keep it from running; `folder` is what relative paths were relative to.
    """

    config: Config
    files: tuple[str, ...]
    provenance: Mapping[Steps, str] = attrs.field(repr=False)
    warnings: tuple[Problem, ...]
    folder: str


@attrs.frozen
class Problems:
    """Everything that is wrong; never empty. Warnings are given too, for they may explain."""

    problems: tuple[Problem, ...]
    files: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.problems)

    def __len__(self) -> int:
        return len(self.problems)


def load(
    path: str | Path, *, env: Mapping[str, str], providers: Mapping[str, str], read_file: ReadFile = read_bounded
) -> Loaded | Problems:
    """The file at `path` with the `conf.d/*.toml` beside it.

    `providers` maps each known provider's name to its base URL, empty where a backend must give its own.
    """
    path = Path(path)
    fragments, problems = read_fragments(path, read_file)
    if problems:
        return Problems(tuple(problems), tuple(fragment.file for fragment in fragments))
    files = tuple(fragment.file for fragment in fragments)
    folder = path.absolute().parent
    return _judged(merge(fragments), files, env=env, providers=providers, read_file=read_file, folder=folder)


def load_text(
    text: str,
    *,
    env: Mapping[str, str],
    providers: Mapping[str, str],
    read_file: ReadFile = read_bounded,
    file: str = "$" + TEXT_VARIABLE,
    folder: str | Path = ".",
) -> Loaded | Problems:
    """A configuration given as text; `file` is what problems call it, `folder` what relative paths are relative to."""
    fragment = parse(text.encode(errors="surrogatepass"), file)
    if isinstance(fragment, Problem):
        return Problems((fragment,), (file,))
    folder = Path(folder).absolute()
    return _judged(merge([fragment]), (file,), env=env, providers=providers, read_file=read_file, folder=folder)


def locate(given: str | None, env: Mapping[str, str], exists: Callable[[str], bool] = os.path.exists) -> str | None:
    """Which file to load: `-c`, $APPLIANCE_CONFIG, ./config.toml, /etc/appliance/config.toml; None when there is none.

    The first two are taken at their word, so that a typing mistake is told and not skipped over.
    """
    return given or env.get(PATH_VARIABLE) or next((path for path in SEARCH if exists(path)), None)


def _judged(
    document: Document, files: Sequence[str], *, env: Mapping[str, str], providers: Mapping[str, str], read_file: ReadFile, folder: Path
) -> Loaded | Problems:
    structured = structure(document.table, strict_converter(SecretSource(env, read_file, folder).resolve))
    config = placed(structured.config, folder)
    broken = tuple(finding.steps for finding in structured.findings)
    scene = Scene(config=config, providers=providers, read_file=read_file, broken=broken)
    findings = [*structured.findings, *check(scene)]
    problems = _in_order([finding for finding in findings if finding.grave], document.provenance)
    warnings = _in_order([finding for finding in [*findings, *_replacements(document)] if not finding.grave], document.provenance)
    if problems:
        return Problems(problems, tuple(files), warnings)
    return Loaded(config, tuple(files), document.provenance, warnings, str(folder))


def _in_order(findings: list[Finding], provenance: Mapping[Steps, str]) -> tuple[Problem, ...]:
    """In the order of the file, as somebody reads who mends it from top to bottom."""
    order = {steps: place for place, steps in enumerate(provenance)}
    findings.sort(key=lambda finding: order.get(nearest(finding.steps, provenance), -1))
    return tuple(finding.placed(provenance) for finding in findings)


def _replacements(document: Document) -> Iterator[Finding]:
    """Arrays of tables do not merge; losing the routes of the main file to a fragment is worth a word."""
    for steps, before, _ in document.replaced:
        yield Finding(steps, f"replaces the whole array of {quoted(before)}", "arrays do not merge", grave=False)


