"""Ports for processes that are told where to listen: `free_port`.

The rule: no two calls get the same one, in whatever process of this machine. A port that was bound, closed and passed on by its number is
anybody's until it is bound again, so these are from below those which the kernel gives to connections and to listeners of port 0, and
each process of tests has a block of them to itself.
"""

import functools
import itertools
import random
import socket
from collections.abc import Iterator
from pathlib import Path

FIRST = 10_000
BLOCK = 200
"""Ports of a process, which begins anew after the last: more than it has in use at any time."""
KERNELS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    return next(port for port in itertools.islice(_block(), BLOCK) if _is_free(port))


@functools.cache
def _block() -> Iterator[int]:
    return itertools.cycle(_own(int(KERNELS.read_text().split()[0])))


def _own(end: int) -> list[int]:
    """A block of ports below `end` that no other process has; ours until this process ends, since the name lasts as long as the socket."""
    blocks = range(FIRST, end - BLOCK + 1, BLOCK)
    for first in random.sample(blocks, len(blocks)):
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark.bind(f"\0appliance-tests-ports-{first}")
        except OSError:
            mark.close()
            continue
        mark.detach()
        return list(range(first, first + BLOCK))
    raise AssertionError(f"no {BLOCK} ports between {FIRST} and {end} are left for another process")


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: closed connections do not take a port
        try:
            one.bind(("", port))
        except OSError:
            return False
        return True
