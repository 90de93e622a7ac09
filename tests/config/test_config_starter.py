"""The file that `init` writes."""

import os
from pathlib import Path

from appliance.config.loader import Loaded, load
from appliance.config.starter import starter_text, write_starter

PROVIDERS = {"openai": "https://api.openai.com/v1", "ollama": "http://127.0.0.1:11434/v1"}


def test_it_works_after_setting_one_variable(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert write_starter(path) is None
    assert not isinstance(load(path, env={}, providers=PROVIDERS), Loaded)
    found = load(path, env={"OPENAI_API_KEY": "k"}, providers=PROVIDERS)
    assert isinstance(found, Loaded)
    assert found.warnings == ()
    assert found.config.routes[0].targets[0].backend == "openai"


def test_its_commented_settings_work_too(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    text = starter_text(path).replace('sha256 = "..."', f'sha256 = "{"ab" * 32}"')
    path.write_text("\n".join(line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.split("\n")))
    found = load(path, env={"OPENAI_API_KEY": "k"}, providers=PROVIDERS)
    assert isinstance(found, Loaded), found
    assert set(found.config.backends) == {"openai", "local"}
    assert set(found.config.tenants) == {"team"}


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("mine")
    assert "exists already" in (write_starter(path) or "")
    assert path.read_text() == "mine"
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "nowhere")
    assert "exists already" in (write_starter(link) or "")
    assert not (tmp_path / "nowhere").exists()


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_starter(tmp_path / "c.toml")
    finally:
        os.umask(before)
    assert (tmp_path / "c.toml").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "no such file or directory" in (write_starter(tmp_path / "absent" / "c.toml") or "")
    assert "cannot be written" in (write_starter("a\0b") or "")


def test_a_strange_name_does_not_break_the_comments(tmp_path: Path) -> None:
    path = tmp_path / "line\nfeed = [.toml"
    assert write_starter(path) is None
    assert isinstance(load(path, env={"OPENAI_API_KEY": "k"}, providers=PROVIDERS), Loaded)
