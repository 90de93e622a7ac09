"""What an image needs of the command line: the platform's PORT, the whole configuration in a variable, a check of health without curl, and
giving up root after state folders were handed over.

What needs root and a mount namespace is skipped where there is none.
"""

import os
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import KEY_SHA256, Gateway, Simulator, free_port, one_backend, running

UID = 10001
BACKEND = """
[backends.one]
provider = "custom"
base_url = "http://127.0.0.1:9/v1"
api_key = "hush-hush"
"""
TENANT = f"""
[tenants.test]
keys = [ {{ id = "test", sha256 = "{KEY_SHA256}" }} ]
"""


def may_unshare() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


needs_root = pytest.mark.skipif(not may_unshare(), reason="needs root and mount namespaces")


ROOT = str(Path(__file__).parents[2])


def run(*arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_") and name != "PORT"}
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments], capture_output=True, text=True, timeout=120, cwd=cwd, check=False,
        env={**known, "PYTHONPATH": ROOT, **env}, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def in_namespace(script: str, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
    """A shell as root in a mount namespace of its own: /mnt is empty and root-owned, as a fresh volume is, /tmp is new, all else is
    read-only. Our files and Python's are bound to where anybody may read them."""
    prelude = f"""
        set -eu
        mount -t tmpfs -o mode=0755 none /mnt
        mkdir /mnt/python /mnt/site /mnt/src /mnt/state /mnt/etc
        mount --bind {sys.base_prefix} /mnt/python
        mount --bind {sysconfig.get_path("purelib")} /mnt/site
        mount --bind {ROOT} /mnt/src
        mount -t tmpfs none /tmp
        mount -o remount,ro,bind /
        export PYTHONPATH=/mnt/src:/mnt/site PYTHONDONTWRITEBYTECODE=1
        python=/mnt/python/bin/python3.{sys.version_info.minor}
        entry="$python -m appliance container --user {UID}:{UID} --own"
        as_user() {{ $entry /mnt/state "$@"; }}
        cd /
    """
    command = ["unshare", "--mount", "--fork", "--kill-child", "sh", "-c", textwrap.dedent(prelude) + textwrap.dedent(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL)


# PORT


def test_the_platforms_port_is_listened_to_on_every_address_where_the_file_names_none(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(BACKEND + TENANT)
    done = run("check", "--verbose", "-c", str(file), PORT="9000")
    assert done.returncode == 0, done.stderr
    assert "listeners  [::]:9000;" in done.stdout
    assert [line.split() for line in done.stdout.split("\n") if "server.listen" in line] == [["server.listen[0]", '"[::]:9000"', "$PORT"]]


@pytest.mark.parametrize("where", ["c.toml", "conf.d/late.toml"])
def test_a_listener_of_the_files_goes_before_the_port(tmp_path: Path, where: str) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "c.toml").write_text(BACKEND)
    with (tmp_path / where).open("a") as file:
        file.write('[server]\nlisten = ["127.0.0.1:7000"]\n')
    done = run("check", "--verbose", "-c", str(tmp_path / "c.toml"), PORT="9000")
    assert "listeners  127.0.0.1:7000;" in done.stdout, done
    assert "$PORT" not in done.stdout


def test_other_settings_of_the_server_stay_beside_the_port(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[server]\ndrain_s = 7\n" + BACKEND + TENANT)
    done = run("check", "--verbose", "-c", str(tmp_path / "c.toml"), PORT="9000")
    rows = [line.split() for line in done.stdout.split("\n")]
    assert ["server.drain_s", "7.0", str(tmp_path / "c.toml")] in rows
    assert ["server.listen[0]", '"[::]:9000"', "$PORT"] in rows


@pytest.mark.parametrize("port", ["http", "99999", "80 ", "::1"])
def test_a_port_that_is_none_is_told_by_its_variable(tmp_path: Path, port: str) -> None:
    (tmp_path / "c.toml").write_text(BACKEND + TENANT)
    done = run("check", "-c", str(tmp_path / "c.toml"), PORT=port)
    assert done.returncode == 78
    assert "$PORT\n  server.listen[0]" in done.stderr


def test_nobody_is_let_in_by_the_port_alone(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(BACKEND)
    done = run("serve", "-c", str(tmp_path / "c.toml"), PORT="9000")
    assert done.returncode == 78
    assert "neither a tenant nor a key" in done.stderr


# The configuration as text


def test_the_whole_configuration_may_be_a_variable_and_no_conf_d_is_read(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.toml").write_text("nonsense")
    (tmp_path / "config.toml").write_text("nonsense")
    done = run("check", "--verbose", cwd=tmp_path, APPLIANCE_CONFIG_TOML=BACKEND)
    assert done.returncode == 0, done.stderr
    assert "files      $APPLIANCE_CONFIG_TOML (all of it; no conf.d is read)" in done.stdout
    assert "hush" not in done.stdout


def test_a_file_that_is_named_goes_before_the_text(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[server]\ndrain_s = 7\n" + BACKEND)
    for arguments, env in ((("-c", "c.toml"), {}), ((), {"APPLIANCE_CONFIG": "c.toml"})):
        done = run("check", *arguments, cwd=tmp_path, APPLIANCE_CONFIG_TOML="nonsense", **env)
        assert "files      c.toml" in done.stdout, done


def test_a_mistake_in_the_text_shows_none_of_it(tmp_path: Path) -> None:
    done = run("check", cwd=tmp_path, APPLIANCE_CONFIG_TOML=BACKEND.replace('"hush-hush"', '"hush-hush'))
    assert done.returncode == 78
    assert "$APPLIANCE_CONFIG_TOML" in done.stderr
    assert "hush" not in done.stderr


def test_setting_a_value_of_the_text_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(BACKEND)
    done = run("config", "set", "server.drain_s", "5", cwd=tmp_path, APPLIANCE_CONFIG_TOML=BACKEND)
    assert done.returncode == 78
    assert "$APPLIANCE_CONFIG_TOML" in done.stderr
    assert (tmp_path / "config.toml").read_text() == BACKEND
    assert run("config", "get", "backends.one.api_key", cwd=tmp_path, APPLIANCE_CONFIG_TOML=BACKEND).stdout == "********\n"


# healthcheck


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("health")
    sim = Simulator(folder)
    with running(sim):
        one = Gateway(folder, one_backend(sim), listen=(f"unix:{folder}/http.sock",))
        with running(one):
            yield one


def test_health_is_asked_on_the_first_listener_without_any_secret(gateway: Gateway, tmp_path: Path) -> None:
    listen = f'[server]\nlisten = ["ADDRESS"]\n[admin]\ntoken = {{ env = "NOT_SET_HERE" }}\n{BACKEND}'
    unix = f"unix:{gateway.config_path.parent}/http.sock"
    for address in (f"127.0.0.1:{gateway.port}", f"0.0.0.0:{gateway.port}", unix, f"localhost:{gateway.hypercorn_port}"):
        (tmp_path / "c.toml").write_text(listen.replace("ADDRESS", address))
        for more in ((), ("--ready",)):
            done = run("healthcheck", "-c", str(tmp_path / "c.toml"), *more)
            assert (done.returncode, done.stdout) == (0, f"{address} answers 200\n"), done


def test_health_is_asked_on_the_platforms_port() -> None:
    port = free_port()
    done = run("healthcheck", APPLIANCE_CONFIG_TOML=BACKEND, PORT=str(port))  # nobody answers there: it says whom it asked
    assert done.returncode == 1
    assert done.stderr == f"appliance: [::]:{port} does not answer: [Errno 111] Connection refused\n"


def test_a_gateway_that_is_not_there_or_not_asked_by_address_is_one_line(tmp_path: Path) -> None:
    for address, words in ((f"127.0.0.1:{free_port()}", "does not answer"), ("fd:http", "fd:NAME belongs to who opened it")):
        (tmp_path / "c.toml").write_text(f'[server]\nlisten = ["{address}"]\n')
        done = run("healthcheck", "-c", str(tmp_path / "c.toml"))
        assert done.returncode == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


# Without root


@needs_root
def test_a_root_owned_volume_is_handed_over_and_nothing_beside_it() -> None:
    done = in_namespace("""
        mkdir -p /mnt/state/deep
        echo old > /mnt/state/deep/file
        chmod 0700 /mnt/state
        as_user init /mnt/state/made.toml >&2
        stat -c '%n %u:%g' /mnt/state /mnt/state/deep /mnt/state/deep/file /mnt/state/made.toml /mnt /mnt/etc
    """)
    assert done.returncode == 0, done.stderr
    ours, roots = f"{UID}:{UID}", "0:0"
    assert dict(line.split(" ") for line in done.stdout.splitlines()) == {
        "/mnt/state": ours, "/mnt/state/deep": ours, "/mnt/state/deep/file": ours, "/mnt/state/made.toml": ours,
        "/mnt": roots, "/mnt/etc": roots,
    }  # fmt: skip


@needs_root
def test_links_in_the_volume_lead_nowhere_and_are_told() -> None:
    done = in_namespace("""
        mkdir -p /mnt/state/mounted
        echo hush > /mnt/secret
        ln -s /mnt/secret /mnt/state/soft
        ln -s /mnt/etc /mnt/state/folder
        ln /mnt/secret /mnt/state/hard
        mount -t tmpfs none /mnt/state/mounted
        as_user version >/dev/null
        stat -c '%n %u' /mnt/secret /mnt/etc /mnt/state /mnt/state/mounted
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["/mnt/secret", "0", "/mnt/etc", "0", "/mnt/state", str(UID), "/mnt/state/mounted", "0"]
    for name in ("soft", "folder", "hard", "mounted"):
        assert f"/mnt/state/{name} is a link, a mount or no plain file: left with uid 0" in done.stderr


@needs_root
def test_root_is_gone_for_good() -> None:
    """Asked of the running gateway: every id, no group, no capability, and no program that it starts gets one."""
    done = in_namespace("""
        export APPLIANCE_CONFIG_TOML='
        [server]
        listen = ["unix:/mnt/state/http.sock"]
        [admin]
        listen = "127.0.0.1:0"
        [store]
        path = "/mnt/state/appliance.db"
        '
        setpriv --groups 4,27 $entry /mnt/state serve 2>/mnt/log &
        for _ in $(seq 600); do test -S /mnt/state/http.sock && break; sleep 0.1; done
        as_user healthcheck
        cat /proc/$!/status
        stat -c '%n %u %a' /mnt/state/appliance.db
        kill $!
        wait $! && echo ended with 0
    """)
    assert done.returncode == 0, (done.stderr, done.stdout)
    assert "unix:/mnt/state/http.sock answers 200" in done.stdout
    status = dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)
    assert status["Uid"] == status["Gid"] == "\t".join([str(UID)] * 4)
    assert status["Groups"].strip() == ""
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert f"/mnt/state/appliance.db {UID} 600" in done.stdout
    assert "ended with 0" in done.stdout


@needs_root
@pytest.mark.parametrize(
    ("capabilities", "told"),
    [
        ("", "needs the capability CHOWN"),
        ("+chown", "needs the capabilities SETUID and SETGID"),
        ("+chown,+setuid,+setgid", ""),
    ],
)
def test_what_it_may_not_do_is_said_with_the_remedy(capabilities: str, told: str) -> None:
    """With all capabilities dropped but some, as compose.yaml does; the second start finds a folder that root may not even look into."""
    done = in_namespace(f"""
        allowed=$(echo "-all,{capabilities}" | sed 's/,$//')
        few() {{ setpriv --bounding-set "$allowed" --inh-caps -all /mnt/python/bin/python3.{sys.version_info.minor} -m appliance \
            container --user {UID}:{UID} --own /mnt/state version; }}
        few
        chmod 0700 /mnt/state
        few
    """)
    assert (done.returncode == 0) == (told == ""), (done.stdout, done.stderr)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == (1 if told else 0)


@needs_root
def test_who_is_not_root_runs_as_is_and_hears_of_a_volume_that_is_not_theirs() -> None:
    done = in_namespace("""
        as_seven() { setpriv --reuid 7 --regid 7 --clear-groups $entry "$1" version; }
        as_seven /tmp | head -1
        as_seven /mnt/state
    """)
    assert done.returncode == 1
    assert done.stdout.startswith("appliance  ")
    assert done.stderr == (
        "appliance: /mnt/state belongs to uid 0, and uid 7 cannot write to it: mount it for that user, or start the container as root\n"
    )


@pytest.mark.parametrize("user", ["0:0", "appliance", "10001:x", "5000000000"])
def test_a_user_that_is_none_is_a_64(user: str) -> None:
    done = run("container", "--user", user, "version")
    assert done.returncode == 64
    assert "give numbers, like 10001:10001" in done.stderr


@needs_root
def test_a_folder_that_is_no_state_folder_is_refused() -> None:
    for setup, told in (("rmdir /mnt/state", "is not there"), ("mkdir -p /mnt/state/1/2/3/4/5/6/7/8/9", "is it the state's folder?")):
        done = in_namespace(f"{setup}\nas_user version")
        assert (done.returncode, done.stdout) == (1, "")
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
