"""Whether this Python can run this build, for appliance_start. Old Pythons must be able to read this text: nothing newer than 3.6 here.

The rule: who holds the wrong file learns in one line which one is right.
"""

import os
import sys

import appliance_facts as facts  # written by build_zipapp.py


def misfit() -> str:
    """Why this Python cannot run this build, or nothing. How names of compiled modules end tells the minor version, machine and libc."""
    import _imp

    ending = (_imp.extension_suffixes() or [""])[0]
    if ending == facts.SUFFIX and glibc() >= facts.GLIBC:
        return ""
    libc = "glibc {}.{}".format(*glibc()) if glibc() > (0, 0) else "musl" if "musl" in ending else "another C library"
    return (
        f"this file is for CPython 3.{facts.MINOR} on {facts.MACHINE} with glibc {facts.GLIBC[0]}.{facts.GLIBC[1]} or newer; "
        f"{sys.executable or 'this'} is {sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]} on {os.uname().machine} "
        f"with {libc}. {remedy()}"
    )


def glibc() -> "tuple[int, ...]":
    """(2, 36); (0, 0) where it is another library."""
    try:
        return tuple(int(part) for part in (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[1].split(".")[:2])
    except (ValueError, OSError, IndexError):
        return (0, 0)


def remedy() -> str:
    minor = sys.version_info[1]
    if os.uname().machine != facts.MACHINE or glibc() < facts.GLIBC or minor == facts.MINOR:
        return "Take the file that is named after this machine, or build one here with `make zipapp`"
    other = f", or take the file that has cp3{minor} in its name" if minor in facts.MINORS else ""
    return f"Run it with python3.{facts.MINOR}{other}"
