"""`config get` and `config set`."""

import os
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config.edit import Edited, get_value, parse_path, replace_file, set_value
from appliance.config.loader import Loaded, Problems, load
from appliance.config.problem import Problem, Steps, written

PROVIDERS = {"openai": "https://api.openai.com/v1"}
TEXT = """\
# The gateway of the search team.
[server]
listen = ["127.0.0.1:8080"]   # this machine only

  # slow models need long
drain_s    =    30   # seconds

[backends.openai]
provider = "openai"
timeouts = { connect_s = 5, idle_s = 60 }  # by phase

[[routes]]
name = "chat"   # the first
targets = [
    { backend = "openai", weight = 80 },  # most
    { backend = "openai", weight = 20 },
]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    return path


def put(file: Path, path: str, value: str) -> Edited | Problems:
    return set_value(file, path, value, env={}, providers=PROVIDERS)


@pytest.mark.parametrize(
    ("path", "value", "before", "after"),
    [
        ("server.drain_s", "45", "drain_s    =    30   # seconds", "drain_s    =    45   # seconds"),
        ("server.listen", '["127.0.0.1:1"]', '["127.0.0.1:8080"]   #', '["127.0.0.1:1"]   #'),
        ("backends.openai.timeouts.idle_s", "90", "idle_s = 60 }  # by", "idle_s = 90 }  # by"),
        ("routes[0].targets[1].weight", "30", "weight = 20", "weight = 30"),
        ("routes[0].name", "talk", 'name = "chat"   #', 'name = "talk"   #'),
    ],
)
def test_one_value_changes_and_nothing_else(path: str, value: str, before: str, after: str, file: Path) -> None:
    assert put(file, path, value) == Edited(str(file))
    assert TEXT.count(before) == 1
    assert file.read_text() == TEXT.replace(before, after)


def test_new_keys_and_tables_are_added_and_comments_stay(file: Path) -> None:
    for path, value in [
        ("server.auth", "none"),
        ("telemetry.log.level", "debug"),
        ("backends.openai.timeouts.total_s", "99"),
        ("backends.openai.headers.X-Team", "search"),
        ('prices.models."my.model".input_usd_per_mtok', "1.5"),
        ("routes[0].retry.attempts", "2"),
        ("backends.other.provider", "openai"),
    ]:
        assert isinstance(put(file, path, value), Edited), path
    found = load(file, env={}, providers=PROVIDERS)
    assert isinstance(found, Loaded)
    config = found.config
    assert (config.server.auth, config.telemetry.log.level, config.backends["openai"].timeouts.total_s) == ("none", "debug", 99)
    assert (config.prices.models["my.model"].input_usd_per_mtok, config.routes[0].retry.attempts) == (1.5, 2)
    assert config.backends["openai"].headers["X-Team"].reveal() == "search"
    for comment in (
        "# The gateway of the search team.",
        "# this machine only",
        "  # slow models need long",
        "# seconds",
        "# the first",
        "# most",
    ):
        assert comment in file.read_text()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("server.drain_s", "soon", "is a string"),
        ("server.drain_s", "-1", "is -1"),
        ("server.drain", "1", 'did you mean "drain_s"?'),
        ("routes[0].targets[0].backend", "nobody", "is no backend"),
        ("routes[7].name", "x", "is not there: routes has 1, counted from 0"),
        ("routes[1].name", "x", "is not there: routes has 1, counted from 0"),
        ("routes[0].targets[3]", '{ backend = "openai" }', "is not there: routes[0].targets has 2, counted from 0"),
        ("experiments[0].name", "x", "is not there: experiments has 0, counted from 0"),
        ("server.drain_s.x", "1", "has nowhere to go"),
        ("server..drain_s", "1", "is no path"),
        ("[0]", "1", "is no path"),
        ("", "1", "is no path"),
        ("server.auth", "1\nmetrics = 'off'", "is"),
        ("backends.openai.api_key", '{ env = "ABSENT" }', "is not set"),
    ],
)
def test_what_would_not_load_is_not_written(path: str, value: str, words: str, file: Path) -> None:
    found = put(file, path, value)
    assert isinstance(found, Problems)
    assert words in f"{found.problems[0].message} {found.problems[0].hint}"
    assert file.read_text() == TEXT
    assert os.listdir(file.parent) == ["config.toml"]


def test_text_that_looks_like_another_type_is_taken_as_text_where_text_is_wanted(file: Path) -> None:
    assert isinstance(put(file, "telemetry.namespace", "2024"), Edited)
    assert tomllib.loads(file.read_text())["telemetry"]["namespace"] == "2024"


def test_mistakes_that_were_there_can_be_mended_one_by_one(file: Path) -> None:
    file.write_text(TEXT.replace("30", '"x"').replace("connect_s = 5", "connect_s = true"))
    first = put(file, "server.drain_s", "30")
    assert isinstance(first, Edited)
    assert [each.path for each in first.remarks] == ["backends.openai.timeouts.connect_s"]
    assert put(file, "backends.openai.timeouts.connect_s", "5") == Edited(str(file))
    assert file.read_text() == TEXT


def test_a_value_is_changed_in_the_file_it_comes_from(file: Path) -> None:
    fragment = file.parent / "conf.d" / "10.toml"
    fragment.parent.mkdir()
    fragment.write_text("server.drain_s = 5 # here\n")
    assert put(file, "server.drain_s", "6") == Edited(str(fragment))
    assert fragment.read_text() == "server.drain_s = 6 # here\n"
    assert file.read_text() == TEXT


def test_a_new_key_goes_to_the_file_that_has_its_table_first(file: Path) -> None:
    """A fragment that changes one thing about a backend is not where its breaker is looked for."""
    fragment = file.parent / "conf.d" / "10.toml"
    fragment.parent.mkdir()
    fragment.write_text('[backends.openai]\nmax_concurrency = 7\n[backends.second]\nprovider = "openai"\n')
    assert put(file, "backends.openai.breaker.open_s", "10") == Edited(str(file))
    assert put(file, "backends.second.max_concurrency", "3") == Edited(str(fragment))
    assert put(file, "admin.listen", "127.0.0.1:1") == Edited(str(file))
    assert fragment.read_text().endswith('[backends.second]\nprovider = "openai"\nmax_concurrency = 3\n')


def test_an_array_gets_one_more_element(file: Path) -> None:
    assert put(file, "routes[0].targets[2]", '{ backend = "openai", weight = 3 }') == Edited(str(file))
    put(file, "routes[0].models", '["a*"]')
    assert put(file, "routes[1]", '{ name = "second", targets = [ { backend = "openai" } ] }') == Edited(str(file))
    found = load(file, env={}, providers=PROVIDERS)
    assert isinstance(found, Loaded)
    assert [target.weight for target in found.config.routes[0].targets] == [80, 20, 3]
    assert [route.name for route in found.config.routes] == ["chat", "second"]
    assert '\n\n[[routes]]\nname = "second"\n' in file.read_text()
    assert "# most" in file.read_text()


def test_what_is_added_stands_as_a_person_would_write_it(file: Path) -> None:
    """Tables apart from each other, a line's end at the end; a text that looks like a header is left as it is."""
    file.write_text(TEXT.replace('provider = "openai"', 'health.mode = "passive"\nprovider = "openai"') + '[aliases]\nx = "y"')
    for path, value in (
        ("backends.openai.health.interval_s", "15"), ("tenants.new.rpm", "60"), ("telemetry.log.level", "debug"), ("server.notice_s", "1"),
    ):  # fmt: skip
        assert isinstance(put(file, path, value), Edited), path
    lines = file.read_text().split("\n")
    assert lines[-1] == ""
    headers = [place for place, line in enumerate(lines) if line.startswith("[") and line != "[aliases]"]
    assert len(headers) == 5
    assert [lines[place - 1] for place in headers] == ["# The gateway of the search team.", "", "", "", ""]
    assert lines[lines.index("[aliases]") - 1] == "]", "as it was"
    header_like = "a\n[b]\n"
    file.write_text(f'aliases.x = """{header_like}"""\n' + TEXT)
    assert isinstance(put(file, "server.drain_s", "31"), Edited)
    assert tomllib.loads(file.read_text())["aliases"]["x"] == header_like


