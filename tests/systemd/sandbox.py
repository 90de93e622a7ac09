"""Runs a command under what a unit's [Service] section forbids, as a process can do that to itself: where no systemd runs.

    python3 -I sandbox.py UNIT.json COMMAND...        (as root; UNIT.json is what `plan` made of the unit)

The rule: values are read from the unit, never written here, and what of it is not done is listed in NOT_DONE. Done as systemd 252 does it
(its namespace.c and seccomp-util.c): mounts, limits, user namespace, capabilities, system calls.
"""

import ctypes
import errno
import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

DONE = """
    NoNewPrivileges CapabilityBoundingSet AmbientCapabilities ProtectSystem ProtectHome ProtectProc PrivateTmp PrivateUsers PrivateIPC
    PrivateMounts ProtectHostname ProtectKernelTunables ProtectControlGroups RestrictAddressFamilies MemoryDenyWriteExecute
    SystemCallFilter SystemCallErrorNumber UMask LimitNOFILE LimitCORE WorkingDirectory SupplementaryGroups
"""
NOT_DONE = """
    MemoryHigh MemoryMax MemorySwapMax TasksMax OOMPolicy DevicePolicy
    PrivateDevices ProtectClock ProtectKernelModules ProtectKernelLogs RestrictNamespaces RestrictRealtime RestrictSUIDSGID RemoveIPC
    LockPersonality SystemCallArchitectures KeyringMode
"""
"""Control groups are not ours to make here. What the second and third line forbid beyond the empty capability set and the system call
filter is not tried."""
UID = 61184  # the first of those that systemd gives to DynamicUser=
MOUNT_ATTR_RDONLY, AT_RECURSIVE, AT_FDCWD = 0x1, 0x8000, -100
MS_BIND, MS_REC, MS_PRIVATE, MS_NOSUID, MS_NODEV = 4096, 16384, 1 << 18, 2, 4
SYS_MOUNT_SETATTR = 442
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24
CLONE_NEWUSER = 0x10000000
SCMP_ALLOW, SCMP_ERRNO = 0x7FFF0000, 0x00050000
SCMP_NE, SCMP_MASKED_EQ, SCMP_EQ = 1, 7, 4
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000

libc = ctypes.CDLL(None, use_errno=True)


def settings(unit: Path) -> dict[str, list[str]]:
    """The [Service] section: every value of every name."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def plan(
    unit: Path, writable: list[Path], credentials: Path, groups: tuple[int, ...] = (), environ: dict[str, str] | None = None, held: int = -1
) -> dict[str, Any]:
    """What to apply. `writable` stands for the state and cache folders; `held` is a listening descriptor to pass on as systemd does."""
    return {
        "service": settings(unit), "writable": [str(one) for one in writable], "credentials": str(credentials), "groups": groups,
        "calls": sorted(allowed_calls(settings(unit)["SystemCallFilter"])), "environ": environ or {}, "held": held,
    }  # fmt: skip


def allowed_calls(filters: list[str]) -> set[str]:
    """Names of system calls, after systemd.exec(5): the first line decides what the list is, later ones add or take away."""
    groups = call_groups()
    allowed = expanded("@default", groups)
    for line in filters:
        names = {call for word in line.removeprefix("~").split() for call in expanded(word, groups)}
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def call_groups() -> dict[str, list[str]]:
    """What this machine's systemd means by @system-service and the others."""
    said = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True).stdout
    groups: dict[str, list[str]] = {}
    for line in said.splitlines():
        if line.startswith("@"):
            members = groups[line.strip()] = []
        elif line.startswith("#"):
            break  # calls in no group
        elif line.strip() and not line.strip().startswith("#"):
            members.append(line.strip())
    return groups


def expanded(word: str, groups: dict[str, list[str]]) -> set[str]:
    return {call for one in groups[word] for call in expanded(one, groups)} if word.startswith("@") else {word}


def done(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    done(libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()), f"mount {target}")


def read_only(path: str, on: bool) -> None:
    bit = MOUNT_ATTR_RDONLY
    attributes = (ctypes.c_uint64 * 4)(bit if on else 0, 0 if on else bit, 0, 0)
    done(libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), AT_RECURSIVE, attributes, 32), f"mount_setattr {path}")


def arrange_files(given: dict[str, Any]) -> None:
    """ProtectSystem=strict, ProtectHome=, PrivateTmp=, ProtectProc=, ProtectKernelTunables=, ProtectControlGroups=."""
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    kept = [*given["writable"], given["credentials"]]
    held = [os.open(path, os.O_PATH) for path in kept]  # they may lie below what is covered next
    for path in ("/tmp", "/var/tmp"):
        mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for path in ("/home", "/root", "/run/user"):
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0000")
    for path, fd in zip(kept, held, strict=True):
        os.makedirs(path, exist_ok=True)
        mount(f"/proc/self/fd/{fd}", path, "", MS_BIND)
        os.close(fd)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV, "hidepid=invisible")
    read_only("/", True)
    for path in ("/tmp", "/var/tmp", "/dev", "/proc", *given["writable"]):
        read_only(path, False)
    mount("/proc/sys", "/proc/sys", "", MS_BIND | MS_REC)
    read_only("/proc/sys", True)


