"""What `check` prints: every problem with its place and its remedy, or a short account of a sound configuration.

One rule: pure text, no colours, no printing; the same text serves the terminal, the start-up log and SIGHUP's.
"""

from collections.abc import Iterator, Sequence
from textwrap import indent, wrap
from typing import Any

from appliance.config.loader import TEXT_VARIABLE, Loaded, Problems
from appliance.config.masked import masked
from appliance.config.problem import Problem, Steps, quoted, written
from appliance.config.secret import MASK

EXIT_SOUND = 0
EXIT_UNSOUND = 78
"""EX_CONFIG of sysexits.h, which systemd's RestartPreventExitStatus= can name."""
WIDTH = 118


def check_text(found: Loaded | Problems, *, verbose: bool = False) -> tuple[str, int]:
    """The text and the exit status. `verbose` adds which file each value came from."""
    if isinstance(found, Problems):
        return "\n".join(_unsound(found)) + "\n", EXIT_UNSOUND
    return "\n".join(_sound(found, verbose)) + "\n", EXIT_SOUND


def problem_text(problem: Problem, *, with_file: bool = True) -> str:
    """One problem on one line, for a log."""
    parts = [f"{problem.path} {problem.message}" if problem.path else problem.message]
    parts += [f"expected {problem.expected}"] if problem.expected else []
    parts += [problem.hint] if problem.hint else []
    line = "; ".join(parts)
    return f"{problem.file}: {line}" if with_file and problem.file else line


def _unsound(found: Problems) -> Iterator[str]:
    count = len(found.problems)
    yield f"{count} problem{'s' if count > 1 else ''} in the configuration"
    yield from _by_file(found.problems)
    if found.warnings:
        yield ""
        yield "warnings"
        yield from _by_file(found.warnings)


def _by_file(problems: Sequence[Problem]) -> Iterator[str]:
    for file in dict.fromkeys(problem.file for problem in problems):
        yield ""
        yield file or "(no file)"
        for problem in problems:
            if problem.file == file:
                yield from _entry(problem)


def _entry(problem: Problem) -> Iterator[str]:
    yield f"  {problem.path}" if problem.path else "  (the whole file)"
    yield from _paragraph("      ", problem.message)
    if problem.expected:
        yield from _paragraph("      expected  ", problem.expected)
    if problem.hint:
        yield from _paragraph("      hint      ", problem.hint)


def _paragraph(label: str, text: str) -> Iterator[str]:
    lines = wrap(text, WIDTH - len(label), break_long_words=False, break_on_hyphens=False) or [""]
    yield label + lines[0]
    yield from (indent(line, " " * len(label)) for line in lines[1:])


def _sound(found: Loaded, verbose: bool) -> Iterator[str]:
    config = found.config
    yield "configuration is sound"
    alone = f"${TEXT_VARIABLE} (all of it; no conf.d is read)" if found.files == (f"${TEXT_VARIABLE}",) else ""
    yield "  files      " + (alone or ", ".join(found.files) or "none, all defaults")
    yield "  listeners  " + ", ".join(listener.address for listener in config.server.listen) + f"; admin {config.admin.listen}"
    yield "  " + ", ".join(
        [
            _count(len(config.backends), "backend"),
            _count(len(config.routes), "route"),
            _count(len(config.tenants), "tenant"),
            _count(sum(len(tenant.keys) for tenant in config.tenants.values()), "key"),
        ]
    )
    if found.warnings:
        yield _count(len(found.warnings), "warning")
        yield from _by_file(found.warnings)
    if verbose:
        yield ""
        yield from _origins(found)


def _origins(found: Loaded) -> Iterator[str]:
    """Every value that was written, and its file. Secrets are masked, for they are read from the configuration and not from the file."""
    dumped = masked(found.config)
    rows = []
    for steps, file in found.provenance.items():
        value = _at(dumped, steps)
        if isinstance(value, dict) and (*steps, "address") not in found.provenance:
            value = value.get("address", value)  # a listener written as a string
        if steps and not isinstance(value, dict | list):
            rows.append((written(steps), quoted(value) if isinstance(value, str) and value != MASK else str(value), file))
    paths = max((len(path) for path, _, _ in rows), default=0)
    values = min(max((len(value) for _, value, _ in rows), default=0), 40)
    for path, value, file in rows:
        yield f"  {path:<{paths}}  {value:<{values}}  {file}"


def _at(dumped: Any, steps: Steps) -> Any:
    for step in steps:
        if isinstance(dumped, str):  # inside a secret's own table, which is shown as a mask
            return {}
        dumped = dumped[step]
    return dumped


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
