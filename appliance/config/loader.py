"""The way from files to a configuration: read, merge, structure, check.

One rule: the answer is `Loaded` or `Problems` with everything that is wrong at once; whatever is in the files, nothing raises.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from appliance.config.address import parse_address
from appliance.config.document import Document, ReadFile, merge, parse, read_bounded, read_fragments
from appliance.config.doors import Listener
from appliance.config.places import placed
from appliance.config.platform import on_port
from appliance.config.problem import Finding, Problem, Refusal, Steps, nearest, quoted
from appliance.config.rules import Scene, check
from appliance.config.rules.scene import Asked, nobody
from appliance.config.schema import Config
from appliance.config.secret import Secret
from appliance.config.secret_source import SecretSource
from appliance.config.structure import strict_converter, structure

PATH_VARIABLE = "APPLIANCE_CONFIG"
TEXT_VARIABLE = "APPLIANCE_CONFIG_TOML"
"""The whole configuration as text, for platforms that give a process variables and no files."""
SOURCES = frozenset(("env", "file", "credential"))
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


@attrs.frozen
class AdminAddress:
    """Where a running gateway is asked, and as whom. `unread` says why a token that is configured cannot be read here."""

    listen: str
    token: Secret | None
    unread: Problem | None = None


@attrs.frozen
class _Source:
    """What was read, and the folder that relative paths in it are relative to."""

    document: Document
    files: tuple[str, ...]
    folder: Path


def load(
    path: str | Path, *, env: Mapping[str, str], providers: Mapping[str, str], read_file: ReadFile = read_bounded,
    stored_tenants: Asked = nobody,
) -> Loaded | Problems:  # fmt: skip
    """The file at `path` with the `conf.d/*.toml` beside it.

    `providers` maps each known provider's name to its base URL, empty where a backend must give its own. `stored_tenants` says whether the
    store at a path has any.
    """
    source = _read(path, read_file)
    if isinstance(source, Problems):
        return source
    return _judged(source, env=env, providers=providers, read_file=read_file, stored_tenants=stored_tenants)


def load_text(
    text: str,
    *,
    env: Mapping[str, str],
    providers: Mapping[str, str],
    read_file: ReadFile = read_bounded,
    file: str = "$" + TEXT_VARIABLE,
    folder: str | Path = ".",
    stored_tenants: Asked = nobody,
) -> Loaded | Problems:
    """A configuration given as text; `file` is what problems call it, `folder` what relative paths are relative to."""
    source = _read_text(text, file, folder)
    if isinstance(source, Problems):
        return source
    return _judged(source, env=env, providers=providers, read_file=read_file, stored_tenants=stored_tenants)


def locate(given: str | None, env: Mapping[str, str], exists: Callable[[str], bool] = os.path.exists) -> str | None:
    """Which file to load: `-c`, $APPLIANCE_CONFIG, ./config.toml, /etc/appliance/config.toml; None when there is none.

    The first two are taken at their word, so that a typing mistake is told and not skipped over.
    """
    return given or env.get(PATH_VARIABLE) or next((path for path in SEARCH if exists(path)), None)


def load_admin(path: str | Path, *, env: Mapping[str, str], read_file: ReadFile = read_bounded) -> AdminAddress | Problems:
    """Where the gateway that runs with this file is asked. Of the file and its `conf.d` only admin.listen and admin.token are looked at,
    so that an operator's shell needs no backend's secret.
    """
    source = _read(path, read_file)
    return source if isinstance(source, Problems) else _admin_of(source, env, read_file)


def load_admin_text(text: str, *, env: Mapping[str, str], read_file: ReadFile = read_bounded) -> AdminAddress | Problems:
    """As `load_admin`, of a configuration given as text."""
    source = _read_text(text, "$" + TEXT_VARIABLE, ".")
    return source if isinstance(source, Problems) else _admin_of(source, env, read_file)


def load_listeners(path: str | Path | None, text: str, *, env: Mapping[str, str]) -> tuple[Listener, ...] | Problems:
    """The addresses that the gateway serves by this file, or by this text where there is no file. Nothing else in it has to be sound."""
    source = _read_text(text, "$" + TEXT_VARIABLE, ".") if path is None else _read(path, read_bounded)
    if isinstance(source, Problems):
        return source
    document = on_port(source.document, env)
    server = document.table.get("server", {})
    table = {"listen": server["listen"]} if isinstance(server, dict) and "listen" in server else {}
    structured = structure({"server": table}, strict_converter(SecretSource(env, read_bounded, source.folder).resolve))
    if structured.findings:
        return Problems(_in_order(list(structured.findings), document.provenance), source.files)
    return structured.config.server.listen


def load_to_show(
    path: str | Path, *, env: Mapping[str, str], providers: Mapping[str, str], read_file: ReadFile = read_bounded,
    stored_tenants: Asked = nobody,
) -> Loaded | Problems:  # fmt: skip
    """As `load`, for showing only, never for serving: a secret whose source cannot be read here may stay unread.

    It shows as the same mask either way. With one unread, only the structure is checked, for the rules would judge the stand-in.
    """
    source = _read(path, read_file)
    if isinstance(source, Problems):
        return source
    return _shown(source, env=env, providers=providers, read_file=read_file, stored_tenants=stored_tenants)


def load_text_to_show(
    text: str, *, env: Mapping[str, str], providers: Mapping[str, str], read_file: ReadFile = read_bounded,
    stored_tenants: Asked = nobody,
) -> Loaded | Problems:  # fmt: skip
    """As `load_to_show`, of a configuration given as text."""
    source = _read_text(text, "$" + TEXT_VARIABLE, ".")
    if isinstance(source, Problems):
        return source
    return _shown(source, env=env, providers=providers, read_file=read_file, stored_tenants=stored_tenants)


def _read(path: str | Path, read_file: ReadFile) -> _Source | Problems:
    path = Path(path)
    fragments, problems = read_fragments(path, read_file)
    files = tuple(fragment.file for fragment in fragments)
    return Problems(tuple(problems), files) if problems else _Source(merge(fragments), files, path.absolute().parent)


def _read_text(text: str, file: str, folder: str | Path) -> _Source | Problems:
    fragment = parse(text.encode(errors="surrogatepass"), file)
    if isinstance(fragment, Problem):
        return Problems((fragment,), (file,))
    return _Source(merge([fragment]), (file,), Path(folder).absolute())


def _judged(
    source: _Source, *, env: Mapping[str, str], providers: Mapping[str, str], read_file: ReadFile, stored_tenants: Asked
) -> Loaded | Problems:
    document = on_port(source.document, env)
    structured = structure(document.table, strict_converter(SecretSource(env, read_file, source.folder).resolve))
    config = placed(structured.config, source.folder)
    broken = tuple(finding.steps for finding in structured.findings)
    scene = Scene(config=config, providers=providers, read_file=read_file, broken=broken, stored_tenants=stored_tenants)
    findings = [*structured.findings, *check(scene)]
    problems = _in_order([finding for finding in findings if finding.grave], document.provenance)
    warnings = _in_order([finding for finding in [*findings, *_replacements(document)] if not finding.grave], document.provenance)
    if problems:
        return Problems(problems, source.files, warnings)
    return Loaded(config, source.files, document.provenance, warnings, str(source.folder))


def _shown(
    source: _Source, *, env: Mapping[str, str], providers: Mapping[str, str], read_file: ReadFile, stored_tenants: Asked
) -> Loaded | Problems:
    secrets = SecretSource(env, read_file, source.folder)
    unread: list[Refusal] = []

    def resolve(value: Any) -> Secret:
        try:
            return secrets.resolve(value)
        except Refusal as refusal:
            if not _names_a_source(value):
                raise
            unread.append(refusal)
            return Secret("unread")

    document = on_port(source.document, env)
    structured = structure(document.table, strict_converter(resolve))
    if not unread:
        return _judged(source, env=env, providers=providers, read_file=read_file, stored_tenants=stored_tenants)
    if structured.findings:
        return Problems(_in_order(list(structured.findings), document.provenance), source.files)
    config = placed(structured.config, source.folder)
    return Loaded(config, source.files, document.provenance, (), str(source.folder))


def _names_a_source(value: Any) -> bool:
    """Whether this secret is written as it should be, so that only its source can be at fault."""
    return isinstance(value, dict) and len(value) == 1 and all(key in SOURCES and isinstance(at, str) and at for key, at in value.items())


def _admin_of(source: _Source, env: Mapping[str, str], read_file: ReadFile) -> AdminAddress | Problems:
    admin = source.document.table.get("admin", {})
    table = {key: admin[key] for key in ("listen", "token") if key in admin} if isinstance(admin, dict) else admin
    structured = structure({"admin": table}, strict_converter(SecretSource(env, read_file, source.folder).resolve))
    findings = list(structured.findings)
    address = parse_address(structured.config.admin.listen)
    if isinstance(address, str) and not findings:
        findings.append(Finding(("admin", "listen"), address))
    problems = _in_order(findings, source.document.provenance)
    if isinstance(admin, dict) and _names_a_source(admin.get("token")) and [problem.path for problem in problems] == ["admin.token"]:
        return AdminAddress(structured.config.admin.listen, None, problems[0])
    return Problems(problems, source.files) if problems else AdminAddress(structured.config.admin.listen, structured.config.admin.token)


def _in_order(findings: list[Finding], provenance: Mapping[Steps, str]) -> tuple[Problem, ...]:
    """In the order of the file, as somebody reads who mends it from top to bottom."""
    order = {steps: place for place, steps in enumerate(provenance)}
    findings.sort(key=lambda finding: order.get(nearest(finding.steps, provenance), -1))
    return tuple(finding.placed(provenance) for finding in findings)


def _replacements(document: Document) -> Iterator[Finding]:
    """Arrays of tables do not merge; losing the routes of the main file to a fragment is worth a word."""
    for steps, before, _ in document.replaced:
        yield Finding(steps, f"replaces the whole array of {quoted(before)}", "arrays do not merge", grave=False)
