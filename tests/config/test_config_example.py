"""The committed example is what the schema says, and every line of it may be used as it stands."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs
import pytest

from appliance.config.example import example_text
from appliance.config.loader import Loaded, load_text
from appliance.config.masked import diff
from appliance.config.schema import Config
from appliance.config.structure import without_none

COMMITTED = Path(__file__).parents[2] / "config.example.toml"
PROVIDERS = {"openai": "https://api.openai.com/v1", "azure-openai": "", "bedrock": "https://a", "vertex": "https://b"}
ENV = {
    "OPENAI_API_KEY": "k",
    "OPENAI_API_KEY_2": "k2",
    "OPENAI_API_KEY_3": "k3",
    "APPLIANCE_ADMIN_TOKEN": "t",
    "BUDGET_WEBHOOK": "https://hooks.example.com/x",
    "HTTPS_PROXY": "http://proxy:3128",
    "TEAM_TOKEN": "t",
    "COLLECTOR_KEY": "k",
    "AWS_ACCESS_KEY_ID": "k",
    "AWS_SECRET_ACCESS_KEY": "s",
    "AWS_SESSION_TOKEN": "t",
}
BESIDE = {"semantic": "ttl_s"}
"""Settings that do nothing without another of their table, and which one that is."""
SETTING = re.compile(r"#([a-z][a-z0-9_]* = .*)")


def read_file(path: Path) -> bytes:
    """The files that the example names."""
    return {
        "cert.pem": b"-----BEGIN CERTIFICATE-----",
        "key.pem": b"-----BEGIN PRIVATE KEY-----",
        "metrics": b"a-token\n",
        "service-account.json": b"{}",
    }[path.name]


def load_example(text: str) -> Loaded:
    found = load_text(text, env=ENV, providers=PROVIDERS, read_file=read_file)
    assert isinstance(found, Loaded), found
    assert found.warnings == ()
    return found


LINES = COMMITTED.read_text().split("\n")
SETTINGS = [index for index, line in enumerate(LINES) if SETTING.fullmatch(line)]


def test_the_committed_file_is_what_the_schema_says() -> None:
    assert COMMITTED.read_text() == example_text(), (
        "config.example.toml is behind the schema; write it anew:\n"
        "  python -c 'from appliance.config.example import example_text as e; print(e(), end=\"\")' > config.example.toml"
    )


def test_it_loads_as_it_is_even_without_a_variable_set() -> None:
    assert isinstance(load_text(COMMITTED.read_text(), env={}, providers=PROVIDERS), Loaded)


@pytest.mark.parametrize("index", SETTINGS, ids=[LINES[index] for index in SETTINGS])
def test_each_setting_may_be_uncommented_by_itself(index: int) -> None:
    needed = BESIDE.get(LINES[index][1:].split(" ")[0])
    table = max(at for at in range(index) if LINES[at].startswith("["))
    at_all = [at for at in SETTINGS if at == index or (needed and table < at < index and LINES[at].startswith(f"#{needed} "))]
    assert len(at_all) == 1 + (needed is not None)
    load_example("\n".join(line[1:] if at in at_all else line for at, line in enumerate(LINES)))


def uncommented() -> str:
    """Every setting at once; of two lines for one key the first."""
    lines, seen = [], set()
    for index, line in enumerate(LINES):
        name = line.split(" ")[0]
        if index in SETTINGS and name not in seen:
            seen.add(name)
            line = line[1:]
        if line.startswith("["):
            seen.clear()
        lines.append(line)
    return "\n".join(lines)


def test_all_settings_may_be_uncommented_together() -> None:
    load_example(uncommented())


def test_what_it_shows_as_a_default_is_the_default() -> None:
    """Only settings whose default is nothing (absent or empty) may differ once everything is uncommented."""
    plain, full = load_example(COMMITTED.read_text()), load_example(uncommented())
    assert [change for change in diff(plain.config, full.config) if change.old not in (None, "", [], {}, 0.0)] == []


def test_every_key_of_the_schema_is_in_it() -> None:
    missing = [
        f"{kind.__name__}.{name}" for kind, name in keys() if not re.search(rf"(?m)(^|[#\[.{{, ]){name}( = |[\].])", "\n".join(LINES))
    ]
    assert missing == []


def test_every_table_that_it_shows_is_one_that_the_loader_knows() -> None:
    tomllib.loads(uncommented())


def keys(kind: Any = Config) -> Iterator[tuple[Any, str]]:
    for field in attrs.fields(kind):
        yield kind, field.name
        inner = without_none(field.type)
        if get_args(inner):
            inner = get_args(inner)[0 if get_origin(inner) is tuple else -1]
        if attrs.has(inner):
            yield from keys(inner)
