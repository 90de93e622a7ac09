"""Loading: strict types, all problems at once, fragments, provenance."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.config.loader import Loaded, Problems, load, load_text, locate

PROVIDERS = {"openai": "https://api.openai.com/v1", "azure-openai": "", "custom": ""}
ENV = {"OPENAI_API_KEY": "sk-canary-of-the-environment"}


def problems(text: str, *, env: Mapping[str, str] = ENV, folder: str | Path = ".") -> dict[str, str]:
    """Path → everything said about it."""
    found = load_text(text, env=env, providers=PROVIDERS, folder=folder)
    if isinstance(found, Loaded):
        return {}
    return {each.path: f"{each.message}; {each.expected}; {each.hint}" for each in found}


def loaded(text: str, *, env: Mapping[str, str] = ENV, folder: str | Path = ".") -> Loaded:
    found = load_text(text, env=env, providers=PROVIDERS, folder=folder)
    assert isinstance(found, Loaded), found
    return found


def test_an_empty_file_is_the_defaults() -> None:
    config = loaded("").config
    assert config.server.listen[0].address == "127.0.0.1:8080"
    assert config.server.limits.body_max_bytes == 32 * 1024 * 1024
    assert config.backends == {}


def test_five_different_mistakes_are_all_named() -> None:
    told = problems("""
        [server]
        drain = 30                            # 1 unknown key
        auth = "kyes"                         # 2 no such choice
        [backends.openai]
        provider = "openai"
        api_key = { env = "OPENAI_KEY" }      # 3 not set
        max_concurrency = "100"               # 4 wrong type
        [[routes]]
        name = "chat"
        targets = [{ backend = "opneai" }]    # 5 no such backend
    """)
    assert set(told) == {
        "server.drain",
        "server.auth",
        "backends.openai.api_key",
        "backends.openai.max_concurrency",
        "routes[0].targets[0].backend",
    }
    assert 'did you mean "drain_s"?' in told["server.drain"]
    assert 'did you mean "keys"?' in told["server.auth"]
    assert '"OPENAI_KEY" is not set' in told["backends.openai.api_key"]
    assert "an integer between 1 and 1000000" in told["backends.openai.max_concurrency"]
    assert 'did you mean "openai"?' in told["routes[0].targets[0].backend"]


def test_a_problem_says_where_it_is_and_in_which_file(tmp_path: Path) -> None:
    main = tmp_path / "config.toml"
    main.write_text("[server]\ndrain_s = 5\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10-backends.toml").write_text("[backends.openai.timeouts]\nconnect_s = true\n")
    found = load(main, env={}, providers=PROVIDERS)
    assert isinstance(found, Problems)
    told = {each.path: each for each in found}
    assert set(told) == {"backends.openai.provider", "backends.openai.timeouts.connect_s"}
    assert told["backends.openai.timeouts.connect_s"].file == str(tmp_path / "conf.d" / "10-backends.toml")
    assert told["backends.openai.provider"].message == "is missing"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server", "line 1, column 8"),
        ("a = 1\nb = = 2\n", "line 2, column 5"),
        ("a = '''", "end of the file"),
        ("a = 1\na = 2\n", "overwrite"),
        ("a = " + "9" * 5000, "too many digits"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "[" * 40 + "]" * 40, "nested too deeply"),
        (".".join("a" * 40) + " = 1", "nested too deeply"),
        ("x = 'y'\n" * 600_000, "longer than"),
    ],
)
def test_a_file_that_is_no_toml_is_one_problem_with_its_place(text: str, words: str) -> None:
    found = load_text(text, env={}, providers=PROVIDERS)
    assert isinstance(found, Problems)
    assert len(found) == 1
    assert words in found.problems[0].message


def test_bytes_that_are_no_utf8_and_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    for name, words in (
        ("latin.toml", "not UTF-8"),
        ("absent.toml", "no such file"),
        ("", "is a directory"),
        ("a\0b", "not a usable file name"),
    ):
        found = load(tmp_path / name, env={}, providers=PROVIDERS)
        assert isinstance(found, Problems)
        assert words in found.problems[0].message


def test_a_byte_order_mark_is_forgiven(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbf[server]\ndrain_s = 3\n")
    found = load(tmp_path / "c.toml", env={}, providers=PROVIDERS)
    assert isinstance(found, Loaded)
    assert found.config.server.drain_s == 3


def test_fragments_merge_in_name_order_and_later_files_win(tmp_path: Path) -> None:
    main = tmp_path / "config.toml"
    main.write_text(
        '[server]\ndrain_s = 5\nnotice_s = 1\nlisten = ["127.0.0.1:1"]\n[backends.a]\nprovider = "openai"\n'
        '[[routes]]\nname = "one"\ntargets = [{ backend = "a" }]\n'
    )
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "20.toml").write_text('[server]\ndrain_s = 7\n[[routes]]\nname = "two"\ntargets = [{ backend = "b" }]\n')
    (folder / "10.toml").write_text('[server]\ndrain_s = 6\nnotice_s = 2\n[backends.b]\nprovider = "openai"\n')
    (folder / ".hidden.toml").write_text("what = is this")
    (folder / "readme.txt").write_text("not a fragment")
    found = load(main, env={}, providers=PROVIDERS)
    assert isinstance(found, Loaded), found
    assert (found.config.server.drain_s, found.config.server.notice_s) == (7, 2)
    assert set(found.config.backends) == {"a", "b"}
    assert [route.name for route in found.config.routes] == ["two"]
    assert found.files == (str(main), str(folder / "10.toml"), str(folder / "20.toml"))
    assert found.provenance["server", "drain_s"] == str(folder / "20.toml")
    assert found.provenance["server", "notice_s"] == str(folder / "10.toml")
    assert found.provenance["server", "listen", 0] == str(main)
    assert found.provenance["routes", 0, "name"] == str(folder / "20.toml")
    assert [(each.path, each.file) for each in found.warnings] == [("routes", str(folder / "20.toml"))]


def test_a_listener_is_a_string_or_a_table(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "k.pem").write_text("-----BEGIN EC PRIVATE KEY-----")
    text = '[server]\nlisten = ["127.0.0.1:0", { address = "[::1]:8443", tls_cert = "c.pem", tls_key = "k.pem" }]'
    plain, table = loaded(text, folder=tmp_path).config.server.listen
    assert plain.address == "127.0.0.1:0"
    assert table.address == "[::1]:8443"
    assert table.engine == "auto"
    assert table.tls_cert == str(tmp_path / "c.pem")


def test_relative_files_are_relative_to_the_config_file(tmp_path: Path) -> None:
    assert loaded("", folder=tmp_path).config.store.path == str(tmp_path / "state/appliance.db")
    assert loaded("[store]\npath = '/var/lib/x.db'", folder=tmp_path).config.store.path == "/var/lib/x.db"


def test_a_store_has_one_name_whatever_links_lead_to_it(tmp_path):
    """Two gateways would else both take it: a lock lies beside each name."""
    (tmp_path / "real").mkdir()
    (tmp_path / "linked.db").symlink_to("real/one.db")
    found = loaded("[store]\npath = 'linked.db'", folder=tmp_path).config.store.path
    assert found == loaded("[store]\npath = 'real/one.db'", folder=tmp_path).config.store.path == str(tmp_path / "real/one.db")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2027-01-01", "2027-01-01T00:00:00+00:00"),
        ("2027-01-01T12:30:00", "2027-01-01T12:30:00+00:00"),
        ("2027-01-01T12:30:00+02:00", "2027-01-01T12:30:00+02:00"),
        ("2027-01-01 12:30:00Z", "2027-01-01T12:30:00+00:00"),
    ],
)
def test_expiry_is_a_date_or_a_date_time_and_always_aware(written: str, read: str) -> None:
    text = f'[tenants.a]\nkeys = [{{ id = "k", sha256 = "{"ab" * 32}", expires = {written} }}]'
    expires = loaded(text).config.tenants["a"].keys[0].expires
    assert expires is not None
    assert expires.isoformat() == read


def test_an_integer_is_a_float_and_collections_are_read_only() -> None:
    config = loaded('[server]\ndrain_s = 3\n[aliases]\nfast = "gpt-4o"').config
    assert type(config.server.drain_s) is float
    with pytest.raises(TypeError):
        config.aliases["slow"] = "x"  # type: ignore[index]


@pytest.mark.parametrize(
    ("given", "env", "there", "chosen"),
    [
        ("a.toml", {"APPLIANCE_CONFIG": "b.toml"}, {"config.toml"}, "a.toml"),
        (None, {"APPLIANCE_CONFIG": "b.toml"}, {"config.toml"}, "b.toml"),
        (None, {"APPLIANCE_CONFIG": ""}, {"config.toml", "/etc/appliance/config.toml"}, "config.toml"),
        (None, {}, {"/etc/appliance/config.toml"}, "/etc/appliance/config.toml"),
        (None, {}, set(), None),
    ],
)
def test_the_file_is_looked_for_in_the_documented_order(
    given: str | None, env: dict[str, str], there: set[str], chosen: str | None
) -> None:
    assert locate(given, env, there.__contains__) == chosen


def test_what_follows_from_a_refused_value_is_not_told_again() -> None:
    told = problems("""
        tenants = 3
        [server]
        listen = ["0.0.0.0:8080"]
        [backends]
        a = "not a table"
        b = { provider = 3 }
        [[routes]]
        name = 5
        targets = [{ backend = "a" }, { backend = "b", weight = "x" }]
        [[routes]]
        name = "ok"
        targets = "a"
    """)
    assert set(told) == {
        "tenants",
        "backends.a",
        "backends.b.provider",
        "routes[0].name",
        "routes[0].targets[1].weight",
        "routes[1].targets",
    }
