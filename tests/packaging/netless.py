"""`netless.py PYTHON PYZ`: runs in a network namespace of its own (`unshare --net`), where nothing but the loopback interface is, brings
that up, starts the demo, makes the call that it prints, and prints the answer's status and words.
"""

import contextlib
import fcntl
import json
import shlex
import socket
import struct
import subprocess
import sys
import urllib.request

SIOCSIFFLAGS = 0x8914  # linux/sockios.h
IFF_UP = 1


def loopback_up() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def main() -> None:
    loopback_up()
    with contextlib.suppress(OSError), socket.create_connection(("192.0.2.1", 80), 2):
        sys.exit("there is a network here")
    demo = subprocess.Popen([*sys.argv[1:], "demo"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = next(line for line in demo.stdout if line.startswith("curl "))
        words = shlex.split(line)
        headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
        body = words[words.index("-d") + 1].encode()
        url = next(word for word in words if word.startswith("http://"))
        with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=30) as answer:
            said = json.load(answer)
            print(answer.status, said["choices"][0]["message"]["content"])
    finally:
        demo.terminate()
        demo.wait(30)
    print("ended", demo.returncode)


main()
