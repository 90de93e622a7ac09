"""`appliance prices` as its users run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
[prices]
unknown_model = "refuse"
[prices.models."house"]
input_usd_per_mtok = 0.000001
output_usd_per_mtok = 2
[prices.models."gpt-4o"]
input_usd_per_mtok = 9
[backends.openai]
provider = "openai"
api_key = { env = "NOT_SET_HERE" }
[backends.google]
provider = "gemini"
api_key = { env = "NOT_SET_HERE" }
"""


def prices(folder: Path, *arguments: str, config: str = CONFIG) -> subprocess.CompletedProcess[str]:
    (folder / "config.toml").write_text(config)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-m", "appliance", "prices", *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        env={**environment, "PYTHONPATH": str(root)},
    )  # fmt: skip


def test_a_model_is_shown_with_its_tiers_and_the_tables_date(tmp_path: Path):
    done = prices(tmp_path, "gemini-2.5-pro")
    head, first, above, _, footer = done.stdout.splitlines()
    assert head.split()[:4] == ["VENDOR", "MODEL", "INPUT", "OUTPUT"]
    assert first.split()[:4] == ["google", "gemini-2.5-pro", "1.25", "10"]
    assert above.split()[:6] == ["above", "200,000", "input", "tokens", "2.5", "15"]
    assert first.index("1.25") + 4 == above.index("2.5 ") + 3
    assert "genai-prices" in footer
    assert "as of 20" in footer


def test_prices_of_ones_own_come_first_and_in_the_digits_they_were_written_in(tmp_path: Path):
    shown = [line.split() for line in prices(tmp_path).stdout.splitlines()]
    assert shown[1][:4] == ["own", "house", "0.000001", "2"]
    assert shown[2][:3] == ["own", "gpt-4o", "9"]
    assert {line[0] for line in shown[3:] if line and line[0] != "above"} >= {"openai", "google"}
    both = prices(tmp_path, "gpt-4o").stdout.splitlines()
    assert [line.split()[0] for line in both[1:3]] == ["own", "openai"]


def test_json_has_every_kind_and_where_the_table_is_from(tmp_path: Path):
    found = json.loads(prices(tmp_path, "gpt-4o-mini", "--json").stdout)
    assert (found["source"]["source"], found["unknown_model"]) == ("genai-prices", "refuse")
    (model,) = found["models"]
    assert (model["vendor"], model["usd"]["input"], model["usd"]["cache_read"]) == ("openai", 0.15, 0.075)


@pytest.mark.parametrize(("model", "hint"), [("gpt-4o-mino", "gpt-4o-mini"), ("hause", "house"), ("command-a", "--all"), ("x\ny", "")])
def test_an_unknown_model_is_one_line_that_says_which_was_meant(tmp_path: Path, model: str, hint: str):
    done = prices(tmp_path, model)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert hint in done.stderr


def test_every_vendor_is_shown_on_demand_and_without_a_backend_that_has_prices(tmp_path: Path):
    for done in (prices(tmp_path, "command-r-plus", "--all"), prices(tmp_path, "command-r-plus", config="")):
        assert "cohere" in done.stdout, done.stderr