def limit(service: dict[str, list[str]]) -> None:
    os.umask(int(service["UMask"][-1], 8))
    for name, which in (("LimitNOFILE", resource.RLIMIT_NOFILE), ("LimitCORE", resource.RLIMIT_CORE)):
        _, most = resource.getrlimit(which)
        value = int(service[name][-1])
        value = value if most == resource.RLIM_INFINITY else min(value, most)  # a container may not raise its own
        resource.setrlimit(which, (value, value))


def become_nobody(groups: list[int]) -> None:
    """PrivateUsers=, DynamicUser=, CapabilityBoundingSet= and NoNewPrivileges=: a user that owns nothing, in a namespace of its own."""
    unshared, mapped = os.pipe(), os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.read(unshared[0], 1)
        identity = f"0 0 1\n{UID} {UID} 1"
        Path(f"/proc/{parent}/setgroups").write_text("allow")
        Path(f"/proc/{parent}/uid_map").write_text(identity)
        Path(f"/proc/{parent}/gid_map").write_text(identity)
        os._exit(0)
    os.setgroups(groups)
    done(libc.unshare(CLONE_NEWUSER), "unshare")
    os.write(unshared[1], b"1")
    _, status = os.waitpid(child, 0)
    if status:
        raise OSError("the user namespace could not be mapped")
    for one in (*unshared, *mapped):
        os.close(one)
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 and ctypes.get_errno() == errno.EINVAL:
            break  # the kernel knows no more
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)
    done(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


class Compare(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def filter_calls(given: dict[str, Any]) -> None:
    """SystemCallFilter=, RestrictAddressFamilies= and MemoryDenyWriteExecute=, each a filter of its own, as systemd does it."""
    service = given["service"]
    refused = getattr(errno, service["SystemCallErrorNumber"][-1])
    listed = Filter(SCMP_ERRNO | refused)
    for name in given["calls"]:
        listed.rule(SCMP_ALLOW, name)
    families = Filter(SCMP_ALLOW)
    allowed = {int(getattr(socket, name)) for name in service["RestrictAddressFamilies"][-1].split()}
    for family in set(range(46)) - allowed:
        families.rule(SCMP_ERRNO | errno.EAFNOSUPPORT, "socket", Compare(0, SCMP_EQ, family, 0))
    memory = Filter(SCMP_ALLOW)
    if service["MemoryDenyWriteExecute"][-1] == "yes":
        both = PROT_WRITE | PROT_EXEC
        memory.rule(SCMP_ERRNO | errno.EPERM, "mmap", Compare(2, SCMP_MASKED_EQ, both, both))
        for call in ("mprotect", "pkey_mprotect"):
            memory.rule(SCMP_ERRNO | errno.EPERM, call, Compare(2, SCMP_MASKED_EQ, PROT_EXEC, PROT_EXEC))
        memory.rule(SCMP_ERRNO | errno.EPERM, "shmat", Compare(2, SCMP_MASKED_EQ, SHM_EXEC, SHM_EXEC))
    for one in (memory, families, listed):  # the last one forbids what loading needs
        one.load()


class Filter:
    """One of libseccomp's."""

    lib = ctypes.CDLL("libseccomp.so.2") if sys.platform == "linux" else None

    def __init__(self, default: int) -> None:
        self.lib.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.lib.seccomp_init(ctypes.c_uint32(default)))
        self.lib.seccomp_attr_set(self.context, 3, 0)  # SCMP_FLTATR_CTL_NNP: it is set already

    def rule(self, action: int, call: str, *where: Compare) -> None:
        number = self.lib.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:  # others are of other architectures
            conditions = (Compare * len(where))(*where)
            result = self.lib.seccomp_rule_add_array(self.context, ctypes.c_uint32(action), number, len(where), conditions)
            if result < 0 and result != -errno.EACCES:  # the same as the default: no rule needed
                raise OSError(-result, f"seccomp rule for {call}")

    def load(self) -> None:
        result = self.lib.seccomp_load(self.context)
        if result < 0:
            raise OSError(-result, "seccomp_load")


def main(arguments: list[str]) -> None:
    given = json.loads(Path(arguments[0]).read_text())
    limit(given["service"])
    arrange_files(given)
    become_nobody(given["groups"])
    environ = given["environ"] | {
        "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "STATE_DIRECTORY": given["writable"][0], "CACHE_DIRECTORY": given["writable"][1],
        "CREDENTIALS_DIRECTORY": given["credentials"],
    }  # fmt: skip
    environ |= {name: os.environ[name] for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE") if name in os.environ}
    if given["held"] >= 0:
        os.dup2(given["held"], 3)
        environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    os.chdir(given["writable"][0])
    filter_calls(given)
    os.execve(arguments[1], arguments[1:], environ)


if __name__ == "__main__":
    main(sys.argv[1:])
