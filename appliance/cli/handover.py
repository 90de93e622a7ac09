"""Giving up root: state folders go to the user that the program will be, and then there is no way back.

The rule: as root it touches the folders that were named and nothing else, follows no link and crosses no mount, since whoever owns
them may have laid either; what is left as it was is told. Most platforms mount volumes that are root's, and no image can change that.
"""

import ctypes
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from appliance.cli.exits import Stop

ENTRIES_MAX = 10_000
"""A state folder holds a dozen files; far more is another folder, named by mistake."""
DEPTH_MAX = 8
TOLD_MAX = 10
PR_SET_NO_NEW_PRIVS = 38
"""prctl(2): no program that is started later gains anything by being setuid or having capabilities."""


@attrs.frozen
class User:
    uid: int
    gid: int


def hand_over(folder: Path, user: User) -> list[str]:
    """Makes the folder and all in it the user's, itself last, so that one that is the user's already is left alone at the next start.

    Returns what was left as it was, in words. Raises Stop where the folder cannot be handed over.
    """
    try:
        if _owner(os.lstat(folder)) == user:  # also where root may not even look into it (without the capability DAC_OVERRIDE)
            return []
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Stop(f"{folder} is not there: mount a volume there, or take away --own {folder}") from None
    except OSError as error:
        raise Stop(f"{folder} cannot be handed over to uid {user.uid}: {error.strerror}") from None
    left: list[str] = []
    try:
        _hand_over(fd, folder, user, _Walk(os.fstat(fd).st_dev), 0, left)
    except OSError as error:
        hint = "it needs the capability CHOWN, or a volume that belongs to that user"
        raise Stop(f"{error.filename or folder} cannot be handed over to uid {user.uid} ({error.strerror}): {hint}") from None
    finally:
        os.close(fd)
    return left[:TOLD_MAX] + ([f"and {len(left) - TOLD_MAX} more"] if len(left) > TOLD_MAX else [])


def become(user: User) -> None:
    """This process is the user's from now on: no other groups, no capabilities, and nothing that gives any back."""
    try:
        os.setgroups([])
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        hint = "the container needs the capabilities SETUID and SETGID, or start it as that user (--user)"
        raise Stop(f"root cannot become uid {user.uid} ({error.strerror}): {hint}") from None
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise Stop(f"new privileges cannot be ruled out: {os.strerror(ctypes.get_errno())}")
    try:
        os.setuid(0)
    except OSError:
        return
    raise Stop("this process can become root again: start it without SECBIT_KEEP_CAPS and the like")


def unwritable(folders: Sequence[Path]) -> Iterator[str]:
    """Of each folder that this process cannot write to, who it is and whose the folder is."""
    for folder in folders:
        if not os.access(folder, os.W_OK | os.X_OK):
            whose = f"belongs to uid {folder.stat().st_uid}" if folder.exists() else "is not there"
            yield f"{folder} {whose}, and uid {os.geteuid()} cannot write to it: mount it for that user, or start the container as root"


@attrs.define
class _Walk:
    device: int
    seen: int = 0


def _hand_over(fd: int, path: Path, user: User, walk: _Walk, depth: int, left: list[str]) -> None:
    with os.scandir(fd) as entries:
        for entry in entries:
            walk.seen += 1
            if walk.seen > ENTRIES_MAX or depth >= DEPTH_MAX:
                raise Stop(f"{path} holds more than {ENTRIES_MAX} files, or folders deeper than {DEPTH_MAX}: is it the state's folder?")
            found, where = entry.stat(follow_symlinks=False), path / entry.name
            if _owner(found) == user:
                continue
            if stat.S_ISDIR(found.st_mode) and found.st_dev == walk.device:
                inner = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                try:
                    _hand_over(inner, where, user, walk, depth + 1, left)
                finally:
                    os.close(inner)
            elif stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                os.chown(entry.name, user.uid, user.gid, dir_fd=fd, follow_symlinks=False)
            else:
                left.append(f"{where} is a link, a mount or no plain file: left with uid {found.st_uid}")
    os.fchown(fd, user.uid, user.gid)


def _owner(found: os.stat_result) -> User:
    return User(found.st_uid, found.st_gid)
