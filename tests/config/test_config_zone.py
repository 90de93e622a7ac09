"""Time zones are known without the system's files, and a misspelt one is named with the one that was meant."""

import os
import subprocess
import sys
from datetime import UTC

import pytest

from appliance.config.loader import Loaded, load_text
from appliance.config.zone import meant_zone, zone
from appliance.providers import PROVIDERS


@pytest.mark.parametrize(("wrong", "right"), [
    ("Europe/Berlni", "Europe/Berlin"), ("berlin", "Europe/Berlin"), ("new york", "America/New_York"), ("Asia/Calcuta", "Asia/Calcutta"),
    ("europe/paris", "Europe/Paris"),
])  # fmt: skip
def test_a_misspelt_zone_is_refused_with_the_one_that_was_meant(wrong: str, right: str):
    text = f'[tenants.acme]\nbudget = {{ usd = 5, timezone = "{wrong}" }}\n'
    problems = load_text(text, env={}, providers=PROVIDERS)
    assert not isinstance(problems, Loaded)
    (problem,) = problems
    assert (problem.path, problem.hint) == ("tenants.acme.budget.timezone", f'did you mean "{right}"?')


@pytest.mark.parametrize("name", ["", "Europe", "../etc/passwd", "/etc/localtime", "Mars/Olympus", "Europe/Berlin\0", "x" * 5_000])
def test_what_is_no_zone_is_none(name: str):
    assert zone(name) is None
    assert isinstance(meant_zone(name), str)


def test_utc_is_always_there():
    assert zone("UTC") is UTC


def test_zones_are_known_where_the_system_has_no_files():
    script = "from appliance.config.zone import zone; import zoneinfo; print(zoneinfo.TZPATH, zone('Europe/Berlin'), zone('Nowhere/Else'))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONTZPATH": ""}
    )
    assert done.stdout == "() Europe/Berlin None\n", done.stderr
