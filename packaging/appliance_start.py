"""What runs first in appliance.pyz: says whether this Python can run the file, unpacks it once, and hands over to `appliance.cli`.

The rule: nothing is imported from a folder that is not ours, not whole, or not this very build; and whatever is in the way is said in one
line (exit 78). Old Pythons must be able to read this text, since it is what tells them that they are too old: nothing newer than 3.6 here.

Shiv packs the archive; this starts in place of shiv's own bootstrap (which stays in there, unused), because that one

- goes on with what a killed unpacking left behind and never looks at a folder again: a power cut, or a cleaner of old temporary files,
  leaves a build that fails for ever;
- makes its folder as the umask says, in a home that must exist and be writable, and takes a folder that somebody else made;
- answers a wrong interpreter with a traceback, or half starts: compiled modules fit one minor version, machine and C library;
- keeps old builds for ever, and cannot know which are in use.

A folder is named after the digest of what it holds, so two versions never meet. It is filled beside its place, under a lock, and renamed
into it: kill -9 leaves only what is not in its place. Each process holds a shared lock on the folder that it runs from, which the clean-up
of old builds heeds, and systemd-tmpfiles too. A power cut may leave a folder with empty files: the first start after a boot compares every
file with the archive, and so does each start from a temporary folder, where others remove old files.
"""

import contextlib
import errno
import fcntl
import os
import stat
import sys
import time

import appliance_facts as facts  # written by build_zipapp.py
from appliance_fit import misfit

CONFIG = 78  # as in appliance.cli.exits
OLD_BUILDS_MAX = 3
"""Builds kept beside the one that runs: enough to go back, few enough for a small disk."""
LOCK_WAIT_S = 60.0
"""How long one start waits for another that unpacks; a disk that takes longer for 30 MB serves no gateway."""
LOCK_POLL_S = 0.02
OVERFLOW_UID = 65534
"""Who owns the system's folders when seen from a user namespace in which their owner is unknown."""
BOOT = "/proc/sys/kernel/random/boot_id"
MARK = "whole-since-boot"
PART = ".part-"
INSIDE = "site-packages"
ARCHIVE = os.path.dirname(__file__)


class Unfit(Exception):
    """A place that cannot be used, and why."""


def main() -> None:
    wrong = misfit()
    if wrong:
        refuse(wrong)
    folder, held = unpacked()
    sys.path[:] = [os.path.join(folder, INSIDE)] + [one for one in sys.path if is_standard(one)]
    from appliance.cli import main as command_line

    try:
        command_line()
    finally:
        os.close(held)


def refuse(line: str) -> None:
    sys.stderr.write(f"appliance: {line}\n")
    sys.exit(CONFIG)


def is_standard(entry: str) -> bool:
    """Python's own modules, and nobody's packages: what runs is what was built. Nor the archive, which may be replaced while we run."""
    return entry == os.path.dirname(os.__file__) or os.path.basename(entry) in ("lib-dynload", "python{}{}.zip".format(*sys.version_info))


def unpacked() -> "tuple[str, int]":
    """(folder, what holds its lock), of the first place that can be used. APPLIANCE_ROOT alone counts where it is set."""
    named = os.environ.get("APPLIANCE_ROOT")
    reasons = []
    umask = os.umask(0o077)
    try:
        for root, passing in [(named, False)] if named else places():
            try:
                return unpacked_in(root, passing)
            except Unfit as unfit:
                reasons.append(f"{root} {unfit}")
            except OSError as error:
                reasons.append(f"{error.filename or root}: {error.strerror or error}")
    finally:
        os.umask(umask)
    hint = "give APPLIANCE_ROOT a folder that this user can write to" if named else "set APPLIANCE_ROOT to a folder of this user's"
    refuse(f"nowhere to unpack to: {hint} ({'; '.join(reasons)})")
    raise AssertionError("refused")


