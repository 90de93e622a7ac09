"""Secrets: where they may come from, what is said when they do not, and that no view of a configuration shows one."""

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config.loader import Loaded, load_text
from appliance.config.masked import diff, masked_dict
from appliance.config.report import check_text, problem_text
from appliance.config.secret import Secret

PROVIDERS = {"openai": "https://api.openai.com/v1"}
CANARY = "sk-CANARY-4711"


def key_of(written: str, env: dict[str, str], folder: Path) -> str:
    """The secret's value, or what was said instead of it."""
    found = load_text(f'[backends.a]\nprovider = "openai"\napi_key = {written}', env=env, providers=PROVIDERS, folder=folder)
    if isinstance(found, Loaded):
        secret = found.config.backends["a"].api_key
        assert secret is not None
        return secret.reveal()
    assert [each.path for each in found] == ["backends.a.api_key"]
    return problem_text(found.problems[0])


def test_a_secret_is_a_literal_a_variable_a_file_or_a_credential(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    (tmp_path / "crlf").write_bytes(b"from-windows\r\n")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "openai").write_text("from-systemd")
    env = {"KEY": "from-env", "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert key_of('"literal"', env, tmp_path) == "literal"
    assert key_of('{ env = "KEY" }', env, tmp_path) == "from-env"
    assert key_of('{ file = "key" }', env, tmp_path) == "from-file"
    assert key_of(f'{{ file = "{tmp_path}/crlf" }}', env, tmp_path) == "from-windows"
    assert key_of('{ credential = "openai" }', env, tmp_path) == "from-systemd"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ('""', "is empty"),
        ("{}", "names no source"),
        ('{ env = "KEY", file = "x" }', "more than one source"),
        ('{ evn = "KEY" }', 'did you mean "env"?'),
        ("{ env = 3 }", "env must be a string"),
        ('{ env = "MISSING" }', 'environment variable "MISSING" is not set'),
        ('{ env = "OPENAI_KEY" }', 'did you mean "OPENAI_API_KEY"?'),
        ('{ env = "EMPTY" }', 'environment variable "EMPTY" is empty'),
        ('{ file = "absent" }', "no such file"),
        ('{ file = "." }', "directory"),
        ('{ file = "blank" }', "is empty"),
        ('{ file = "binary" }', "not UTF-8"),
        ('{ file = "huge" }', "longer than"),
        ('{ file = "a\\u0000b" }', "not a usable file name"),
        ('{ credential = "x" }', "$CREDENTIALS_DIRECTORY is not set"),
        ("42", "neither a string nor a table"),
    ],
)
def test_a_secret_that_cannot_be_had_is_told_by_its_source(written: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "blank").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "huge").write_bytes(b"x" * 70_000)
    assert words in key_of(written, {"OPENAI_API_KEY": "x", "EMPTY": ""}, tmp_path)


def test_a_credential_is_a_name_and_not_a_way_out_of_its_folder(tmp_path: Path) -> None:
    assert "not a credential's name" in key_of('{ credential = "../x" }', {"CREDENTIALS_DIRECTORY": str(tmp_path)}, tmp_path)


@pytest.mark.parametrize(
    "written",
    [
        '{ env = "sk-CANARY-4711" }',
        '{ file = "sk-CANARY-4711-0123456789abcdef" }',
        '{ env = "sk-CANARY-4711", file = "x" }',
        "sk-CANARY-4711",
        '"sk-CANARY-4711',
        '"sk-CANARY-4711\\q"',
        '{ env = "sk-CANARY-4711" ',
        "['sk-CANARY-4711']",
        "{ value = 'sk-CANARY-4711' }",
    ],
)
def test_a_secret_written_in_a_wrong_way_is_not_repeated(written: str) -> None:
    found = load_text(f'[backends.a]\nprovider = "openai"\napi_key = {written}', env={}, providers=PROVIDERS)
    assert not isinstance(found, Loaded)
    assert "CANARY" not in check_text(found)[0] + repr(found)


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(CANARY)
    assert CANARY not in f"{secret} {secret!r} {secret!s:>20} {[secret]} {secret.__class__}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


PLACES = [
    "admin.token",
    "admin.metrics_token",
    "alerts.webhook.url",
    "telemetry.traces.headers.X-Key",
    "backends.a.api_key",
    "backends.a.proxy",
    "backends.a.headers.X-Key",
]
BREAKAGES = [
    "",
    "server.drain_s = 'x'",
    "backends.a.base_url = 'nonsense'",
    "backends.a.unknown = 1",
    "tenants.t.keys = [{ id = 'k', sha256 = '{canary}' }]",
    "backends.b = '{canary}'",
    "tenants.u.keys = ['{canary}']",
    "server.limits.body_max_bytes = '{canary}'",
    "server.nonsense = '{canary}'",
    "admin.listen = 5",
]
canaries = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_characters="'\x7f"), min_size=1, max_size=8)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(PLACES), unique=True, min_size=1), st.sampled_from(BREAKAGES), canaries, st.booleans())
def test_no_view_shows_a_secret(places: list[str], breakage: str, tail: str, through_env: bool) -> None:
    canary = CANARY + tail
    value = '{ env = "THE_SECRET" }' if through_env else f"'{canary}'"
    given = ["backends.a.provider = 'openai'", "telemetry.traces.endpoint = 'http://a/v1'", breakage.replace("{canary}", CANARY)]
    lines = [f"{place} = {value}" for place in places] + given
    text = "\n".join(lines)
    found = load_text(text, env={"THE_SECRET": canary}, providers=PROVIDERS)
    shown = [repr(found), str(found), *check_text(found, verbose=True)[:1], *map(problem_text, found.warnings)]
    if isinstance(found, Loaded):
        other = load_text("", env={}, providers=PROVIDERS)
        assert isinstance(other, Loaded)
        changes = [*diff(found.config, other.config), *diff(other.config, found.config)]
        shown += [repr(found.config), json.dumps(masked_dict(found.config)), repr(changes), *map(str, changes)]
    assert "CANARY" not in "".join(shown)


def test_a_rotated_secret_is_told_as_changed_and_no_more() -> None:
    old, new = (load_text(f"admin.token = '{CANARY}-{turn}'", env={}, providers=PROVIDERS) for turn in "ab")
    assert isinstance(old, Loaded)
    assert isinstance(new, Loaded)
    assert [str(change) for change in diff(old.config, new.config)] == ["admin.token: changed"]
    assert diff(old.config, old.config) == []
