"""Compiles a folder's modules so that a start need not: `compile_modules.py FOLDER`, in a process of its own.

The rule: the same source gives the same bytes. So no file's time is in them (unchecked hashes, PEP 552), no path but the one inside the
folder, and order and hash seed are fixed, since what marshal writes once and refers to later depends on what else is alive.
"""

import py_compile
import sys
from importlib.util import cache_from_source
from pathlib import Path

MODE = py_compile.PycInvalidationMode.UNCHECKED_HASH


def compile_all(folder: Path) -> None:
    for path in sorted(folder.rglob("*.py"), key=str):
        inside = path.relative_to(folder)
        target = folder / cache_from_source(str(inside))
        py_compile.compile(str(path), str(target), dfile=str(inside), doraise=True, invalidation_mode=MODE, optimize=0)


if __name__ == "__main__":
    compile_all(Path(sys.argv[1]))
