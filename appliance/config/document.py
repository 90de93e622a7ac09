"""From files to one merged TOML document that remembers where each value came from.

One rule: whatever the bytes are, the answer is a document or problems; nothing here raises. Values are not looked at.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from appliance.config.problem import Problem, Steps

ReadFile = Callable[[Path], bytes]
"""Reads a whole file; raises OSError or ValueError (a NUL in the name) when it cannot."""

FILE_MAX_BYTES = 4 * 1024 * 1024
"""One file of the configuration. A thousand tenants with ten keys each make about 2 MB; more is a mistake or an attack."""
DEPTH_MAX = 32
"""Tables and arrays inside each other. The schema needs eight; the bound keeps recursion over the document safe."""
FILES_MAX = 1000
"""Fragments in conf.d."""


@attrs.frozen
class Fragment:
    """One parsed file."""

    file: str
    table: Mapping[str, Any]


@attrs.frozen
class Document:
    """The merged tables; for every path of them the file whose value counts; and the arrays that a later file replaced."""

    table: Mapping[str, Any]
    provenance: Mapping[Steps, str]
    replaced: tuple[tuple[Steps, str, str], ...] = ()


def read_bounded(path: Path) -> bytes:
    """The default reader: a whole file, but never more than a byte beyond the limit, so /dev/zero does no harm."""
    with path.open("rb") as stream:
        return stream.read(FILE_MAX_BYTES + 1)


def read_fragments(path: Path, read_file: ReadFile) -> tuple[list[Fragment], list[Problem]]:
    """The file and the `conf.d/*.toml` beside it, in name order. Hidden files (editors' locks and backups) are left out."""
    names, problems = _beside(path.parent / "conf.d")
    fragments = []
    for each in [path, *names]:
        found = read_fragment(each, read_file)
        if isinstance(found, Fragment):
            fragments.append(found)
        else:
            problems.append(found)
    return fragments, problems


def read_fragment(path: Path, read_file: ReadFile) -> Fragment | Problem:
    try:
        data = read_file(path)
    except (OSError, ValueError) as error:
        return Problem("", f"cannot be read: {reason(error)}", expected="a readable TOML file", file=str(path))
    return parse(data, str(path))


def parse(data: bytes, file: str) -> Fragment | Problem:
    """TOML bytes (UTF-8; a byte-order mark is forgiven) as a table, or the one problem that stopped the parser."""
    if len(data) > FILE_MAX_BYTES:
        return Problem("", f"is longer than {FILE_MAX_BYTES} bytes", file=file)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Problem("", f"is not UTF-8 (byte {error.start})", expected="TOML in UTF-8", file=file)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Problem("", _syntax(str(error), text), expected="valid TOML", file=file)
    except RecursionError:
        return Problem("", "tables or arrays are nested too deeply", expected=f"at most {DEPTH_MAX} levels", file=file)
    except ValueError:  # int() refuses more than 4300 digits; tomllib lets that through as it is
        return Problem("", "holds a number with too many digits", expected="valid TOML", file=file)
    if _deeper_than(table, DEPTH_MAX):
        return Problem("", "tables or arrays are nested too deeply", expected=f"at most {DEPTH_MAX} levels", file=file)
    return Fragment(file, table)


def merge(fragments: Sequence[Fragment]) -> Document:
    """Tables merge key by key; anything else, arrays included, is replaced by the later file."""
    table: dict[str, Any] = {}
    provenance: dict[Steps, str] = {(): fragments[0].file} if fragments else {}
    replaced: list[tuple[Steps, str, str]] = []
    for fragment in fragments:
        _overlay(table, fragment.table, (), fragment.file, provenance, replaced)
    return Document(table, provenance, tuple(replaced))


def reason(error: Exception) -> str:
    """Why a file could not be read, in a few words and without its contents."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return "not a usable file name"


def _overlay(
    into: dict[str, Any],
    source: Mapping[str, Any],
    at: Steps,
    file: str,
    provenance: dict[Steps, str],
    replaced: list[tuple[Steps, str, str]],
) -> None:
    for key, value in source.items():
        steps = (*at, key)
        if isinstance(value, dict):
            if not isinstance(into.get(key), dict):
                _forget(into, key, steps, provenance)
                into[key] = {}
            provenance[steps] = file
            _overlay(into[key], value, steps, file, provenance, replaced)
            continue
        if isinstance(into.get(key), list) and into[key] and isinstance(into[key][0], dict):
            replaced.append((steps, provenance[steps], file))
        _forget(into, key, steps, provenance)
        into[key] = value
        _claim(value, steps, file, provenance)


def _forget(into: dict[str, Any], key: str, steps: Steps, provenance: dict[Steps, str]) -> None:
    if key in into:
        del into[key]
        for known in [known for known in provenance if known[: len(steps)] == steps]:
            del provenance[known]


def _claim(value: Any, steps: Steps, file: str, provenance: dict[Steps, str]) -> None:
    provenance[steps] = file
    if isinstance(value, dict):
        for key, inner in value.items():
            _claim(inner, (*steps, key), file, provenance)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _claim(inner, (*steps, index), file, provenance)


def _deeper_than(table: Mapping[str, Any], levels: int) -> bool:
    level: list[Any] = [table]
    for _ in range(levels):
        inside = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
        level = [inner for inner in inside if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|(end of document))\)$")


def _syntax(message: str, text: str) -> str:
    """`tomllib` gives the place only inside its message; put it in front, where editors and eyes look for it."""
    place = _PLACE.search(message)
    if place is None:
        return f"syntax error: {message}"
    what = message[: place.start()]
    if place[3]:
        end = text.rstrip()
        return f"syntax error at line {end.count(chr(10)) + 1}, column {len(end) - end.rfind(chr(10))} (end of the file): {what}"
    return f"syntax error at line {place[1]}, column {place[2]}: {what}"


def _beside(folder: Path) -> tuple[list[Path], list[Problem]]:
    try:
        names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".toml") and not each.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    except (OSError, ValueError) as error:
        return [], [Problem("", f"cannot be listed: {reason(error)}", expected="a readable folder", file=str(folder))]
    if len(names) > FILES_MAX:
        return [], [Problem("", f"holds {len(names)} files", expected=f"at most {FILES_MAX}", file=str(folder))]
    return [folder / name for name in names], []

