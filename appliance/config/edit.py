"""`config get` and `config set`: one value by its path, leaving comments, order and layout of the file as they are.

One rule: nothing is written that would not load, or that changes more than was asked; and what is written replaces the file in one step.
"""

import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from itertools import pairwise
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
    """Sets the value at `path` in the file it comes from (`file` itself, or a fragment of its conf.d); a new one in the file that first
    has the table it belongs to.

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
    fragment = _home(steps, fragments)
    target = Path(fragment.file)
    try:
        text = read_file(target).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        return Problems((Problem("", f"cannot be read: {reason(error)}", file=str(target)),))
    return _try_each(around, target, text, fragment, steps, value)


def _home(steps: Steps, fragments: list[Fragment]) -> Fragment:
    """Which file to write to. Of several that have the table of a new key the first: it is the table's own, later ones only change it."""
    merged = merge(fragments)
    there = nearest(steps, merged.provenance)
    if there != steps and isinstance(_at(merged.table, there), dict):
        return next(fragment for fragment in fragments if isinstance(_at(fragment.table, there), dict))
    return next(fragment for fragment in fragments if fragment.file == merged.provenance[there])


def _at(place: Any, steps: Steps) -> Any:
    """What stands at a path; None where nothing does."""
    for step in steps:
        try:
            place = place[step]
        except (KeyError, IndexError, TypeError):
            return None
    return place


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
            yield tomlkit.parse(f"value = {value}\n")["value"]  # with its line's end, which goes where it goes
    except (ValueError, RecursionError, TOMLKitError):
        pass
    yield tomlkit.item(value)


def _edited(text: str, fragment: Fragment, steps: Steps, item: Any) -> bytes | Problem:
    """The file's new bytes. That nothing else changed is proved by parsing them again, since layout-keeping edits are delicate."""
    wanted = _changed(fragment.table, steps, tomlkit.item(item).unwrap(), steps)
    if isinstance(wanted, Problem):
        return wanted
    try:
        document = tomlkit.parse(text)
        _assign(document, steps, item)
        new = tomlkit.dumps(document)
    except (TOMLKitError, ValueError, KeyError, TypeError, IndexError):
        return Problem(written(steps), "cannot be edited in place", "to be changed with an editor", file=fragment.file)
    for data in (spaced(text, new).encode(), new.encode()):
        again = parse(data, fragment.file)
        if isinstance(again, Fragment) and repr(again.table) == repr(wanted):  # repr: NaN differs from itself, 1 is equal to True
            return data
    return Problem(written(steps), "cannot be edited in place without touching other settings", "an editor", file=fragment.file)


def spaced(old: str, new: str) -> str:
    """`new` with an empty line before each table's header, but where `old` had none or a comment stands above, and a line's end at its end.

    It looks at lines alone, so it may take a text's line for a header: who calls parses what comes of it.
    """
    tight = {line for above, line in pairwise(old.splitlines()) if above.strip()}
    lines = new.splitlines()
    kept = lines[:1]
    for above, line in pairwise(lines):
        if line.startswith("[") and above.strip() and not above.startswith("#") and line not in tight:
            kept.append("")
        kept.append(line)
    return "\n".join(kept) + "\n"


def _changed(table: Any, steps: Steps, value: Any, path: Steps) -> Any:
    """A copy of plain values with one of them set; tables that are missing on the way are made, and an array may get one more element.

    Of `path`, the whole one, `steps` are what is left to go.
    """
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, str) and isinstance(table, dict):
        inner = _changed(table.get(step, {} if rest else None), rest, value, path)
        return inner if isinstance(inner, Problem) else {**table, step: inner}
    if isinstance(step, int) and isinstance(table, list) and step < len(table):
        inner = _changed(table[step], rest, value, path)
        return inner if isinstance(inner, Problem) else [*table[:step], inner, *table[step + 1 :]]
    if isinstance(step, int) and isinstance(table, list) and step == len(table) and not rest:
        return [*table, value]
    at = path[: len(path) - len(rest)]
    if isinstance(step, int) and isinstance(table, list | dict):
        told = f"is not there: {written(at[:-1])} has {len(table)}, counted from 0"
        return Problem(written(at), told, "one that is there, or the next one as a whole")
    return Problem(written(at), "has nowhere to go", "a table above a key, or an element that is there above an index")


def _assign(document: Any, steps: Steps, item: Any) -> None:
    place, last = document, steps[-1]
    for index, step in enumerate(steps[:-1]):
        if isinstance(step, str) and step not in place:
            inside = isinstance(place, tomlkit.items.InlineTable)
            place[step] = tomlkit.inline_table() if inside else tomlkit.table(is_super_table=index < len(steps) - 2)
        place = place[step]
    if isinstance(last, int) and last == len(place):
        if isinstance(place, tomlkit.items.AoT):  # its elements have headers of their own
            table = tomlkit.table()
            table.update(item)
            place.append(table)
        else:
            place.append(item)
    else:
        place[last] = item


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