def places() -> "list[tuple[str, bool]]":
    """(folder, whether others remove old files there), best first: systemd's, the user's, a temporary one."""
    found = []
    given = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if given:
        found.append((given, False))
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # to be ignored, says the specification
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    if os.path.isabs(cache):
        found.append((os.path.join(cache, "appliance"), False))
    for temporary in (os.environ.get("TMPDIR", ""), "/tmp", "/var/tmp"):
        if os.path.isabs(temporary):
            found.append((os.path.join(temporary, f"appliance-{os.geteuid()}"), True))
    return found


def unpacked_in(root: str, passing: bool) -> "tuple[str, int]":
    """root: where builds are. passing: whether files may go missing there.

    Raises:
        Unfit: nothing there can be trusted, or run.
        OSError: it cannot be read, written or locked.
    """
    root = resolved(root, passing)
    inspect_above(root)
    os.makedirs(root, exist_ok=True)
    inspect(root)
    folder = os.path.join(root, f"appliance-{facts.VERSION}-{facts.DIGEST[:16]}")
    held = held_whole(folder, passing)
    if held is not None:
        return folder, held
    lock = locked(os.path.join(root, ".lock"))
    try:
        held = held_whole(folder, passing)  # another start may have filled it meanwhile
        if held is None:
            sweep(root, folder)
            unpack(root, folder)
            held = held_whole(folder, False)
    finally:
        os.close(lock)
    if held is None:
        raise Unfit("was changed while it was unpacked")
    return folder, held


def resolved(root: str, passing: bool) -> str:
    """The folder itself. Raises Unfit where another user's link leads to it: what it leads to may be ours, and no place for builds.

    In a temporary folder its own name is not followed at all, since a link may be put there between this look and the next."""
    above = root = os.path.abspath(root)
    while above != os.path.dirname(above):
        if os.path.islink(above) and os.lstat(above).st_uid not in (0, os.geteuid(), OVERFLOW_UID):
            raise Unfit(f"is reached by another user's link ({above})")
        above = os.path.dirname(above)
    return os.path.join(os.path.realpath(os.path.dirname(root)), os.path.basename(root)) if passing else os.path.realpath(root)


def inspect_above(root: str) -> None:
    """Raises Unfit where somebody else could swap the folder for another."""
    above = root
    while above != os.path.dirname(above):
        above = os.path.dirname(above)
        if os.path.exists(above):
            found = os.stat(above)
            open_to_all = found.st_mode & 0o002 and not found.st_mode & stat.S_ISVTX
            if found.st_uid not in (0, os.geteuid(), OVERFLOW_UID) or open_to_all:
                raise Unfit(f"is in other users' hands ({above})")


def inspect(root: str) -> None:
    """Raises Unfit where somebody else could put code into the folder, or where the system runs no code from it."""
    found = os.lstat(root)
    if not stat.S_ISDIR(found.st_mode):
        raise Unfit("is no folder")
    if found.st_uid not in (0, os.geteuid()):
        raise Unfit("belongs to another user")
    if found.st_mode & 0o022:
        raise Unfit("can be written by other users")
    if os.statvfs(root).f_flag & os.ST_NOEXEC:
        raise Unfit("is mounted noexec")


