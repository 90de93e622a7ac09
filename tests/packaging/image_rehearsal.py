"""The image, made without a container daemon: what its Dockerfile does after the zipapp is built, done by a shell as root in a mount
namespace, on a copy of this machine's root instead of the base image. So it shows what the instructions and the entry point do, not what is
in the base image, nor the build of the zipapp in it.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAGE = "FROM "


def may_rehearse() -> bool:
    layers = "mount -t overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w none /mnt/r"
    probe = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none /mnt && mkdir /mnt/u /mnt/w /mnt/r && {layers}"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True, check=False).returncode == 0


def instructions() -> tuple[list[str], list[str]]:
    """The two stages of the Dockerfile, a line each, without comments."""
    lines = [line for line in (ROOT / "packaging" / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    whole = [line for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]
    second = max(place for place, line in enumerate(whole) if line.startswith(STAGE))
    return whole[:second], whole[second:]


def steps() -> str:
    """A shell script: the build stage's last RUN (the zipapp is there already), then all of the second stage."""
    build, runtime = instructions()
    (unpack,) = [line for line in build if line.startswith("RUN ") and "dist/appliance.pyz" in line and "make" not in line]
    script = ["cd /src", f"({unpack.removeprefix('RUN ')})"]
    for line in runtime:
        name, _, words = line.partition(" ")
        if name == "RUN":
            script.append(f"({words})")
        elif name == "COPY" and "--from=build" not in words:
            mode, source, target = words.split()
            script += [f"cp /src/{source} {target}", f"chmod {mode.removeprefix('--chmod=')} {target}"]
        elif name == "WORKDIR":
            script.append(f"cd {words}")
    return "\n".join(script)


def rehearse(pyz: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Makes the image, makes its root read-only but for an empty volume that is root's and /tmp, and runs the script there, as the platform
    would the entry point. /etc/appliance/config.toml is there to be mounted over."""
    prelude = f"""
        set -eu
        mount -t tmpfs -o mode=0755 none /mnt
        cd /mnt
        mkdir upper work root local-upper local-work src src/dist src/packaging
        cp {pyz} src/dist/appliance.pyz
        cp {ROOT}/packaging/appliance-in-container src/packaging/
        mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work none /mnt/root
        mount -t overlay -o lowerdir={sys.base_prefix},upperdir=/mnt/local-upper,workdir=/mnt/local-work none /mnt/root/usr/local
        mkdir -p /mnt/root/src
        mount --bind /mnt/src /mnt/root/src
        mount --rbind /proc /mnt/root/proc
        mount --rbind /dev /mnt/root/dev
        cat > /mnt/root/made.sh <<'STEPS'
        set -eu
        STEPS_HERE
        STEPS
        cat > /mnt/root/run.sh <<'SCRIPT'
        set -eu
        cd /var/lib/appliance
        SCRIPT_HERE
        SCRIPT
        chroot /mnt/root /bin/sh /made.sh >&2
        touch /mnt/root/etc/appliance/config.toml
        mount -o remount,ro /mnt/root/usr/local
        mount -o remount,ro /mnt/root
        mount -t tmpfs -o mode=0755 none /mnt/root/var/lib/appliance
        mount -t tmpfs -o mode=1777 none /mnt/root/tmp
        exec chroot /mnt/root /bin/sh /run.sh
    """
    text = textwrap.dedent(prelude).replace("STEPS_HERE", steps()).replace("SCRIPT_HERE", textwrap.dedent(script))
    environ = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    return subprocess.run(
        ["unshare", "--mount", "--fork", "--kill-child", "sh", "-c", text], capture_output=True, text=True, timeout=120, check=False,
        env=environ, stdin=subprocess.DEVNULL,
    )  # fmt: skip
