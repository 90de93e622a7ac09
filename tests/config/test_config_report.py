"""What `check`, the start-up log and a reload say."""

from pathlib import Path

from appliance.config.loader import Loaded, load, load_text
from appliance.config.masked import diff, masked_dict
from appliance.config.report import check_text, problem_text

PROVIDERS = {"openai": "https://api.openai.com/v1"}
TEXT = """
[backends.openai]
provider = "openai"
[[routes]]
name = "chat"
targets = [{ backend = "openai" }]
"""


def loaded(text: str) -> Loaded:
    found = load_text(text, env={}, providers=PROVIDERS)
    assert isinstance(found, Loaded), found
    return found


def test_check_names_every_problem_with_path_expectation_and_hint() -> None:
    text, status = check_text(load_text("[server]\nauth = 'nobody'\ndrian_s = 3\n", env={}, providers=PROVIDERS))
    assert status == 78
    assert text.startswith("2 problems in the configuration\n")
    for words in (
        "server.auth",
        '"nobody"',
        'one of "keys", "none"',
        "server.drian_s",
        'did you mean "drain_s"?',
        "$APPLIANCE_CONFIG_TOML",
    ):
        assert words in text


def test_check_of_a_sound_file_says_what_was_read() -> None:
    text, status = check_text(loaded(TEXT))
    assert status == 0
    for words in ("is sound", "127.0.0.1:8080; admin 127.0.0.1:9464", "1 backend, 1 route, 0 tenants, 0 keys"):
        assert words in text


def test_verbose_says_which_file_each_value_came_from(tmp_path: Path) -> None:
    main = tmp_path / "c.toml"
    main.write_text('[server]\nlisten = ["127.0.0.1:1"]\n[admin]\ntoken = "hush"\n')
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.toml").write_text("[server]\ndrain_s = 4\n")
    text, _ = check_text(load(main, env={}, providers=PROVIDERS), verbose=True)
    rows = [line.split() for line in text.split("\n") if line.startswith("  ")]
    assert ["server.listen[0]", '"127.0.0.1:1"', str(main)] in rows
    assert ["server.drain_s", "4.0", str(tmp_path / "conf.d" / "a.toml")] in rows
    assert ["admin.token", "********", str(main)] in rows


def test_a_report_is_not_garbled_by_what_it_reports() -> None:
    text, _ = check_text(load_text('"a\\nb\\u001b[31m" = 1\n[server]\nauth = "\\u001b[0m"', env={}, providers=PROVIDERS))
    assert "\x1b" not in text
    assert '"a\\nb\\U0000001B[31m"' in text


def test_a_problem_fits_on_a_line_of_a_log() -> None:
    found = load_text("[server]\ndrian_s = 3\n", env={}, providers=PROVIDERS)
    assert not isinstance(found, Loaded)
    assert problem_text(found.problems[0]) == '$APPLIANCE_CONFIG_TOML: server.drian_s is not a known key; did you mean "drain_s"?'


def test_a_diff_names_what_changed_and_keeps_named_elements_apart() -> None:
    old = loaded(TEXT)
    new = loaded(
        "[server]\ndrain_s = 5\n[backends.openai]\nprovider = 'openai'\n[backends.b]\nprovider = 'openai'\n"
        "[[routes]]\nname = 'new'\nmodels = ['x']\ntargets = [{ backend = 'b' }]\n"
        "[[routes]]\nname = 'chat'\nkeepalive_s = 3\ntargets = [{ backend = 'openai', weight = 7 }]\n"
    )
    assert [str(change) for change in diff(old.config, new.config)] == [
        "server.drain_s: 30.0 → 5.0",
        "backends.b: added",
        "routes[chat].targets[0].weight: 1 → 7",
        "routes[chat].keepalive_s: 15.0 → 3.0",
        "routes[new]: added",
    ]
    assert "routes[new]: removed" in [str(change) for change in diff(new.config, old.config)]


def test_a_new_order_of_routes_is_a_change() -> None:
    one, two = (
        "[[routes]]\nname = 'a'\nmodels = ['a']\ntargets = [{ backend = 'openai' }]\n",
        "[[routes]]\nname = 'b'\ntargets = [{ backend = 'openai' }]\n",
    )
    backend = "[backends.openai]\nprovider = 'openai'\n"
    (change,) = diff(loaded(backend + one + two).config, loaded(backend + two + one).config)[-1:]
    assert (change.path, change.old, change.new) == ("routes", ["a", "b"], ["b", "a"])


def test_the_masked_dump_has_every_setting() -> None:
    dump = masked_dict(loaded(TEXT + "[tenants.a]\n[[tenants.a.keys]]\nid='k'\nexpires=2030-01-01\nsha256='" + "ab" * 32 + "'\n").config)
    assert dump["backends"]["openai"]["timeouts"]["connect_s"] == 5
    assert dump["server"]["listen"][0]["address"] == "127.0.0.1:8080"
    assert dump["tenants"]["a"]["keys"][0]["expires"] == "2030-01-01T00:00:00+00:00"