def locked(path: str) -> int:
    """An exclusive lock; waits LOCK_WAIT_S at most. The kernel takes it back when its holder dies."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                os.close(lock)
                raise
        if time.monotonic() > end:
            os.close(lock)
            raise Unfit(f"has been locked by another start for {LOCK_WAIT_S:.0f} s")
        time.sleep(LOCK_POLL_S)


def held_whole(folder: str, passing: bool) -> "int | None":
    """A shared lock on the folder if it is there, ours and whole."""
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_SH)
        if is_in_place(folder, os.fstat(held)) and is_whole(folder, passing):
            with contextlib.suppress(OSError):
                os.utime(folder)  # when it was last used, for the sweep
            return held
    except BaseException:
        os.close(held)
        raise
    os.close(held)
    return None


def is_in_place(folder: str, found: os.stat_result) -> bool:
    """Whether what was locked is ours and still there: it may have been swept away meanwhile."""
    return found.st_uid in (0, os.geteuid()) and os.path.exists(folder) and os.path.samestat(found, os.stat(folder))


def is_whole(folder: str, passing: bool) -> bool:
    """What was written since the machine started is whole; what was before may have met a power cut."""
    now = boot()
    try:
        with open(os.path.join(folder, MARK)) as mark:
            known = mark.read()
    except OSError:
        return False  # it is in there before the folder is in its place
    if is_prepared(folder) or (known == now and now and not passing):
        return True
    if not is_like_the_archive(folder):
        return False
    with contextlib.suppress(OSError):
        write_mark(folder, now)
    return True


def is_prepared(folder: str) -> bool:
    """What root has unpacked for others, or an image holds, is theirs to look after: we could not mend it."""
    return os.stat(folder).st_uid != os.geteuid() or bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def boot() -> str:
    """This run of the machine; empty where it is not told."""
    try:
        with open(BOOT) as told:
            return told.read()
    except OSError:
        return ""


def write_mark(folder: str, text: str) -> None:
    new = os.path.join(folder, f"{MARK}.{os.getpid()}")
    with open(new, "w") as mark:
        mark.write(text)
    os.replace(new, os.path.join(folder, MARK))


def is_like_the_archive(folder: str) -> bool:
    from zipfile import ZipFile
    from zlib import crc32

    with ZipFile(ARCHIVE) as archive:
        for entry in archive.infolist():
            if entry.filename.startswith(INSIDE + "/"):
                try:
                    with open(os.path.join(folder, entry.filename), "rb") as found:
                        if crc32(found.read()) != entry.CRC:
                            return False
                except OSError:
                    return False
    return True


def unpack(root: str, folder: str) -> None:
    """Beside its place, then into it."""
    from zipfile import BadZipFile, ZipFile
    from zlib import error as Garbled

    part = beside(root)
    try:
        made = set()
        with ZipFile(ARCHIVE) as archive:
            for entry in archive.infolist():
                path = os.path.join(part, entry.filename)
                above = os.path.dirname(path)
                if not entry.filename.startswith(INSIDE + "/"):
                    continue
                if above not in made:
                    os.makedirs(above, exist_ok=True)
                    made.add(above)
                with open(path, "wb") as out:
                    out.write(archive.read(entry))  # checks the sum
        write_mark(part, boot())
        os.rename(part, folder)
    except (BadZipFile, Garbled, EOFError):
        remove(part)
        refuse(f"{os.path.abspath(ARCHIVE)} is damaged: fetch it again, and compare it with SHA256SUMS")
    except BaseException:
        remove(part)
        raise


def beside(root: str) -> str:
    """A new folder, for us alone."""
    from tempfile import mkdtemp

    return mkdtemp(prefix=PART, dir=root)


def remove(path: str) -> None:
    from shutil import rmtree

    rmtree(path, ignore_errors=True)


def sweep(root: str, folder: str) -> None:
    """Under the lock: away goes what is in the folder's place but not whole, what killed starts left, and of builds that nobody runs the
    longest unused beyond OLD_BUILDS_MAX."""
    if os.path.lexists(folder):
        os.rename(folder, beside(root))
    builds = []
    for name in os.listdir(root):
        path = os.path.join(root, name)
        if name.startswith(PART):
            remove(path)
        elif name.startswith("appliance-") and os.path.isfile(os.path.join(path, MARK)):  # anything else is the operator's
            builds.append((os.stat(path).st_mtime, path))
    for _, path in sorted(builds, reverse=True)[OLD_BUILDS_MAX:]:
        with contextlib.suppress(OSError):  # somebody runs it, or it is not ours to remove
            discard(path, root)


def discard(path: str, root: str) -> None:
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        away = beside(root)
        os.rename(path, away)
        remove(away)
    finally:
        os.close(held)
