"""`config get` and `config set`: one value by its path, leaving comments, order and layout of the file as they are.

One rule: nothing is written that would not load, or that changes more than was asked; and what is written replaces the file in one step.
"""

import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import tomlkit
from tomlkit.exceptions import TOMLKitError

from appliance.config.document import Fragment, ReadFile, merge, parse, read_bounded, read_fragments, reason
from appliance.config.loader import Loaded, Problems, load
from appliance.config.masked import masked_dict
from appliance.config.problem import Problem, Steps, meant, nearest, quoted, written


@attrs.frozen
class Edited:
    """Done: which file was written, and what `load` still doubts or complained of before."""

    file: str
    remarks: tuple[Problem, ...] = ()


@attrs.frozen
class _Surroundings:
    path: Path
    env: Mapping[str, str] = attrs.field(repr=False)
    providers: Mapping[str, str]
    read_file: ReadFile

    def loaded(self, replacing: Path | None = None, data: bytes = b"") -> Loaded | Problems:
        """The configuration as it is, or as it would be with one file's contents replaced."""

        def read(path: Path) -> bytes:
            return data if path == replacing else self.read_file(path)

        return load(self.path, env=self.env, providers=self.providers, read_file=read)


def get_value(loaded: Loaded, path: str) -> Any | Problem:
    """The value in force at a path, defaults included, JSON-ready and with secrets masked."""
    steps = parse_path(path)
    if isinstance(steps, Problem):
        return steps
    place: Any = masked_dict(loaded.config)
    for index, step in enumerate(steps):
        keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place))) if isinstance(place, list) else []
        if step not in keys:
            return Problem(written(steps[: index + 1]), "is not there", hint=meant(step, keys) if isinstance(step, str) else "")
        place = place[step]
    return place


def set_value(
    file: str | Path, path: str, value: str, *, env: Mapping[str, str], providers: Mapping[str, str], read_file: ReadFile = read_bounded
) -> Edited | Problems:
    """Sets the value at `path` in the file it comes from (`file` itself, or a fragment of its conf.d).

    `value` is TOML (`30`, `true`, `["a"]`, `{ env = "X" }`); what is no TOML value, or not of the wanted type, is taken as a string.
    Problems that were there before do not stop it, for they may be what is being mended one by one.
    """
    around = _Surroundings(Path(file), env, providers, read_file)
    steps = parse_path(path)
    if isinstance(steps, Problem):
        return Problems((steps,))
    fragments, unreadable = read_fragments(around.path, read_file)
    if unreadable:
        return Problems(tuple(unreadable))
    document = merge(fragments)
    target = Path(document.provenance[nearest(steps, document.provenance)])
    fragment = next(fragment for fragment in fragments if fragment.file == str(target))
    try:
        text = read_file(target).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        return Problems((Problem("", f"cannot be read: {reason(error)}", file=str(target)),))
    return _try_each(around, target, text, fragment, steps, value)


def _try_each(around: _Surroundings, target: Path, text: str, fragment: Fragment, steps: Steps, value: str) -> Edited | Problems:
    before = around.loaded()
    known = set(before.problems) if isinstance(before, Problems) else set()
    refused: Problems | None = None
    for item in _readings(value):
        data = _edited(text, fragment, steps, item)
        if isinstance(data, Problem):
            refused = refused or Problems((data,))
            continue
        after = around.loaded(target, data)
        new = tuple(problem for problem in after if problem not in known) if isinstance(after, Problems) else ()
        if new:
            refused = refused or Problems(new, after.files)
            continue
        failure = replace_file(target, data)
        if failure:
            return Problems((Problem(written(steps), failure, file=str(target)),))
        return Edited(str(target), (*(after.problems if isinstance(after, Problems) else ()), *after.warnings))
    return refused or Problems((Problem(written(steps), "cannot be set"),))