def test_mode_and_links_are_kept(file: Path) -> None:
    file.chmod(0o640)
    link = file.parent / "link.toml"
    link.symlink_to(file)
    assert isinstance(put(link, "server.drain_s", "31"), Edited)
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert "31" in file.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_is_kept(file: Path) -> None:
    os.chown(file, 12345, 23456)
    assert isinstance(put(file, "server.drain_s", "31"), Edited)
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 23456)


def test_a_file_that_cannot_be_replaced_is_told_and_whole(tmp_path: Path) -> None:
    assert replace_file(tmp_path / "absent", b"x") == "cannot be written: no such file or directory"
    (tmp_path / "folder").mkdir()
    assert (replace_file(tmp_path / "folder", b"x") or "").startswith("cannot be written")
    assert os.listdir(tmp_path) == ["folder"]


def test_get_gives_the_value_in_force_and_masks_secrets(file: Path) -> None:
    put(file, "backends.openai.api_key", "hush")
    found = load(file, env={}, providers=PROVIDERS)
    assert isinstance(found, Loaded)
    assert get_value(found, "server.drain_s") == 30
    assert get_value(found, "server.notice_s") == 0
    assert get_value(found, "routes[0].targets[1].weight") == 20
    assert get_value(found, "backends.openai.api_key") == "********"
    assert get_value(found, "backends.openai")["provider"] == "openai"
    assert get_value(found, "server.drain") == Problem("server.drain", "is not there", hint='did you mean "drain_s"?')
    assert isinstance(get_value(found, "routes[9]"), Problem)
    assert isinstance(get_value(found, "a..b"), Problem)


@given(st.lists(st.text(max_size=5) | st.integers(0, 99), min_size=1, max_size=5).filter(lambda steps: isinstance(steps[0], str)))
def test_a_path_is_read_as_it_is_written(steps: list[str | int]) -> None:
    path: Steps = tuple(steps)
    if all(not isinstance(step, str) or step.isprintable() for step in steps):
        assert parse_path(written(path)) == path


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["server.drain_s", "server.listen", "routes", "aliases.a", "backends.openai.headers", "telemetry.log", 'tenants."x"']),
    st.text(max_size=20)
    | st.sampled_from(["1", "true", "[]", "{}", "{ a = 1 }", '"""x"""', "2020-01-01", "[1, 2", "nan", '["a",\n"b"] # c']),
)
def test_any_value_is_written_soundly_or_not_at_all(path: str, value: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_text(TEXT)
        if isinstance(put(file, path, value), Edited):
            assert isinstance(load(file, env={}, providers=PROVIDERS), Loaded)
        else:
            assert file.read_text() == TEXT