def _readings(value: str) -> Iterator[Any]:
    """What was typed as a TOML value, where it is one, and as a string."""
    try:
        if list(tomllib.loads(f"value = {value}")) == ["value"]:
            yield tomlkit.parse(f"value = {value}")["value"]
    except (ValueError, RecursionError, TOMLKitError):
        pass
    yield tomlkit.item(value)


def _edited(text: str, fragment: Fragment, steps: Steps, item: Any) -> bytes | Problem:
    """The file's new bytes. That nothing else changed is proved by parsing them again, since layout-keeping edits are delicate."""
    wanted = _changed(fragment.table, steps, tomlkit.item(item).unwrap())
    if isinstance(wanted, Problem):
        return wanted
    try:
        document = tomlkit.parse(text)
        _assign(document, steps, item)
        data = tomlkit.dumps(document).encode()
    except (TOMLKitError, ValueError, KeyError, TypeError, IndexError):
        return Problem(written(steps), "cannot be edited in place", "to be changed with an editor", file=fragment.file)
    again = parse(data, fragment.file)
    if isinstance(again, Problem) or repr(again.table) != repr(wanted):  # repr: NaN differs from itself, 1 is equal to True
        return Problem(written(steps), "cannot be edited in place without touching other settings", "an editor", file=fragment.file)
    return data


def _changed(table: Any, steps: Steps, value: Any) -> Any:
    """A copy of plain values with one of them set; tables that are missing on the way are made."""
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, str) and isinstance(table, dict):
        inner = _changed(table.get(step, {} if rest else None), rest, value)
        return inner if isinstance(inner, Problem) else {**table, step: inner}
    if isinstance(step, int) and isinstance(table, list) and step < len(table):
        inner = _changed(table[step], rest, value)
        return inner if isinstance(inner, Problem) else [*table[:step], inner, *table[step + 1 :]]
    return Problem(written(steps), "has nowhere to go", "a table above a key, or an element that is there above an index")


def _assign(document: Any, steps: Steps, item: Any) -> None:
    place = document
    for index, step in enumerate(steps[:-1]):
        if isinstance(step, str) and step not in place:
            last = index == len(steps) - 2
            inside = isinstance(place, tomlkit.items.InlineTable)
            place[step] = tomlkit.inline_table() if inside else tomlkit.table(is_super_table=not last)
        place = place[step]
    place[steps[-1]] = item


_STEP = re.compile(r"""\.?(?P<bare>[A-Za-z0-9_-]+)|\.?(?P<quoted>"(?:[^"\\]|\\.)*"|'[^']*')|\[(?P<index>[0-9]{1,6})\]""")


def parse_path(text: str) -> Steps | Problem:
    """`routes[2].targets[0].backend`, `prices.models."my.model"`: TOML's dotted keys, and indices from 0."""
    wrong = Problem("", f"{quoted(text)} is no path", 'like routes[0].retry.attempts or prices.models."my.model"')
    steps: list[str | int] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or (found["index"] is None and (found[0].startswith(".") == (not steps))):
            return wrong
        if found["index"] is not None:
            steps.append(int(found["index"]))
        elif found["bare"] is not None:
            steps.append(found["bare"])
        else:
            try:
                steps.extend(tomllib.loads(f"{found['quoted']} = 1"))
            except tomllib.TOMLDecodeError:
                return wrong
        at = found.end()
    return tuple(steps) if steps and isinstance(steps[0], str) else wrong


def replace_file(path: Path, data: bytes) -> str | None:
    """Writes beside the file and renames over it, keeping mode and owner; a crash leaves the old or the new one, whole.

    A symbolic link is followed, so that it stays one. None when done, else why not (the file is then as it was).
    """
    temporary = ""
    try:
        real = path.resolve(strict=True)
        status = real.stat()
        descriptor, temporary = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        with os.fdopen(descriptor, "wb") as stream:
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(stream.fileno(), status.st_uid, status.st_gid)
            os.fchmod(stream.fileno(), status.st_mode & 0o7777)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, real)
    except (OSError, ValueError) as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        return f"cannot be written: {reason(error)}"
    return None
